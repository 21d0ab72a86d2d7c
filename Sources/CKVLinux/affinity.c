#define _GNU_SOURCE
#include "ckv_linux.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

// The kernel's own upper limit (CONFIG_NR_CPUS of distributions is 8192); cpu_set_t alone stops at 1024.
enum { ckv_max_cpus = 8192 };

typedef struct {
    unsigned long bits[ckv_max_cpus / (8 * sizeof(unsigned long))];
} ckv_cpu_mask;

_Static_assert(sizeof(ckv_cpu_mask) == ckv_max_cpus / 8, "a bit a CPU");

int ckv_affinity_get(int32_t *cpus, int capacity) {
    ckv_cpu_mask mask;
    memset(&mask, 0, sizeof mask);
    if (sched_getaffinity(0, sizeof mask, (cpu_set_t *)&mask) != 0) return -errno;
    int count = 0;
    for (int cpu = 0; cpu < ckv_max_cpus; cpu++) {
        if (!CPU_ISSET_S((size_t)cpu, sizeof mask, (cpu_set_t *)&mask)) continue;
        if (count < capacity) cpus[count] = cpu;
        count++;
    }
    return count;
}

int ckv_affinity_set(const int32_t *cpus, int count) {
    ckv_cpu_mask mask;
    memset(&mask, 0, sizeof mask);
    for (int i = 0; i < count; i++) {
        if (cpus[i] < 0 || cpus[i] >= ckv_max_cpus) return EINVAL;
        CPU_SET_S((size_t)cpus[i], sizeof mask, (cpu_set_t *)&mask);
    }
    return sched_setaffinity(0, sizeof mask, (cpu_set_t *)&mask) == 0 ? 0 : errno;
}

int ckv_current_cpu(void) {
    int cpu = sched_getcpu();
    return cpu >= 0 ? cpu : -errno;
}

int32_t ckv_thread_id(void) { return (int32_t)syscall(SYS_gettid); }

void ckv_thread_name_set(const char *name) { prctl(PR_SET_NAME, (unsigned long)name, 0, 0, 0); }

void ckv_thread_name_get(char *name) {
    name[0] = 0;
    prctl(PR_GET_NAME, (unsigned long)name, 0, 0, 0);
}
