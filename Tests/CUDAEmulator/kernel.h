// Runs the kernels of Sources/KVCUDA/Kernels without CUDA: the same source, compiled as C++ after this file and run by it. What threads may
// call, CUDA's own functions and the instructions of device.cu, is in instructions.h.
//
//     #define KVCPU_EMULATED 1
//     #define ELEMENT_BF16 0                  // and the other options of the kernels' source
//     #include "kernel.h"
//     ... the kernels' source ...
//
// compiled by `clang++ -std=c++20 -O2 -shared -fPIC` (or g++) gives a library with kvcpu_launch (below). One launch at a time: a block's threads
// are fibers of the calling thread, and blocks follow each other. A fiber runs until it waits: at a barrier for the whole block, at an exchange
// (shuffle, mma, ldmatrix) for its warp, whose last thread then does the exchange for all. What hardware leaves undefined is looked for:
//   * shared memory begins as NaNs (every byte 0xff), and its end is checked for what was written beyond it;
//   * cp.async copies as late as it may: when it is waited for; addresses must be aligned, and inside shared memory;
//   * kvcpu_order lets threads run in another order, which shows a missing barrier;
//   * where some threads wait and the others never come (a barrier not met by all, threads that ended), the launch fails;
//   * ldmatrix' accesses that share a bank are counted.
// A kernel is anything declared with KERNEL(name, threads, (parameters)).
#ifndef KVCPU_KERNEL_H
#define KVCPU_KERNEL_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <mutex>
#include <vector>

#define __device__
#define __global__
#define __forceinline__ inline __attribute__((always_inline))
#define __shared__ static __attribute__((section("kvcpu_static_shared")))
#define __launch_bounds__(threads)
#define KVCPU_EXPORTED extern "C" __attribute__((visibility("default")))
#define KERNEL(name, threads, parameters)                                            \
    KVCPU_EXPORTED void name parameters;                                             \
    static const bool name##_is_listed = kvcpu::enlist(#name, threads, name);        \
    void name parameters

struct uint3 { unsigned x, y, z; };
struct uint4 { unsigned x, y, z, w; };
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return uint4{x, y, z, w}; }

static uint3 threadIdx, blockIdx, blockDim, gridDim;

// Static shared memory: the linker names its section's ends; there is none where no kernel has any.
extern "C" __attribute__((weak, visibility("hidden"))) char __start_kvcpu_static_shared[], __stop_kvcpu_static_shared[];

// Saves the caller's registers and stack pointer, and goes on where those of `to` were saved.
extern "C" __attribute__((visibility("hidden"))) void kvcpu_switch(void **from, void *to);
#if defined(__x86_64__)
__asm__(".text\n.p2align 4\n.hidden kvcpu_switch\n.globl kvcpu_switch\n.type kvcpu_switch, @function\nkvcpu_switch:\n"
        "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
        "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
        "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
        ".size kvcpu_switch, . - kvcpu_switch\n");
#define KVCPU_SAVED 6
#elif defined(__aarch64__)
__asm__(".text\n.p2align 4\n.hidden kvcpu_switch\n.globl kvcpu_switch\n.type kvcpu_switch, %function\nkvcpu_switch:\n"
        "sub sp, sp, #160\n"
        "stp x19, x20, [sp]\nstp x21, x22, [sp, #16]\nstp x23, x24, [sp, #32]\nstp x25, x26, [sp, #48]\n"
        "stp x27, x28, [sp, #64]\nstp x29, x30, [sp, #80]\nstp d8, d9, [sp, #96]\nstp d10, d11, [sp, #112]\n"
        "stp d12, d13, [sp, #128]\nstp d14, d15, [sp, #144]\n"
        "mov x9, sp\nstr x9, [x0]\nmov sp, x1\n"
        "ldp x19, x20, [sp]\nldp x21, x22, [sp, #16]\nldp x23, x24, [sp, #32]\nldp x25, x26, [sp, #48]\n"
        "ldp x27, x28, [sp, #64]\nldp x29, x30, [sp, #80]\nldp d8, d9, [sp, #96]\nldp d10, d11, [sp, #112]\n"
        "ldp d12, d13, [sp, #128]\nldp d14, d15, [sp, #144]\n"
        "add sp, sp, #160\nret\n.size kvcpu_switch, . - kvcpu_switch\n");
#else
#error "no switch of fibers for this processor"
#endif

namespace kvcpu {
namespace {

constexpr unsigned most_threads = 1024, warp_size = 32;
constexpr size_t stack_bytes = 128 << 10, most_shared = 227 << 10, guard_bytes = 4096;

// ---------------------------------------------------------------------------------------------- kernels

struct Kernel {
    const char *name;
    unsigned threads;
    int parameters;
    size_t bytes[24];
    void (*function)();
    void (*invoke)(void (*function)(), void **arguments);
};

Kernel kernels[64];
int kernel_count;

template <typename... P> struct Call {
    template <size_t... i> static void with(void (*function)(P...), void **arguments, std::index_sequence<i...>) {
        function(*static_cast<P *>(arguments[i])...);
    }
    static void invoke(void (*function)(), void **arguments) {
        with(reinterpret_cast<void (*)(P...)>(function), arguments, std::index_sequence_for<P...>());
    }
};

template <typename... P> bool enlist(const char *name, unsigned threads, void (*function)(P...)) {
    static_assert(sizeof...(P) <= 24, "too many parameters");
    if (kernel_count == 64) return false;
    kernels[kernel_count++] =
        Kernel{name, threads, (int)sizeof...(P), {sizeof(P)...}, reinterpret_cast<void (*)()>(function), Call<P...>::invoke};
    return true;
}

const Kernel *find(const char *name) {
    for (int i = 0; i < kernel_count; i++)
        if (!strcmp(kernels[i].name, name)) return &kernels[i];
    return nullptr;
}

// ---------------------------------------------------------------------------------------------- fibers

enum State : unsigned char { ready, at_barrier, in_exchange, ended };

struct Copy {
    void *to;
    const void *from;   // null: zeros
    int group;
};

struct Fiber {
    void *stack;
    State state;
    uint3 index;
    int groups;   // of copies, committed
    std::vector<Copy> copies;
};

struct Warp {
    unsigned arrived;
    const void *kind;
    void *lanes[warp_size];
};

Fiber fibers[most_threads];
Warp warps[most_threads / warp_size];
char *stacks;
void *scheduler;
unsigned current, threads, waiting, order_seed;
const Kernel *launched;
void **launched_arguments;
size_t shared_bytes;
long long bank_conflicts;
alignas(1024) char shared_memory[most_shared + guard_bytes];
char failure[512];
std::mutex lock;

// The rest of the fiber's life is given up, and the launch fails.
void fail(const char *what) {
    if (!failure[0])
        snprintf(failure, sizeof failure, "%s: block %u, %u, %u, thread %u: %s", launched->name, blockIdx.x, blockIdx.y, blockIdx.z,
                 current, what);
    void *lost;
    kvcpu_switch(&lost, scheduler);
}

void pause(State state) {
    Fiber &own = fibers[current];
    own.state = state;
    kvcpu_switch(&own.stack, scheduler);
}

void fiber_main() {
    launched->invoke(launched->function, launched_arguments);
    pause(ended);
}

void prepare(unsigned i) {
    Fiber &fiber = fibers[i];
    fiber.state = ready;
    fiber.index = uint3{i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
    fiber.groups = 0;
    fiber.copies.clear();
    void **top = reinterpret_cast<void **>(stacks + (i + 1) * stack_bytes);
#if defined(__x86_64__)
    *--top = nullptr;   // so that the stack is aligned as after a call
    *--top = reinterpret_cast<void *>(fiber_main);
    for (int r = 0; r < KVCPU_SAVED; r++) *--top = nullptr;
#else
    top -= 20;
    memset(top, 0, 160);
    top[11] = reinterpret_cast<void *>(fiber_main);   // x30
#endif
    fiber.stack = top;
}

bool run_block(const std::vector<unsigned> &order) {
    memset(shared_memory, 0xff, shared_bytes);
    memset(shared_memory + shared_bytes, 0x5a, guard_bytes);
    if (__start_kvcpu_static_shared)
        memset(__start_kvcpu_static_shared, 0xff, __stop_kvcpu_static_shared - __start_kvcpu_static_shared);
    memset(warps, 0, sizeof warps);
    waiting = 0;
    for (unsigned i = 0; i < threads; i++) prepare(i);
    for (unsigned left = threads; left > 0;) {
        bool ran = false;
        for (unsigned i : order) {
            Fiber &fiber = fibers[i];
            if (fiber.state != ready) continue;
            ran = true;
            current = i;
            threadIdx = fiber.index;
            kvcpu_switch(&scheduler, fiber.stack);
            if (failure[0]) return false;
            if (fiber.state == ended) left--;
        }
        if (!ran) {
            unsigned counts[4] = {0, 0, 0, 0};
            for (unsigned i = 0; i < threads; i++) counts[fibers[i].state]++;
            snprintf(failure, sizeof failure,
                     "%s: block %u, %u, %u: threads wait for ever: %u at a barrier, %u in a warp's exchange, %u ended", launched->name,
                     blockIdx.x, blockIdx.y, blockIdx.z, counts[at_barrier], counts[in_exchange], counts[ended]);
            return false;
        }
    }
    for (size_t i = shared_bytes; i < shared_bytes + guard_bytes; i++)
        if (shared_memory[i] != 0x5a) {
            snprintf(failure, sizeof failure, "%s: block %u, %u, %u wrote beyond its %zu bytes of shared memory", launched->name,
                     blockIdx.x, blockIdx.y, blockIdx.z, shared_bytes);
            return false;
        }
    return true;
}

// Hands `own` to the warp's exchange; the last thread to come does it for all 32.
template <typename T> void exchange(T &own, void (*all)(T *(&lanes)[warp_size])) {
    Warp &warp = warps[current / warp_size];
    const void *kind = reinterpret_cast<const void *>(all);
    if (warp.arrived && warp.kind != kind) return fail("the warp's threads are in different exchanges");
    warp.kind = kind;
    warp.lanes[current % warp_size] = &own;
    if (++warp.arrived < warp_size) return pause(in_exchange);
    T *lanes[warp_size];
    for (unsigned i = 0; i < warp_size; i++) lanes[i] = static_cast<T *>(warp.lanes[i]);
    warp.arrived = 0;
    for (unsigned i = 0; i < warp_size; i++) fibers[current / warp_size * warp_size + i].state = ready;
    all(lanes);
}

void check_shared(const void *p, size_t bytes) {
    const char *at = static_cast<const char *>(p);
    if (at < shared_memory || at + bytes > shared_memory + shared_bytes) fail("an address outside the launch's shared memory");
    if (reinterpret_cast<uintptr_t>(p) % 16) fail("a shared address that is not 16-aligned");
}

}   // namespace
}   // namespace kvcpu

// ---------------------------------------------------------------------------------------------- what the library exports

// Bytes of a kernel's parameter; 0 where there is no such kernel or parameter.
KVCPU_EXPORTED size_t kvcpu_parameter_bytes(const char *kernel, int index) {
    const kvcpu::Kernel *found = kvcpu::find(kernel);
    return found && index >= 0 && index < found->parameters ? found->bytes[index] : 0;
}

// Why the last launch failed.
KVCPU_EXPORTED const char *kvcpu_error() { return kvcpu::failure; }

// The order in which a block's threads run: 0 ascending, otherwise one of many shuffled ones.
KVCPU_EXPORTED void kvcpu_order(unsigned seed) { kvcpu::order_seed = seed; }

// How many times since the library was opened one of ldmatrix' rows had to wait for another one's banks.
KVCPU_EXPORTED long long kvcpu_bank_conflicts() { return kvcpu::bank_conflicts; }

// Runs a kernel; `arguments` point to the parameters. 0: done; 1: no such kernel, or a shape that cannot be; 2: it went wrong.
KVCPU_EXPORTED int kvcpu_launch(
    const char *kernel, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, size_t shared, void **arguments) {
    using namespace kvcpu;
    std::lock_guard<std::mutex> guard(lock);
    failure[0] = 0;
    launched = find(kernel);
    const unsigned long long block = (unsigned long long)bx * by * bz;
    if (!launched || !gx || !gy || !gz || !block || block > launched->threads || block > most_threads || gy > 65535 || gz > 65535 ||
        shared > most_shared) {
        snprintf(failure, sizeof failure, "%s: %s (grid %u, %u, %u, block %u, %u, %u, %zu bytes of shared memory)", kernel,
                 launched ? "no such launch can be" : "no such kernel", gx, gy, gz, bx, by, bz, shared);
        return 1;
    }
    if (!stacks) {
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        void *memory = mmap(nullptr, most_threads * stack_bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
        if (memory == MAP_FAILED) {
            snprintf(failure, sizeof failure, "%s: no memory for the threads' stacks", kernel);
            return 1;
        }
        stacks = static_cast<char *>(memory);
    }
    launched_arguments = arguments;
    shared_bytes = shared;
    threads = (unsigned)block;
    blockDim = uint3{bx, by, bz};
    gridDim = uint3{gx, gy, gz};
    std::vector<unsigned> order(threads);
    for (unsigned i = 0; i < threads; i++) order[i] = i;
    unsigned random = order_seed;
    for (unsigned i = threads; order_seed && i > 1; i--) {
        random = random * 1664525u + 1013904223u;
        std::swap(order[i - 1], order[(random >> 8) % i]);
    }
    for (unsigned z = 0; z < gz; z++)
        for (unsigned y = 0; y < gy; y++)
            for (unsigned x = 0; x < gx; x++) {
                blockIdx = uint3{x, y, z};
                if (!run_block(order)) return 2;
            }
    return 0;
}

#include "instructions.h"

#endif
