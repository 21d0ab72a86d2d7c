// What the kernels stand on: types, conversions, and the instructions that CUDA C++ has no words for. The files of this folder are compiled
// as one source, this one first, by NVRTC (which has no headers), with
//   -DELEMENT_BF16=0|1   weights and activations (`element`) are float16 or bfloat16
//   -DCACHE_BF16=0|1     keys and values in the cache (`cached`) likewise
//   -DHEAD_DIM=n         1 ... 256
// for sm_80 or later; or, with KVCPU_EMULATED defined, as C++ after Tests/CUDAEmulator/kernel.h, which replaces what is under its #ifndef.

#if HEAD_DIM < 1 || HEAD_DIM > 256
#error "HEAD_DIM must be 1 ... 256"
#endif

#ifndef KVCPU_EMULATED

// A kernel, and the most threads of a block of its.
#define KERNEL(name, threads, parameters) extern "C" __global__ void __launch_bounds__(threads) name parameters

static __device__ __forceinline__ float f16_to_float(unsigned short x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
    return y;
}
static __device__ __forceinline__ float bf16_to_float(unsigned short x) { return __uint_as_float((unsigned)x << 16); }
static __device__ __forceinline__ unsigned short float_to_f16(float x) {
    unsigned short y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}
static __device__ __forceinline__ unsigned short float_to_bf16(float x) {
    unsigned short y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}
// Two at once, `low` in the lower half.
static __device__ __forceinline__ unsigned pack_f16(float low, float high) {
    unsigned y;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}
static __device__ __forceinline__ unsigned pack_bf16(float low, float high) {
    unsigned y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}

// d += a * b of a warp: 16 rows, 8 columns, 16 deep; the fragments as PTX has them.
static __device__ __forceinline__ void mma_f16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
static __device__ __forceinline__ void mma_bf16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four 8 x 8 matrices of 16-bit elements from shared memory; lane l gives the address of row l % 8 of matrix l / 8.
static __device__ __forceinline__ void load_matrices(unsigned (&r)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((unsigned)__cvta_generic_to_shared(row))
                 : "memory");
}
static __device__ __forceinline__ void load_matrices_transposed(unsigned (&r)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((unsigned)__cvta_generic_to_shared(row))
                 : "memory");
}

// 16 bytes to shared memory without waiting; zeros where not `valid` (nothing is read then).
static __device__ __forceinline__ void copy_async(void *shared, const void *global, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"((unsigned)__cvta_generic_to_shared(shared)), "l"(__cvta_generic_to_global(global)), "r"(valid ? 16 : 0)
                 : "memory");
}
// Ends a group of copies; `copy_wait` waits for all of the thread's own groups but the last `pending` ones.
static __device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int pending> static __device__ __forceinline__ void copy_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// 2^x, about 2 ulp; 0 of minus infinity.
static __device__ __forceinline__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// The launch's shared memory.
static __device__ __forceinline__ char *dynamic_shared() {
    extern __shared__ uint4 kvcpu_shared[];
    return (char *)kvcpu_shared;
}

static __device__ __forceinline__ uint4 load16(const void *p) { return *(const uint4 *)p; }
static __device__ __forceinline__ void store16(void *p, uint4 x) { *(uint4 *)p = x; }

#endif

// ---------------------------------------------------------------------------------------------- types

struct element { unsigned short bits; };
struct cached { unsigned short bits; };

#define WARP 32
#define ALL_LANES 0xffffffffu
#define INFINITE __int_as_float(0x7f800000)
#define LOG2_E 1.44269504f

// float16 has no room above 65504, where bfloat16 goes on: a saturated activation is a wrong number, an infinite one ends as NaN everywhere.
#if !ELEMENT_BF16 || !CACHE_BF16
static __device__ __forceinline__ float saturated(float x) { return x > 65504.0f ? 65504.0f : x < -65504.0f ? -65504.0f : x; }
#endif

#if ELEMENT_BF16
static __device__ __forceinline__ float to_float(element x) { return bf16_to_float(x.bits); }
static __device__ __forceinline__ element element_of(float x) { return element{float_to_bf16(x)}; }
static __device__ __forceinline__ unsigned elements_of(float low, float high) { return pack_bf16(low, high); }
#else
static __device__ __forceinline__ float to_float(element x) { return f16_to_float(x.bits); }
static __device__ __forceinline__ element element_of(float x) { return element{float_to_f16(saturated(x))}; }
static __device__ __forceinline__ unsigned elements_of(float low, float high) {
    return pack_f16(saturated(low), saturated(high));
}
#endif

#if CACHE_BF16
static __device__ __forceinline__ float to_float(cached x) { return bf16_to_float(x.bits); }
static __device__ __forceinline__ cached cached_of(float x) { return cached{float_to_bf16(x)}; }
static __device__ __forceinline__ unsigned cached_pair(float low, float high) { return pack_bf16(low, high); }
static __device__ __forceinline__ void mma(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) { mma_bf16(d, a, b0, b1); }
#else
static __device__ __forceinline__ float to_float(cached x) { return f16_to_float(x.bits); }
static __device__ __forceinline__ cached cached_of(float x) { return cached{float_to_f16(saturated(x))}; }
// For what is known to be small: attention's weights.
static __device__ __forceinline__ unsigned cached_pair(float low, float high) { return pack_f16(low, high); }
static __device__ __forceinline__ void mma(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) { mma_f16(d, a, b0, b1); }
#endif

// ---------------------------------------------------------------------------------------------- eight at a time

// True where `p` may be read and written in units of 16 bytes.
static __device__ __forceinline__ bool is_aligned(const void *p) { return ((size_t)p & 15) == 0; }

template <typename T> static __device__ __forceinline__ T from_bits(unsigned bits) { return T{(unsigned short)bits}; }

// Eight 16-bit elements, 16-aligned, as floats.
template <typename T> static __device__ __forceinline__ void widen(uint4 bits, float (&x)[8]) {
    x[0] = to_float(from_bits<T>(bits.x & 0xffff));
    x[1] = to_float(from_bits<T>(bits.x >> 16));
    x[2] = to_float(from_bits<T>(bits.y & 0xffff));
    x[3] = to_float(from_bits<T>(bits.y >> 16));
    x[4] = to_float(from_bits<T>(bits.z & 0xffff));
    x[5] = to_float(from_bits<T>(bits.z >> 16));
    x[6] = to_float(from_bits<T>(bits.w & 0xffff));
    x[7] = to_float(from_bits<T>(bits.w >> 16));
}
static __device__ __forceinline__ void load8(const element *p, float (&x)[8]) { widen<element>(load16(p), x); }
static __device__ __forceinline__ void store8(element *p, const float (&x)[8]) {
    uint4 bits;
    bits.x = elements_of(x[0], x[1]);
    bits.y = elements_of(x[2], x[3]);
    bits.z = elements_of(x[4], x[5]);
    bits.w = elements_of(x[6], x[7]);
    store16(p, bits);
}
static __device__ __forceinline__ void load8(const float *p, float (&x)[8]) {
    const uint4 a = load16(p), b = load16(p + 4);
    x[0] = __uint_as_float(a.x), x[1] = __uint_as_float(a.y), x[2] = __uint_as_float(a.z), x[3] = __uint_as_float(a.w);
    x[4] = __uint_as_float(b.x), x[5] = __uint_as_float(b.y), x[6] = __uint_as_float(b.z), x[7] = __uint_as_float(b.w);
}
static __device__ __forceinline__ void store8(float *p, const float (&x)[8]) {
    uint4 a, b;
    a.x = __float_as_uint(x[0]), a.y = __float_as_uint(x[1]), a.z = __float_as_uint(x[2]), a.w = __float_as_uint(x[3]);
    b.x = __float_as_uint(x[4]), b.y = __float_as_uint(x[5]), b.z = __float_as_uint(x[6]), b.w = __float_as_uint(x[7]);
    store16(p, a);
    store16(p + 4, b);
}
static __device__ __forceinline__ float load1(const float *p) { return *p; }
static __device__ __forceinline__ float load1(const element *p) { return to_float(*p); }
static __device__ __forceinline__ void store1(float *p, float x) { *p = x; }
static __device__ __forceinline__ void store1(element *p, float x) { *p = element_of(x); }

// ---------------------------------------------------------------------------------------------- sums

static __device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2) x += __shfl_xor_sync(ALL_LANES, x, step);
    return x;
}
// Of all threads of the block, whose number is a multiple of 32; the same bits in each. The block passes a barrier.
static __device__ float block_sum(float x) {
    __shared__ float sums[WARP];
    x = warp_sum(x);
    __syncthreads();
    if (threadIdx.x % WARP == 0) sums[threadIdx.x / WARP] = x;
    __syncthreads();
    const int lane = threadIdx.x % WARP;
    return warp_sum(lane < (int)(blockDim.x / WARP) ? sums[lane] : 0.0f);
}

// The thread's number in the grid, and the grid's threads.
static __device__ __forceinline__ long long grid_thread() { return (long long)blockIdx.x * blockDim.x + threadIdx.x; }
static __device__ __forceinline__ long long grid_threads() { return (long long)gridDim.x * blockDim.x; }
