// Q4_1: blocks of 32 weights d * q + m; nibbles as in Q4_0.
#include "format.h"

typedef struct {
    uint16_t d, m;
    uint8_t q[16];
} block;
static_assert(sizeof(block) == 20, "Q4_1 block");

static void unpack(const void *in, uint8_t *head, uint8_t *q) {
    block source;
    memcpy(&source, in, sizeof source);
    memcpy(head, &source.d, 2);
    memcpy(head + 2, &source.m, 2);
    for (int i = 0; i < 16; i++) q[i] = source.q[i] & 15;
    for (int i = 0; i < 16; i++) q[i + 16] = source.q[i] >> 4;
}

static void dequantise(const void *in, float *out, size_t n) {
    for (size_t b = 0; b < n / CKV_BLOCK; b++, out += CKV_BLOCK) {
        uint8_t head[4], q[CKV_BLOCK];
        unpack((const char *)in + b * sizeof(block), head, q);
        const float d = ckv_half_float(ckv_load16(head)), m = ckv_half_float(ckv_load16(head + 2));
        // d * q is exact (11 and 4 bits): there is one rounding, fused or not.
        for (int i = 0; i < CKV_BLOCK; i++) out[i] = (float)q[i] * d + m;
    }
}

static void synthesise(void *blocks, size_t n, float deviation) {
    // The standard deviation and the mean of 0 ... 15.
    const float d = deviation / 4.610f;
    for (size_t b = 0; b < n / CKV_BLOCK; b++) {
        char *out = (char *)blocks + b * sizeof(block);
        ckv_store_half(out, d);
        ckv_store_half(out + 2, -7.5f * d);
    }
}

CKV_QUANTISED(ckv_format_q4_1, kind_q4_1, CKV_Q4_1, "Q4_1");
