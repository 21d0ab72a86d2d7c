// Q6_K: super-blocks of 256 weights (d * scale) * (q - 32), with a signed scale for each 16.
#include "format.h"

typedef struct {
    uint8_t low[128], high[64];
    int8_t scales[16];
    uint16_t d;
} block;
static_assert(sizeof(block) == 210, "Q6_K block");

// Each half of 128 weights: 64 bytes of nibbles, the low ones first, and 32 bytes of two bits for each 32 weights.
static void unpack(const void *in, uint8_t *head, uint8_t *q) {
    block source;
    memcpy(&source, in, sizeof source);
    memcpy(head, &source.d, 2);
    memcpy(head + 2, source.scales, sizeof source.scales);
    for (int half = 0; half < 2; half++, q += 128) {
        const uint8_t *low = source.low + 64 * half, *high = source.high + 32 * half;
        for (int i = 0; i < 64; i++) q[i] = low[i] & 15;
        for (int i = 0; i < 64; i++) q[i + 64] = low[i] >> 4;
        for (int k = 0; k < 4; k++) {
            for (int i = 0; i < 32; i++) q[32 * k + i] |= (uint8_t)((high[i] >> 2 * k & 3) << 4);
        }
    }
}

static void dequantise(const void *in, float *out, size_t n) {
    for (size_t b = 0; b < n / 256; b++) {
        uint8_t head[20], q[256];
        unpack((const char *)in + b * sizeof(block), head, q);
        const float d = ckv_half_float(ckv_load16(head));
        for (int i = 0; i < 256; i++) *out++ = d * (float)(int8_t)head[2 + i / 16] * (float)(q[i] - 32);
    }
}

static void synthesise(void *blocks, size_t n, float deviation) {
    // The root mean squares of the integers, -32 ... 31, and of the scales, -128 ... 127.
    const float d = deviation / (18.48f * 73.90f);
    for (size_t b = 0; b < n / 256; b++) ckv_store_half((char *)blocks + b * sizeof(block) + offsetof(block, d), d);
}

// The scale for weights scale * q, q -32 ... 31, of 16 weights with the least squared error, each weighted by its square: scales about
// the one that makes the largest weight -32 are tried, and each fitted. Leaves q + 32 in `q`.
static float fit_signed(const float *x, uint8_t *q) {
    float largest = 0, magnitude = 0;
    for (int i = 0; i < 16; i++) {
        if (__builtin_fabsf(x[i]) > magnitude) magnitude = __builtin_fabsf(largest = x[i]);
    }
    memset(q, 0, 16);
    if (magnitude < 1e-15f) return 0;
    float best = 0, scale = 0;
    for (int step = -10; step <= 9; step++) {
        // The plain one first.
        if (step == 0) continue;
        const float inverse = -(32 + (step < -9 ? 0 : 0.1f * (float)step)) / largest;
        float sum_xl = 0, sum_l2 = 0;
        for (int i = 0; i < 16; i++) {
            const float l = (float)ckv_clamp(ckv_nearest(inverse * x[i]), -32, 31), w = x[i] * x[i];
            sum_xl += w * x[i] * l;
            sum_l2 += w * l * l;
        }
        if (step < -9 || (sum_l2 > 0 && sum_xl * sum_xl > best * sum_l2)) {
            scale = sum_l2 != 0 ? sum_xl / sum_l2 : 0;
            best = scale * sum_xl;
            for (int i = 0; i < 16; i++) q[i] = (uint8_t)(ckv_clamp(ckv_nearest(inverse * x[i]), -32, 31) + 32);
        }
    }
    return scale;
}

static block quantise_block(const float *x) {
    block made;
    memset(&made, 0, sizeof made);
    uint8_t fitted[256];
    float scales[16], largest = 0;
    for (int k = 0; k < 16; k++) {
        scales[k] = fit_signed(x + 16 * k, fitted + 16 * k);
        if (__builtin_fabsf(scales[k]) > __builtin_fabsf(largest)) largest = scales[k];
    }
    if (__builtin_fabsf(largest) < 1e-15f) return made;
    const float inverse = -128 / largest;
    made.d = ckv_float_half(1 / inverse);
    for (int k = 0; k < 16; k++) made.scales[k] = (int8_t)ckv_clamp(ckv_nearest(inverse * scales[k]), -128, 127);
    for (int i = 0; i < 256; i++) {
        const float step = ckv_half_float(made.d) * (float)made.scales[i / 16];
        const int q = step != 0 ? ckv_clamp(ckv_nearest(x[i] / step), -32, 31) + 32 : fitted[i];
        const int half = i / 128, k = i % 128 / 32;
        made.low[64 * half + i % 64] |= (uint8_t)((q & 15) << (k < 2 ? 0 : 4));
        made.high[32 * half + i % 32] |= (uint8_t)((q >> 4) << 2 * k);
    }
    return made;
}

static void quantise(const float *x, void *out, size_t n) {
    for (size_t b = 0; b < n / 256; b++) {
        const block made = quantise_block(x + b * 256);
        memcpy((char *)out + b * sizeof made, &made, sizeof made);
    }
}

CKV_QUANTISED(ckv_format_q6_k, kind_q6_k, CKV_Q6_K, "Q6_K", quantise);
