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

CKV_PLAIN(ckv_format_q8_0, kind_q8_0, CKV_Q8_0, "Q8_0", 73.90f);
