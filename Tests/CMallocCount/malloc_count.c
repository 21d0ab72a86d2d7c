#include "malloc_count.h"

#include <stdatomic.h>
#include <stddef.h>

static atomic_ullong count;
static _Thread_local bool excluded;

uint64_t malloc_count(void) { return atomic_load(&count); }
void malloc_count_exclude_this_thread(bool exclude) { excluded = exclude; }

#if defined(__GLIBC__) && !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
bool malloc_count_works(void) { return true; }

// glibc's own entry points: ours count and hand on.
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

static void note(void) {
    if (!excluded) atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
}
void *malloc(size_t bytes) {
    note();
    return __libc_malloc(bytes);
}
void *calloc(size_t items, size_t bytes) {
    note();
    return __libc_calloc(items, bytes);
}
void *realloc(void *old, size_t bytes) {
    note();
    return __libc_realloc(old, bytes);
}
void *aligned_alloc(size_t alignment, size_t bytes) {
    note();
    return __libc_memalign(alignment, bytes);
}
int posix_memalign(void **out, size_t alignment, size_t bytes) {
    note();
    *out = __libc_memalign(alignment, bytes);
    return *out ? 0 : 12;
}
#else
bool malloc_count_works(void) { return false; }
#endif
