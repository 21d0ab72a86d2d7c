// Mapped files that shrink: reading beyond the new end raises SIGBUS, which ends the process. Here the rest of a known mapping becomes zero pages
// instead, and the mapping is marked, so that whoever loads from it reports an error.
#define _GNU_SOURCE
#include "ckv_linux.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAPPINGS 4096

// `size` is set last and cleared first: the handler looks at places of size 0 no further.
static struct {
    _Atomic(uintptr_t) base;
    _Atomic(size_t) size;
    atomic_int state; // 0 free, 1 taken, 2 taken and damaged
} mappings[MAPPINGS];
static struct sigaction previous;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void on_bus(int number, siginfo_t *info, void *context) {
    uintptr_t address = (uintptr_t)info->si_addr;
    for (int i = 0; i < MAPPINGS; i++) {
        size_t size = atomic_load(&mappings[i].size);
        uintptr_t base = atomic_load(&mappings[i].base);
        if (size == 0 || address < base || address - base >= size) continue;
        // mmap is a bare system call: it may be used in a handler.
        uintptr_t page = address & ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
        void *zeros = mmap((void *)page, base + size - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
        if (zeros == MAP_FAILED) break;
        atomic_store(&mappings[i].state, 2);
        return;
    }
    // Not ours: as without this handler.
    if (previous.sa_flags & SA_SIGINFO) {
        previous.sa_sigaction(number, info, context);
    } else if (previous.sa_handler == SIG_DFL || previous.sa_handler == SIG_IGN) {
        signal(number, SIG_DFL); // The instruction is tried again, and ends the process.
    } else {
        previous.sa_handler(number);
    }
}

static void install(void) {
    struct sigaction action = {0};
    action.sa_sigaction = on_bus;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &previous);
}

int ckv_mapping_watch(const void *base, size_t size) {
    pthread_once(&once, install);
    for (int i = 0; i < MAPPINGS; i++) {
        int none = 0;
        if (!atomic_compare_exchange_strong(&mappings[i].state, &none, 1)) continue;
        atomic_store(&mappings[i].base, (uintptr_t)base);
        atomic_store(&mappings[i].size, size);
        return i;
    }
    return -1;
}

int ckv_mapping_is_damaged(int place) { return place >= 0 && atomic_load(&mappings[place].state) == 2; }

void ckv_mapping_forget(int place) {
    if (place < 0) return;
    atomic_store(&mappings[place].size, 0);
    atomic_store(&mappings[place].state, 0);
}
