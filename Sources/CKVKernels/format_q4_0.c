// Q4_0: blocks of 32 weights d * (q - 8); byte i holds weight i in its low nibble and weight i + 16 in its high one.
#include "format.h"

typedef struct {
    uint16_t d;
    uint8_t q[16];
} block;
static_assert(sizeof(block) == 18, "Q4_0 block");

static void unpack(const void *in, uint8_t *head, uint8_t *q) {
    block source;
    memcpy(&source, in, sizeof source);
    memcpy(head, &source.d, 2);
    for (int i = 0; i < 16; i++) q[i] = source.q[i] & 15;
    for (int i = 0; i < 16; i++) q[i + 16] = source.q[i] >> 4;
}

static void dequantise(const void *in, float *out, size_t n) {
    for (size_t b = 0; b < n / CKV_BLOCK; b++, out += CKV_BLOCK) {
        uint8_t head[2], q[CKV_BLOCK];
        unpack((const char *)in + b * sizeof(block), head, q);
        const float d = ckv_half_float(ckv_load16(head));
        for (int i = 0; i < CKV_BLOCK; i++) out[i] = (float)(q[i] - 8) * d;
    }
}

static void synthesise(void *blocks, size_t n, float deviation) {
    // The root mean square of -8 ... 7.
    for (size_t b = 0; b < n / CKV_BLOCK; b++) {
        ckv_scale_signed((char *)blocks + b * sizeof(block), deviation / 4.637f);
    }
}

CKV_QUANTISED(ckv_format_q4_0, kind_q4_0, CKV_Q4_0, "Q4_0");
