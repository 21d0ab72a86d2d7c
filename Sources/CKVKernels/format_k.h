// What Q4_K and Q5_K share: a super-block's 8 blocks of 32 weights are (d * scale) * q - (dmin * minimum).
#include "format.h"

// Scales and minima are of 6 bits: the first four blocks' in the low bits of bytes 0 ... 3 and 4 ... 7, the others' in the nibbles
// of bytes 8 ... 11 with their upper two bits above the first ones. `out`: for each block its scale, then its minimum.
static inline void unpack_scales(const uint8_t *in, uint8_t *out) {
    for (int k = 0; k < 4; k++) {
        out[2 * k] = in[k] & 63;
        out[2 * k + 1] = in[4 + k] & 63;
        out[8 + 2 * k] = (uint8_t)((in[8 + k] & 15) | in[k] >> 6 << 4);
        out[8 + 2 * k + 1] = (uint8_t)(in[8 + k] >> 4 | in[4 + k] >> 6 << 4);
    }
}

// Each 32 bytes hold one block in their low nibbles and the next one in their high ones.
static inline void unpack_nibbles(const uint8_t *in, uint8_t *q) {
    for (int pair = 0; pair < 4; pair++, in += 32, q += 64) {
        for (int i = 0; i < 32; i++) q[i] = in[i] & 15;
        for (int i = 0; i < 32; i++) q[i + 32] = in[i] >> 4;
    }
}

static inline void dequantise_super(const uint8_t *head, const uint8_t *q, float *out) {
    const float d = ckv_half_float(ckv_load16(head)), dmin = ckv_half_float(ckv_load16(head + 2));
    for (int k = 0; k < 8; k++) {
        // All products are exact (at most 11, 6 and 5 bits): there is one rounding, fused or not.
        const float scale = d * (float)head[4 + 2 * k], minimum = dmin * (float)head[5 + 2 * k];
        for (int i = 0; i < CKV_BLOCK; i++) out[k * CKV_BLOCK + i] = scale * (float)q[k * CKV_BLOCK + i] - minimum;
    }
}

// Random bits of a super-block to weights of mean 0: each block's minimum becomes its scale, and dmin the integers' `mean` times d.
// `deviation` is that of the weights over that of the integers; 36.5 the root mean square of 6-bit scales.
static inline void synthesise_super(char *block, float deviation, float mean) {
    const float d = deviation / 36.5f;
    ckv_store_half(block, d);
    ckv_store_half(block + 2, mean * d);
    memcpy(block + 8, block + 4, 4);
    for (int k = 12; k < 16; k++) block[k] = (char)((block[k] & 15) * 17);
}

// The rest of such a format's file, from its `block` and `unpack`; `spread` and `mean` are those of random integers.
#define CKV_SUPER(symbol, kind, type, name, spread, mean)                                                               \
    static void dequantise(const void *in, float *out, size_t n) {                                                      \
        for (size_t b = 0; b < n / 256; b++) {                                                                          \
            uint8_t head[20], q[256];                                                                                   \
            unpack((const char *)in + b * sizeof(block), head, q);                                                      \
            dequantise_super(head, q, out + b * 256);                                                                   \
        }                                                                                                               \
    }                                                                                                                   \
    static void synthesise(void *blocks, size_t n, float deviation) {                                                   \
        for (size_t b = 0; b < n / 256; b++) {                                                                          \
            synthesise_super((char *)blocks + b * sizeof(block), deviation / (spread), mean);                           \
        }                                                                                                               \
    }                                                                                                                   \
    CKV_QUANTISED(symbol, kind, type, name)
