// Q4_K: super-blocks of 256 weights, of 4 bits.
#include "format_k.h"

typedef struct {
    uint16_t d, dmin;
    uint8_t scales[12], q[128];
} block;
static_assert(sizeof(block) == 144, "Q4_K block");

static void unpack(const void *in, uint8_t *head, uint8_t *q) {
    block source;
    memcpy(&source, in, sizeof source);
    memcpy(head, &source.d, 2);
    memcpy(head + 2, &source.dmin, 2);
    unpack_scales(source.scales, head + 4);
    unpack_nibbles(source.q, q);
}

static void quantise(const float *x, void *out, size_t n) {
    for (size_t b = 0; b < n / 256; b++) {
        block made;
        uint8_t q[256];
        quantise_super(x + b * 256, 15, -1, 20, &made.d, &made.dmin, made.scales, q);
        pack_nibbles(q, made.q);
        memcpy((char *)out + b * sizeof made, &made, sizeof made);
    }
}

CKV_SUPER(ckv_format_q4_k, kind_q4_k, CKV_Q4_K, "Q4_K", 4.610f, 7.5f, quantise);
