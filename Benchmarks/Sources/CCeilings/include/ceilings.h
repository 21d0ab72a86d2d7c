// What one core can do at most: loops whose operands stay in registers, and reads of memory. Linux.
#ifndef CEILINGS_H
#define CEILINGS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct ceiling {
    const char *name;                // "fma512", the key that a kernel's ceiling is found by
    const char *what;                // for people
    bool (*supported)(void);         // by this machine
    double (*run)(size_t steps);     // multiplies and accumulates in registers; returns the multiply-accumulates done
} ceiling;

// All loops of this build; none on an architecture that has none written.
const ceiling *ceilings(size_t *count);

// Reads `bytes` (a multiple of 1,024) from 64-aligned memory with the widest loads there are; the result depends on all of it.
unsigned long ceiling_read(const void *memory, size_t bytes);

// Anonymous memory of whole huge pages where the system has them, not touched yet; NULL when there is none.
void *ceiling_allocate(size_t bytes);
void ceiling_release(void *memory, size_t bytes);

// Binds the calling thread to one CPU.
bool ceiling_pin(int cpu);
// The CPUs that this process may use, ascending, at most `capacity`; returns how many it wrote.
size_t ceiling_cpus(int *cpus, size_t capacity);

#endif
