// Q8_0: blocks of 32 weights d * q; q may be -128, which quantisers do not write but a file may hold.
#include "format.h"

typedef struct {
    uint16_t d;
    int8_t q[32];
} block;
static_assert(sizeof(block) == 34, "Q8_0 block");

static void unpack(const void *in, uint8_t *head, uint8_t *q) {
    block source;
    memcpy(&source, in, sizeof source);
    memcpy(head, &source.d, 2);
    // Packed without signs, as every format.
    for (int i = 0; i < 32; i++) q[i] = (uint8_t)(source.q[i] + 128);
}

static void dequantise(const void *in, float *out, size_t n) {
    for (size_t b = 0; b < n / CKV_BLOCK; b++, out += CKV_BLOCK) {
        uint8_t head[2], q[CKV_BLOCK];
        unpack((const char *)in + b * sizeof(block), head, q);
        const float d = ckv_half_float(ckv_load16(head));
        for (int i = 0; i < CKV_BLOCK; i++) out[i] = (float)(q[i] - 128) * d;
    }
}

static void synthesise(void *blocks, size_t n, float deviation) {
    // The root mean square of -128 ... 127.
    for (size_t b = 0; b < n / CKV_BLOCK; b++) {
        ckv_scale_signed((char *)blocks + b * sizeof(block), deviation / 73.90f);
    }
}

CKV_QUANTISED(ckv_format_q8_0, kind_q8_0, CKV_Q8_0, "Q8_0");
