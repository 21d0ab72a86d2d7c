// What kernels call, for fibers; included by kernel.h.
#ifndef KVCPU_INSTRUCTIONS_H
#define KVCPU_INSTRUCTIONS_H

// ---------------------------------------------------------------------------------------------- CUDA's words

static inline void __syncthreads() {
    using namespace kvcpu;
    if (++waiting < threads) return pause(at_barrier);
    waiting = 0;
    for (unsigned i = 0; i < threads; i++)
        if (fibers[i].state == at_barrier) fibers[i].state = ready;
}
static inline void __syncwarp() {
    char none = 0;
    kvcpu::exchange<char>(none, [](char *(&)[kvcpu::warp_size]) {});
}

namespace kvcpu {
namespace {
template <typename T> struct Shuffle {
    T value, result;
    unsigned from;
};
template <typename T> T shuffle(unsigned mask, T value, unsigned from) {
    if (mask != 0xffffffffu) fail("an exchange that is not the whole warp's");
    Shuffle<T> own{value, value, from};
    exchange<Shuffle<T>>(own, [](Shuffle<T> *(&lanes)[warp_size]) {
        for (auto lane : lanes) lane->result = lanes[lane->from % warp_size]->value;
    });
    return own.result;
}
}   // namespace
}   // namespace kvcpu

template <typename T> static inline T __shfl_xor_sync(unsigned mask, T value, int bits) {
    return kvcpu::shuffle(mask, value, kvcpu::current % kvcpu::warp_size ^ (unsigned)bits);
}
template <typename T> static inline T __shfl_sync(unsigned mask, T value, int lane) { return kvcpu::shuffle(mask, value, (unsigned)lane); }

static inline int min(int a, int b) { return a < b ? a : b; }
static inline int max(int a, int b) { return a > b ? a : b; }
static inline unsigned __float_as_uint(float x) { return __builtin_bit_cast(unsigned, x); }
static inline float __uint_as_float(unsigned x) { return __builtin_bit_cast(float, x); }
static inline float __int_as_float(int x) { return __builtin_bit_cast(float, x); }
static inline float __fdividef(float x, float y) { return x / y; }

// ---------------------------------------------------------------------------------------------- device.cu's instructions

static inline float f16_to_float(unsigned short x) {
    const unsigned magnitude = (unsigned)(x & 0x7fff) << 13, exponent = magnitude & 0x0f800000;
    unsigned bits = magnitude + 0x38000000;
    if (exponent == 0x0f800000) bits += 0x38000000;
    if (exponent == 0) bits = __float_as_uint(__uint_as_float(bits + 0x00800000) - __uint_as_float(0x38800000));
    return __uint_as_float(bits | (unsigned)(x & 0x8000) << 16);
}
static inline float bf16_to_float(unsigned short x) { return __uint_as_float((unsigned)x << 16); }
static inline unsigned short float_to_f16(float x) {
    const unsigned sign = __float_as_uint(x) >> 16 & 0x8000;
    unsigned bits = __float_as_uint(x) & 0x7fffffff;
    if (bits >= 0x47800000) return (unsigned short)(sign | (bits > 0x7f800000 ? 0x7fff : 0x7c00));
    if (bits < 0x38800000) return (unsigned short)(sign | (__float_as_uint(__uint_as_float(bits) + 0.5f) - 0x3f000000));
    bits += 0xfff + (bits >> 13 & 1);
    return (unsigned short)(sign | (bits - 0x38000000) >> 13);
}
static inline unsigned short float_to_bf16(float x) {
    const unsigned bits = __float_as_uint(x);
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
    return (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
static inline unsigned pack_f16(float low, float high) { return float_to_f16(low) | (unsigned)float_to_f16(high) << 16; }
static inline unsigned pack_bf16(float low, float high) { return float_to_bf16(low) | (unsigned)float_to_bf16(high) << 16; }
static inline float exp2_fast(float x) { return exp2f(x); }
static inline char *dynamic_shared() { return kvcpu::shared_memory; }

static inline uint4 load16(const void *p) {
    if (reinterpret_cast<uintptr_t>(p) % 16) kvcpu::fail("16 bytes read from an address that is not 16-aligned");
    uint4 x;
    memcpy(&x, p, 16);
    return x;
}
static inline void store16(void *p, uint4 x) {
    if (reinterpret_cast<uintptr_t>(p) % 16) kvcpu::fail("16 bytes written to an address that is not 16-aligned");
    memcpy(p, &x, 16);
}

static inline void copy_async(void *to, const void *from, bool valid) {
    kvcpu::check_shared(to, 16);
    if (reinterpret_cast<uintptr_t>(from) % 16) kvcpu::fail("cp.async from an address that is not 16-aligned");
    kvcpu::Fiber &own = kvcpu::fibers[kvcpu::current];
    own.copies.push_back(kvcpu::Copy{to, valid ? from : nullptr, own.groups});
}
static inline void copy_commit() { kvcpu::fibers[kvcpu::current].groups++; }
template <int pending> static inline void copy_wait() {
    kvcpu::Fiber &own = kvcpu::fibers[kvcpu::current];
    size_t left = 0;
    for (const kvcpu::Copy &copy : own.copies)
        if (copy.group >= own.groups - pending) own.copies[left++] = copy;
        else if (copy.from) memcpy(copy.to, copy.from, 16);
        else memset(copy.to, 0, 16);
    own.copies.resize(left);
}

namespace kvcpu {
namespace {
struct Matrices {
    const void *row;
    unsigned *result;
};

void count_conflicts(Matrices *(&lanes)[warp_size]) {
    for (int matrix = 0; matrix < 4; matrix++)
        for (int i = 0; i < 8; i++)
            for (int j = 0; j < i; j++) {
                const uintptr_t a = reinterpret_cast<uintptr_t>(lanes[matrix * 8 + i]->row);
                const uintptr_t b = reinterpret_cast<uintptr_t>(lanes[matrix * 8 + j]->row);
                if (a != b && a / 16 % 8 == b / 16 % 8) {
                    bank_conflicts++;
                    break;
                }
            }
}

// Lane l gets of each matrix elements 2 * (l % 4) and the next of row l / 4; transposed, of column l / 4.
template <bool transposed> void exchange_matrices(Matrices *(&lanes)[warp_size]) {
    count_conflicts(lanes);
    for (unsigned lane = 0; lane < warp_size; lane++)
        for (unsigned matrix = 0; matrix < 4; matrix++) {
            unsigned short pair[2];
            for (unsigned i = 0; i < 2; i++) {
                const unsigned across = lane / 4, along = lane % 4 * 2 + i;
                const void *row = lanes[matrix * 8 + (transposed ? along : across)]->row;
                pair[i] = static_cast<const unsigned short *>(row)[transposed ? across : along];
            }
            lanes[lane]->result[matrix] = pair[0] | (unsigned)pair[1] << 16;
        }
}

struct Product {
    float *d;
    const unsigned *a;
    unsigned b[2];
};

template <float (*widen)(unsigned short)> void exchange_products(Product *(&lanes)[warp_size]) {
    float a[16][16], b[16][8], d[16][8];
    const auto half = [](unsigned pair, unsigned i) { return widen((unsigned short)(pair >> i * 16)); };
    for (unsigned lane = 0; lane < warp_size; lane++) {
        const unsigned group = lane / 4, pair = lane % 4 * 2;
        const Product &own = *lanes[lane];
        for (unsigned i = 0; i < 2; i++) {
            a[group][pair + i] = half(own.a[0], i);
            a[group + 8][pair + i] = half(own.a[1], i);
            a[group][pair + 8 + i] = half(own.a[2], i);
            a[group + 8][pair + 8 + i] = half(own.a[3], i);
            b[pair + i][group] = half(own.b[0], i);
            b[pair + 8 + i][group] = half(own.b[1], i);
            d[group][pair + i] = own.d[i];
            d[group + 8][pair + i] = own.d[2 + i];
        }
    }
    for (unsigned row = 0; row < 16; row++)
        for (unsigned k = 0; k < 16; k++)
            for (unsigned column = 0; column < 8; column++) d[row][column] += a[row][k] * b[k][column];
    for (unsigned lane = 0; lane < warp_size; lane++)
        for (unsigned i = 0; i < 4; i++) lanes[lane]->d[i] = d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
}
}   // namespace
}   // namespace kvcpu

static inline void load_matrices(unsigned (&r)[4], const void *row) {
    kvcpu::check_shared(row, 16);
    kvcpu::Matrices own{row, r};
    kvcpu::exchange<kvcpu::Matrices>(own, kvcpu::exchange_matrices<false>);
}
static inline void load_matrices_transposed(unsigned (&r)[4], const void *row) {
    kvcpu::check_shared(row, 16);
    kvcpu::Matrices own{row, r};
    kvcpu::exchange<kvcpu::Matrices>(own, kvcpu::exchange_matrices<true>);
}
static inline void mma_f16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    kvcpu::Product own{d, a, {b0, b1}};
    kvcpu::exchange<kvcpu::Product>(own, kvcpu::exchange_products<f16_to_float>);
}
static inline void mma_bf16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    kvcpu::Product own{d, a, {b0, b1}};
    kvcpu::exchange<kvcpu::Product>(own, kvcpu::exchange_products<bf16_to_float>);
}

#endif
