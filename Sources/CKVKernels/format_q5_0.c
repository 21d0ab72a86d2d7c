// Q5_0: blocks of 32 weights d * (q - 16); nibbles as in Q4_0, and bit i of `high` is the fifth bit of weight i.
#include "format.h"

typedef struct {
    uint16_t d;
    uint8_t high[4], q[16];
} block;
static_assert(sizeof(block) == 22, "Q5_0 block");

static void unpack(const void *in, uint8_t *head, uint8_t *q) {
    block source;
    memcpy(&source, in, sizeof source);
    memcpy(head, &source.d, 2);
    for (int i = 0; i < 16; i++) q[i] = source.q[i] & 15;
    for (int i = 0; i < 16; i++) q[i + 16] = source.q[i] >> 4;
    const uint32_t high = ckv_load32(source.high);
    for (int i = 0; i < 32; i++) q[i] |= (uint8_t)((high >> i & 1) << 4);
}

static void dequantise(const void *in, float *out, size_t n) {
    for (size_t b = 0; b < n / CKV_BLOCK; b++, out += CKV_BLOCK) {
        uint8_t head[2], q[CKV_BLOCK];
        unpack((const char *)in + b * sizeof(block), head, q);
        const float d = ckv_half_float(ckv_load16(head));
        for (int i = 0; i < CKV_BLOCK; i++) out[i] = (float)(q[i] - 16) * d;
    }
}

static void synthesise(void *blocks, size_t n, float deviation) {
    // The root mean square of -16 ... 15.
    for (size_t b = 0; b < n / CKV_BLOCK; b++) {
        ckv_scale_signed((char *)blocks + b * sizeof(block), deviation / 9.247f);
    }
}

CKV_QUANTISED(ckv_format_q5_0, kind_q5_0, CKV_Q5_0, "Q5_0");
