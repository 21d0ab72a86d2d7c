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

CKV_QUANTISED(ckv_format_q6_k, kind_q6_k, CKV_Q6_K, "Q6_K");
