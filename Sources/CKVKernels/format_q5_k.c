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

static void dequantise(const void *in, float *out, size_t n) {
    for (size_t b = 0; b < n / 256; b++, out += 256) {
        uint8_t head[20], q[256];
        unpack((const char *)in + b * sizeof(block), head, q);
        dequantise_super(head, q, out);
    }
}

static void synthesise(void *blocks, size_t n, float deviation) {
    // The standard deviation and the mean of 0 ... 31.
    for (size_t b = 0; b < n / 256; b++) synthesise_super((char *)blocks + b * sizeof(block), deviation / 9.233f, 15.5f);
}

CKV_QUANTISED(ckv_format_q5_k, kind_q5_k, CKV_Q5_K, "Q5_K");
