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
            const float product = (float)(q[i] - layout->zero) * d;
            out[i] = layout->minima ? product + m : product;
        }
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
#define CKV_PLAIN(symbol, kind, type, name, spread)                                                                     \
    static void dequantise(const void *in, float *out, size_t n) {                                                      \
        dequantise_plain(&ckv_layouts[kind], unpack, sizeof(block), in, out, n);                                        \
    }                                                                                                                   \
    static void synthesise(void *blocks, size_t n, float deviation) {                                                   \
        synthesise_plain(&ckv_layouts[kind], sizeof(block), blocks, n, deviation / (spread));                           \
    }                                                                                                                   \
    CKV_QUANTISED(symbol, kind, type, name)
