// Q3_K: super-blocks of 256 weights d * (scale - 32) * (q - 4), of 3 bits, with a 6-bit scale for each 16.
#include "format.h"

typedef struct {
    uint8_t high[32], q[64], scales[12];
    uint16_t d;
} block;
static_assert(sizeof(block) == 110, "Q3_K block");

// Each 32 bytes hold the low bits of four blocks, the first in their lowest two; bit k of byte i of `high` is the third bit of weight
// i of block k. Scales have their low bits in the nibbles of bytes 0 ... 7, low ones first, their high ones in the last four bytes.
static void unpack(const void *in, uint8_t *head, uint8_t *q) {
    block source;
    memcpy(&source, in, sizeof source);
    memcpy(head, &source.d, 2);
    for (int k = 0; k < 16; k++) {
        const int low = k < 8 ? source.scales[k] & 15 : source.scales[k - 8] >> 4;
        head[2 + k] = (uint8_t)((low | (source.scales[8 + k % 4] >> 2 * (k / 4) & 3) << 4) - 32);
    }
    for (int k = 0; k < 8; k++) {
        for (int i = 0; i < 32; i++) {
            q[32 * k + i] = (uint8_t)((source.q[k / 4 * 32 + i] >> 2 * (k % 4) & 3) | (source.high[i] >> k & 1) << 2);
        }
    }
}

static void dequantise(const void *in, float *out, size_t n) {
    for (size_t b = 0; b < n / 256; b++) {
        uint8_t head[20], q[256];
        unpack((const char *)in + b * sizeof(block), head, q);
        const float d = ckv_half_float(ckv_load16(head));
        for (int i = 0; i < 256; i++) *out++ = d * (float)(int8_t)head[2 + i / 16] * (float)(q[i] - 4);
    }
}

static void synthesise(void *blocks, size_t n, float deviation) {
    // The root mean squares of the integers, -4 ... 3, and of the scales, -32 ... 31.
    const float d = deviation / (2.345f * 18.48f);
    for (size_t b = 0; b < n / 256; b++) ckv_store_half((char *)blocks + b * sizeof(block) + offsetof(block, d), d);
}

CKV_QUANTISED(ckv_format_q3_k, kind_q3_k, CKV_Q3_K, "Q3_K", NULL);
