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

CKV_PLAIN(ckv_format_q4_0, kind_q4_0, CKV_Q4_0, "Q4_0", 4.637f);
