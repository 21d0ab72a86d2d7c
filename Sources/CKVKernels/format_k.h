// What Q4_K and Q5_K share: a super-block's 8 blocks of 32 weights are (d * scale) * q - (dmin * minimum).
#include <math.h>

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

// Scale and minimum for weights scale * q - minimum, q 0 ... top, of 32 weights with the least squared error, each weighted by
// its size: `steps` scales from `first` on, a tenth of an integer apart, are tried, and each fitted. Leaves the integers in `q`.
static inline float fit_range(const float *x, int top, float first, int steps, float *minimum, uint8_t *q) {
    float weights[CKV_BLOCK], squares = 0, least = x[0], largest = x[0], sum_w = 0, sum_x = 0;
    for (int i = 0; i < CKV_BLOCK; i++) squares += x[i] * x[i];
    for (int i = 0; i < CKV_BLOCK; i++) {
        weights[i] = sqrtf(squares / CKV_BLOCK) + __builtin_fabsf(x[i]);
        if (x[i] < least) least = x[i];
        if (x[i] > largest) largest = x[i];
        sum_w += weights[i];
        sum_x += weights[i] * x[i];
    }
    if (least > 0) least = 0;
    memset(q, 0, CKV_BLOCK);
    *minimum = -least;
    if (largest == least) return 0;
    float best_error = __builtin_inff(), best_scale = 0;
    for (int step = -1; step <= steps; step++) {
        // The plain scale first, as it is. The reference goes on from the best minimum so far.
        const float low = least, offset = step < 0 ? 0 : first + 0.1f * (float)step;
        const float inverse = (offset + (float)top) / (largest - low);
        uint8_t tried[CKV_BLOCK];
        float sum_l = 0, sum_l2 = 0, sum_xl = 0;
        for (int i = 0; i < CKV_BLOCK; i++) {
            const int l = ckv_clamp(ckv_nearest(inverse * (x[i] - low)), 0, top);
            tried[i] = (uint8_t)l;
            sum_l += weights[i] * (float)l;
            sum_l2 += weights[i] * (float)l * (float)l;
            sum_xl += weights[i] * (float)l * x[i];
        }
        float scale = 1 / inverse, bottom = low;
        if (step >= 0) {
            const float determinant = sum_w * sum_l2 - sum_l * sum_l;
            if (!(determinant > 0)) continue;
            scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
            bottom = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
            if (bottom > 0) {
                bottom = 0;
                scale = sum_xl / sum_l2;
            }
        }
        float error = 0;
        for (int i = 0; i < CKV_BLOCK; i++) {
            const float difference = scale * (float)tried[i] + bottom - x[i];
            error += weights[i] * (difference * difference);
        }
        if (!(error < best_error)) continue;
        memcpy(q, tried, CKV_BLOCK);
        best_error = error;
        best_scale = scale;
        least = bottom;
    }
    *minimum = -least;
    return best_scale;
}

// A super-block's integers 0 ... top, its float16 d and dmin, and its 12 bytes of scales and minima.
static inline void quantise_super(
    const float *x, int top, float first, int steps, uint16_t *d, uint16_t *dmin, uint8_t *packed, uint8_t *q
) {
    float scales[8], minima[8], most_scale = 0, most_minimum = 0;
    for (int k = 0; k < 8; k++) {
        scales[k] = fit_range(x + 32 * k, top, first, steps, &minima[k], q + 32 * k);
        if (scales[k] > most_scale) most_scale = scales[k];
        if (minima[k] > most_minimum) most_minimum = minima[k];
    }
    const float by_scale = most_scale > 0 ? 63 / most_scale : 0, by_minimum = most_minimum > 0 ? 63 / most_minimum : 0;
    *d = ckv_float_half(most_scale / 63);
    *dmin = ckv_float_half(most_minimum / 63);
    memset(packed, 0, 12);
    for (int k = 0; k < 8; k++) {
        // Through a byte, of which only what is above 63 is cut.
        const int scale = ckv_clamp((uint8_t)ckv_nearest(by_scale * scales[k]), 0, 63);
        const int minimum = ckv_clamp((uint8_t)ckv_nearest(by_minimum * minima[k]), 0, 63);
        if (k < 4) {
            packed[k] |= (uint8_t)scale;
            packed[4 + k] |= (uint8_t)minimum;
        } else {
            packed[4 + k] = (uint8_t)((scale & 15) | (minimum & 15) << 4);
            packed[k - 4] |= (uint8_t)(scale >> 4 << 6);
            packed[k] |= (uint8_t)(minimum >> 4 << 6);
        }
        const float step = ckv_half_float(*d) * (float)scale, bottom = ckv_half_float(*dmin) * (float)minimum;
        for (int i = 32 * k; step != 0 && i < 32 * k + 32; i++) q[i] = (uint8_t)ckv_clamp(ckv_nearest((x[i] + bottom) / step), 0, top);
    }
}

// The reverse of unpack_nibbles.
static inline void pack_nibbles(const uint8_t *q, uint8_t *out) {
    for (int pair = 0; pair < 4; pair++, out += 32, q += 64) {
        for (int i = 0; i < 32; i++) out[i] = (uint8_t)((q[i] & 15) | (q[i + 32] & 15) << 4);
    }
}

// The rest of such a format's file, from its `block` and `unpack`; `spread` and `mean` are those of random integers.
#define CKV_SUPER(symbol, kind, type, name, spread, mean, quantise)                                                     \
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
    CKV_QUANTISED(symbol, kind, type, name, quantise)
