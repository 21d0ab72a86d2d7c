// Q4_0: blocks of 32 weights d * (q - 8); byte i holds weight i in its low nibble and weight i + 16 in its high one.
#include "format_plain.h"

typedef struct {
    uint16_t d;
    uint8_t q[16];
} block;
static_assert(sizeof(block) == 18, "Q4_0 block");

static void unpack(const void *in, uint8_t *head, uint8_t *q) {
    block source;
    memcpy(&source, in, sizeof source);
    memcpy(head, &source.d, 2);
    unpack_nibbles(source.q, q);
}

static void quantise(const float *x, void *out, size_t n) {
    for (size_t b = 0; b < n / CKV_BLOCK; b++) {
        block made;
        uint8_t q[CKV_BLOCK];
        quantise_symmetric(x + b * CKV_BLOCK, 8, &made.d, q);
        pack_nibbles(q, made.q);
        memcpy((char *)out + b * sizeof made, &made, sizeof made);
    }
}

CKV_PLAIN(ckv_format_q4_0, kind_q4_0, CKV_Q4_0, "Q4_0", 4.637f, quantise);
