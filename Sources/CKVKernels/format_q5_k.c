// Q5_K: super-blocks of 256 weights, of 5 bits; bit k of byte i of `high` is the fifth bit of weight i of block k.
#include "format_k.h"

typedef struct {
    uint16_t d, dmin;
    uint8_t scales[12], high[32], q[128];
} block;
static_assert(sizeof(block) == 176, "Q5_K block");

static void unpack(const void *in, uint8_t *head, uint8_t *q) {
    block source;
    memcpy(&source, in, sizeof source);
    memcpy(head, &source.d, 2);
    memcpy(head + 2, &source.dmin, 2);
    unpack_scales(source.scales, head + 4);
    unpack_nibbles(source.q, q);
    for (int k = 0; k < 8; k++) {
        for (int i = 0; i < 32; i++) q[32 * k + i] |= (uint8_t)((source.high[i] >> k & 1) << 4);
    }
}

static void quantise(const float *x, void *out, size_t n) {
    for (size_t b = 0; b < n / 256; b++) {
        block made;
        uint8_t q[256];
        quantise_super(x + b * 256, 31, -0.5f, 15, &made.d, &made.dmin, made.scales, q);
        pack_nibbles(q, made.q);
        memset(made.high, 0, sizeof made.high);
        for (int i = 0; i < 256; i++) made.high[i % 32] |= (uint8_t)((q[i] >> 4) << i / 32);
        memcpy((char *)out + b * sizeof made, &made, sizeof made);
    }
}

CKV_SUPER(ckv_format_q5_k, kind_q5_k, CKV_Q5_K, "Q5_K", 9.233f, 15.5f, quantise);
