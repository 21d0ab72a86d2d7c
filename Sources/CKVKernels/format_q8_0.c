// Q8_0: blocks of 32 weights d * q; q may be -128, which quantisers do not write but a file may hold.
#include "format_plain.h"

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

static void quantise(const float *x, void *out, size_t n) {
    for (size_t b = 0; b < n / CKV_BLOCK; b++, x += CKV_BLOCK) {
        block made;
        float largest = 0;
        for (int i = 0; i < CKV_BLOCK; i++) largest = __builtin_fmaxf(largest, __builtin_fabsf(x[i]));
        const float d = largest / 127, inverse = d != 0 ? 1.0f / d : 0;
        made.d = ckv_float_half(d);
        for (int i = 0; i < CKV_BLOCK; i++) made.q[i] = (int8_t)__builtin_roundf(x[i] * inverse);
        memcpy((char *)out + b * sizeof made, &made, sizeof made);
    }
}

CKV_PLAIN(ckv_format_q8_0, kind_q8_0, CKV_Q8_0, "Q8_0", 73.90f, quantise);
