// Memory at most: reads with the widest loads, and what they need (huge pages, pinned threads).
#define _GNU_SOURCE
#include "ceilings.h"

#include <sched.h>
#include <stdint.h>
#include <sys/mman.h>

typedef uint64_t lanes __attribute__((vector_size(64)));

#if defined(__x86_64__)
#define WIDTH(features) __attribute__((target(features)))
#else
#define WIDTH(features)
#endif

// Eight independent sums of 64 bytes; the compiler splits them into the loads that the function's target has.
#define READ_LOOP \
    const lanes *line = memory; \
    lanes sums[8] = {0}; \
    for (size_t i = 0; i + 16 <= bytes / 64; i += 16) { \
        for (size_t j = 0; j < 16; j++) sums[j % 8] ^= line[i + j]; \
    } \
    lanes all = (sums[0] ^ sums[1]) ^ (sums[2] ^ sums[3]) ^ (sums[4] ^ sums[5]) ^ (sums[6] ^ sums[7]); \
    return all[0] ^ all[1] ^ all[2] ^ all[3] ^ all[4] ^ all[5] ^ all[6] ^ all[7];

static unsigned long read_plain(const void *memory, size_t bytes) { READ_LOOP }
#if defined(__x86_64__)
WIDTH("avx2") static unsigned long read_256(const void *memory, size_t bytes) { READ_LOOP }
WIDTH("avx512f") static unsigned long read_512(const void *memory, size_t bytes) { READ_LOOP }
#endif

unsigned long ceiling_read(const void *memory, size_t bytes) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) return read_512(memory, bytes);
    if (__builtin_cpu_supports("avx2")) return read_256(memory, bytes);
#endif
    return read_plain(memory, bytes);
}

void *ceiling_allocate(size_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return NULL;
    // Refused where there are none; the pages are small then.
    (void)madvise(memory, bytes, MADV_HUGEPAGE);
    return memory;
}

void ceiling_release(void *memory, size_t bytes) {
    if (memory != NULL) munmap(memory, bytes);
}

bool ceiling_pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (cpu < 0 || cpu >= CPU_SETSIZE) return false;
    CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof set, &set) == 0;
}

size_t ceiling_cpus(int *cpus, size_t capacity) {
    cpu_set_t set;
    size_t count = 0;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 0;
    for (int cpu = 0; cpu < CPU_SETSIZE && count < capacity; cpu++) {
        if (CPU_ISSET(cpu, &set)) cpus[count++] = cpu;
    }
    return count;
}
