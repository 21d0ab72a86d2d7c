// IQ4_XS: super-blocks of 256 weights d * (scale - 32) * value, values as IQ4_NL's, with a 6-bit scale for each 32.
#include "format_plain.h"

typedef struct {
    uint16_t d, scales_high;
    uint8_t scales_low[4], q[128];
} block;
static_assert(sizeof(block) == 136, "IQ4_XS block");

static void unpack(const void *in, uint8_t *head, uint8_t *q) {
    block source;
    memcpy(&source, in, sizeof source);
    memcpy(head, &source.d, 2);
    for (int k = 0; k < 8; k++) {
        const int low = source.scales_low[k / 2] >> 4 * (k % 2) & 15;
        head[2 + k] = (uint8_t)((low | (source.scales_high >> 2 * k & 3) << 4) - 32);
        unpack_nibbles(source.q + 16 * k, q + 32 * k);
    }
}

static void dequantise(const void *in, float *out, size_t n) {
    for (size_t b = 0; b < n / 256; b++) {
        uint8_t head[10], q[256];
        unpack((const char *)in + b * sizeof(block), head, q);
        const float d = ckv_half_float(ckv_load16(head));
        for (int i = 0; i < 256; i++) *out++ = d * (float)(int8_t)head[2 + i / 32] * (float)(ckv_iq4_values[q[i]] - 128);
    }
}

static void synthesise(void *blocks, size_t n, float deviation) {
    // The root mean squares of the values and of the scales, -32 ... 31.
    const float d = deviation / (67.44f * 18.48f);
    for (size_t b = 0; b < n / 256; b++) ckv_store_half((char *)blocks + b * sizeof(block), d);
}

CKV_QUANTISED(ckv_format_iq4_xs, kind_iq4_xs, CKV_IQ4_XS, "IQ4_XS", NULL);
