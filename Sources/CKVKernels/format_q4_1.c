// Q4_1: blocks of 32 weights d * q + m; nibbles as in Q4_0.
#include "format_plain.h"

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
    unpack_nibbles(source.q, q);
}

static void quantise(const float *x, void *out, size_t n) {
    for (size_t b = 0; b < n / CKV_BLOCK; b++) {
        block made;
        uint8_t q[CKV_BLOCK];
        quantise_range(x + b * CKV_BLOCK, 15, &made.d, &made.m, q);
        pack_nibbles(q, made.q);
        memcpy((char *)out + b * sizeof made, &made, sizeof made);
    }
}

CKV_PLAIN(ckv_format_q4_1, kind_q4_1, CKV_Q4_1, "Q4_1", 4.610f, quantise);
