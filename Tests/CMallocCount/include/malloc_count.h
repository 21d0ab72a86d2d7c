// Counts heap allocations of the whole process (glibc; a no-op under sanitizers, which bring their own allocator).
#ifndef MALLOC_COUNT_H
#define MALLOC_COUNT_H
#include <stdbool.h>
#include <stdint.h>

// False where allocations cannot be counted.
bool malloc_count_works(void);
// Allocations since the process began, by threads that are not excluded.
uint64_t malloc_count(void);
// The calling thread's allocations do not count (or do again).
void malloc_count_exclude_this_thread(bool exclude);
#endif
