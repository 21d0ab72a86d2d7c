// Q2_K: super-blocks of 256 weights (d * scale) * q - (dmin * minimum), of 2 bits, with a 4-bit scale and minimum for each 16.
#include "format.h"

typedef struct {
    uint8_t scales[16], q[64];
    uint16_t d, dmin;
} block;
static_assert(sizeof(block) == 84, "Q2_K block");

// Each 32 bytes hold four blocks, the first in their lowest two bits.
static void unpack(const void *in, uint8_t *head, uint8_t *q) {
    block source;
    memcpy(&source, in, sizeof source);
    memcpy(head, &source.d, 2);
    memcpy(head + 2, &source.dmin, 2);
    memcpy(head + 4, source.scales, sizeof source.scales);
    for (int k = 0; k < 8; k++) {
        for (int i = 0; i < 32; i++) q[32 * k + i] = source.q[k / 4 * 32 + i] >> 2 * (k % 4) & 3;
    }
}

static void dequantise(const void *in, float *out, size_t n) {
    for (size_t b = 0; b < n / 256; b++) {
        uint8_t head[20], q[256];
        unpack((const char *)in + b * sizeof(block), head, q);
        const float d = ckv_half_float(ckv_load16(head)), dmin = ckv_half_float(ckv_load16(head + 2));
        for (int i = 0; i < 256; i++) {
            // All products are exact (at most 11, 4 and 2 bits): there is one rounding, fused or not.
            const uint8_t scale = head[4 + i / 16];
            *out++ = d * (float)(scale & 15) * (float)q[i] - dmin * (float)(scale >> 4);
        }
    }
}

static void synthesise(void *blocks, size_t n, float deviation) {
    // The root mean squares of the scales, 0 ... 15, and of the integers about their mean, 1.5; minima become as the scales.
    const float d = deviation / (8.803f * 1.118f);
    for (size_t b = 0; b < n / 256; b++) {
        char *out = (char *)blocks + b * sizeof(block);
        for (int k = 0; k < 16; k++) out[k] = (char)((out[k] & 15) * 17);
        ckv_store_half(out + offsetof(block, d), d);
        ckv_store_half(out + offsetof(block, dmin), 1.5f * d);
    }
}

CKV_QUANTISED(ckv_format_q2_k, kind_q2_k, CKV_Q2_K, "Q2_K", NULL);
