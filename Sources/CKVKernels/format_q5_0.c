// Q5_0: blocks of 32 weights d * (q - 16); nibbles as in Q4_0, and bit i of `high` is the fifth bit of weight i.
#include "format_plain.h"

typedef struct {
    uint16_t d;
    uint8_t high[4], q[16];
} block;
static_assert(sizeof(block) == 22, "Q5_0 block");

static void unpack(const void *in, uint8_t *head, uint8_t *q) {
    block source;
    memcpy(&source, in, sizeof source);
    memcpy(head, &source.d, 2);
    unpack_nibbles(source.q, q);
    unpack_fifth_bits(source.high, q);
}

static void quantise(const float *x, void *out, size_t n) {
    for (size_t b = 0; b < n / CKV_BLOCK; b++) {
        block made;
        uint8_t q[CKV_BLOCK];
        quantise_symmetric(x + b * CKV_BLOCK, 16, &made.d, q);
        pack_nibbles(q, made.q);
        pack_fifth_bits(q, made.high);
        memcpy((char *)out + b * sizeof made, &made, sizeof made);
    }
}

CKV_PLAIN(ckv_format_q5_0, kind_q5_0, CKV_Q5_0, "Q5_0", 9.247f, quantise);
