// IQ4_NL: blocks of 32 weights d * value, of 16 values that lie closer about zero; nibbles as in Q4_0.
#include "format_plain.h"

typedef struct {
    uint16_t d;
    uint8_t q[16];
} block;
static_assert(sizeof(block) == 18, "IQ4_NL block");

static void unpack(const void *in, uint8_t *head, uint8_t *q) {
    block source;
    memcpy(&source, in, sizeof source);
    memcpy(head, &source.d, 2);
    unpack_nibbles(source.q, q);
}

CKV_PLAIN(ckv_format_iq4_nl, kind_iq4_nl, CKV_IQ4_NL, "IQ4_NL", 67.44f, NULL);
