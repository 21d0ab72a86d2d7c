#define _GNU_SOURCE
#include "ckv_linux.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// The kernel's limit on node ids is 1024 (CONFIG_NODES_SHIFT 10).
enum { ckv_max_nodes = 1024 };

typedef struct {
    unsigned long bits[ckv_max_nodes / (8 * sizeof(unsigned long))];
} ckv_node_mask;

static int only_node(int node, ckv_node_mask *mask) {
    const int word = 8 * (int)sizeof(unsigned long);
    memset(mask, 0, sizeof *mask);
    if (node < 0 || node >= ckv_max_nodes) return EINVAL;
    mask->bits[node / word] = 1ul << (node % word);
    return 0;
}

// The system calls themselves, not libnuma's wrappers: they are there on every machine.
// The mask's length is given plus one, as the kernel drops the last bit of what it is told.

int ckv_memory_policy_prefer(int node) {
    ckv_node_mask mask;
    int error = only_node(node, &mask);
    if (error) return error;
    return syscall(SYS_set_mempolicy, MPOL_PREFERRED, mask.bits, ckv_max_nodes + 1) == 0 ? 0 : errno;
}

int ckv_memory_policy_default(void) {
    return syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0) == 0 ? 0 : errno;
}

int ckv_memory_prefer(void *address, size_t bytes, int node) {
    ckv_node_mask mask;
    int error = only_node(node, &mask);
    if (error) return error;
    return syscall(SYS_mbind, address, bytes, MPOL_PREFERRED, mask.bits, ckv_max_nodes + 1, MPOL_MF_MOVE) == 0
        ? 0 : errno;
}

int ckv_memory_interleave(void *address, size_t bytes, const int32_t *nodes, int count) {
    ckv_node_mask mask, one;
    memset(&mask, 0, sizeof mask);
    for (int i = 0; i < count; i++) {
        int error = only_node(nodes[i], &one);
        if (error) return error;
        for (size_t word = 0; word < sizeof mask.bits / sizeof *mask.bits; word++) mask.bits[word] |= one.bits[word];
    }
    return syscall(SYS_mbind, address, bytes, MPOL_INTERLEAVE, mask.bits, ckv_max_nodes + 1, MPOL_MF_MOVE) == 0 ? 0 : errno;
}

int ckv_memory_huge(void *address, size_t bytes) {
    return madvise(address, bytes, MADV_HUGEPAGE) == 0 ? 0 : errno;
}

// Brings those pages of a shared file into this process's table that another has touched.
static void meet(void **pages, unsigned long count, uintptr_t page) {
    unsigned char resident[512];
    if (mincore(pages[0], count * page, resident) != 0) return;
    for (unsigned long i = 0; i < count; i++) {
        if (resident[i] & 1) (void)*(volatile const char *)pages[i];
    }
}

int ckv_memory_residence(
    const void *address, size_t bytes, int shared, uint64_t *per_node, int capacity, uint64_t *absent, uint64_t *unknown) {
    enum { batch = 512 };
    void *pages[batch];
    int status[batch];
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t end = (uintptr_t)address + bytes;
    uintptr_t next = (uintptr_t)address & ~(page - 1);
    while (next < end) {
        unsigned long count = 0;
        for (; count < batch && next < end; next += page) pages[count++] = (void *)next;
        if (shared) meet(pages, count, page);
        if (syscall(SYS_move_pages, 0, count, pages, NULL, status, 0) != 0) return errno;
        for (unsigned long i = 0; i < count; i++) {
            // A page that was only read is the kernel's one page of zeros (EFAULT): nobody's either.
            if (status[i] >= 0 && status[i] < capacity) per_node[status[i]]++;
            else if (status[i] == -ENOENT || status[i] == -EFAULT) ++*absent;
            else ++*unknown;
        }
    }
    return 0;
}

int ckv_memory_node_of(const void *address) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    void *start = (void *)((uintptr_t)address & ~(page - 1));
    int node = -1;
    if (syscall(SYS_move_pages, 0, 1ul, &start, NULL, &node, 0) != 0) return -1;
    return node >= 0 ? node : -1;
}

static pthread_once_t libnuma_once = PTHREAD_ONCE_INIT;
static int libnuma_answer = -1;
static int libnuma_nodes = -1;

static void libnuma_look(void) {
    // The handle stays open on purpose: libnuma registers nothing to undo.
    void *library = dlopen("libnuma.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) return;
    int (*available)(void) = (int (*)(void))dlsym(library, "numa_available");
    int (*max_node)(void) = (int (*)(void))dlsym(library, "numa_max_node");
    if (!available || !max_node) return;
    libnuma_answer = available() >= 0;
    if (libnuma_answer) libnuma_nodes = max_node();
}

int ckv_libnuma_available(void) {
    pthread_once(&libnuma_once, libnuma_look);
    return libnuma_answer;
}

int ckv_libnuma_max_node(void) {
    pthread_once(&libnuma_once, libnuma_look);
    return libnuma_nodes;
}

int ckv_memfd_growing(const char *name) {
    int file = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return file < 0 ? -errno : file;
}

// Sealed, so that no holder of the descriptor can pull the pages away from under another's mapping.
int ckv_memfd_seal(int file) {
    return fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0 ? 0 : errno;
}

int ckv_memfd(const char *name, size_t bytes) {
    int file = ckv_memfd_growing(name);
    if (file < 0) return file;
    int error = ftruncate(file, (off_t)bytes) != 0 ? errno : ckv_memfd_seal(file);
    if (error) {
        close(file);
        return -error;
    }
    return file;
}

uint64_t ckv_process_start_time(int32_t pid) {
    char path[32], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length <= 0) return 0;
    text[length] = 0;
    // "pid (name) state ppid …": the name may hold anything, so count from the last bracket.
    const char *at = strrchr(text, ')');
    char state = 0;
    unsigned long long start = 0;
    if (!at || sscanf(at + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                      &state, &start) != 2) return 0;
    return state == 'Z' || state == 'X' ? 0 : start;
}
