// What the plain formats share: blocks of 32 weights, d * (q - zero) or d * q + m.
#include "format.h"

// Byte i holds integer i in its low nibble and integer i + 16 in its high one.
static inline void unpack_nibbles(const uint8_t *in, uint8_t *q) {
    for (int i = 0; i < 16; i++) q[i] = in[i] & 15;
    for (int i = 0; i < 16; i++) q[i + 16] = in[i] >> 4;
}

// Bit i is the fifth bit of integer i.
static inline void unpack_fifth_bits(const uint8_t *in, uint8_t *q) {
    const uint32_t high = ckv_load32(in);
    for (int i = 0; i < 32; i++) q[i] |= (uint8_t)((high >> i & 1) << 4);
}

// Blocks of `size` bytes.
static inline void dequantise_plain(
    const ckv_layout *layout, ckv_unpack_fn unpack, size_t size, const void *in, float *out, size_t n
) {
    for (size_t b = 0; b < n / CKV_BLOCK; b++, out += CKV_BLOCK) {
        uint8_t head[4] = {0}, q[CKV_BLOCK];
        unpack((const char *)in + b * size, head, q);
        const float d = ckv_half_float(ckv_load16(head)), m = ckv_half_float(ckv_load16(head + 2));
        for (int i = 0; i < CKV_BLOCK; i++) {
            // d times an integer is exact (11 and at most 8 bits): there is one rounding, fused or not.
            const int value = layout->values != NULL ? layout->values[q[i]] : q[i];
            const float product = (float)(value - layout->zero) * d;
            out[i] = layout->minima ? product + m : product;
        }
    }
}

// A block's integers for weights d * (q - zero), `zero` the half of their range: its largest weight, with its sign, becomes integer 0.
static inline void quantise_symmetric(const float *x, int zero, uint16_t *d, uint8_t *q) {
    float largest = 0, magnitude = 0;
    for (int i = 0; i < CKV_BLOCK; i++) {
        if (__builtin_fabsf(x[i]) > magnitude) magnitude = __builtin_fabsf(largest = x[i]);
    }
    const float scale = largest / (float)-zero, inverse = scale != 0 ? 1.0f / scale : 0;
    *d = ckv_float_half(scale);
    for (int i = 0; i < CKV_BLOCK; i++) q[i] = (uint8_t)ckv_clamp((int)(x[i] * inverse + ((float)zero + 0.5f)), 0, 2 * zero - 1);
}

// A block's integers 0 ... top for weights d * q + m.
static inline void quantise_range(const float *x, int top, uint16_t *d, uint16_t *m, uint8_t *q) {
    float least = x[0], largest = x[0];
    for (int i = 1; i < CKV_BLOCK; i++) {
        if (x[i] < least) least = x[i];
        if (x[i] > largest) largest = x[i];
    }
    const float scale = (largest - least) / (float)top, inverse = scale != 0 ? 1.0f / scale : 0;
    *d = ckv_float_half(scale);
    *m = ckv_float_half(least);
    for (int i = 0; i < CKV_BLOCK; i++) q[i] = (uint8_t)ckv_clamp((int)((x[i] - least) * inverse + 0.5f), 0, top);
}

static inline void pack_nibbles(const uint8_t *q, uint8_t *out) {
    for (int i = 0; i < 16; i++) out[i] = (uint8_t)((q[i] & 15) | (q[i + 16] & 15) << 4);
}

static inline void pack_fifth_bits(const uint8_t *q, uint8_t *out) {
    for (int i = 0; i < 4; i++) {
        out[i] = 0;
        for (int k = 0; k < 8; k++) out[i] |= (uint8_t)((q[8 * i + k] >> 4) << k);
    }
}

// Scales on the random bits of blocks of `size` bytes, which make weights of mean 0.
static inline void synthesise_plain(const ckv_layout *layout, size_t size, void *blocks, size_t n, float d) {
    for (size_t b = 0; b < n / CKV_BLOCK; b++) {
        char *out = (char *)blocks + b * size;
        if (!layout->minima) {
            ckv_scale_signed(out, d);
            continue;
        }
        ckv_store_half(out, d);
        ckv_store_half(out + 2, -(float)((1 << layout->bits) - 1) / 2 * d);
    }
}

// The rest of a plain format's file, from its `block` and `unpack`. `spread` is the standard deviation of random integers where there are
// minima, else their root mean square about the zero.
#define CKV_PLAIN(symbol, kind, type, name, spread, quantise)                                                           \
    static void dequantise(const void *in, float *out, size_t n) {                                                      \
        dequantise_plain(&ckv_layouts[kind], unpack, sizeof(block), in, out, n);                                        \
    }                                                                                                                   \
    static void synthesise(void *blocks, size_t n, float deviation) {                                                   \
        synthesise_plain(&ckv_layouts[kind], sizeof(block), blocks, n, deviation / (spread));                           \
    }                                                                                                                   \
    CKV_QUANTISED(symbol, kind, type, name, quantise)
