// Q4_1: blocks of 32 weights d * q + m; nibbles as in Q4_0.
#include "format.h"

typedef struct {
    uint16_t d, m;
    uint8_t q[16];
} block;
static_assert(sizeof(block) == 20, "Q4_1 block");

static void dequantise(const void *in, float *out, size_t n) {
    for (size_t b = 0; b < n / CKV_BLOCK; b++, out += CKV_BLOCK) {
        block source;
        memcpy(&source, (const char *)in + b * sizeof source, sizeof source);
        const float d = ckv_half_float(source.d), m = ckv_half_float(source.m);
        // d * q is exact (11 and 4 bits): there is one rounding, fused or not.
        for (int i = 0; i < 16; i++) {
            out[i] = (float)(source.q[i] & 15) * d + m;
            out[i + 16] = (float)(source.q[i] >> 4) * d + m;
        }
    }
}

static size_t packed_bytes(size_t columns) { return ckv_group_bytes(columns / CKV_BLOCK * sizeof(block)); }

static void pack(const void *rows, size_t row_bytes, size_t count, size_t columns, void *out) {
    ckv_pack_blocks(rows, row_bytes, count, columns, out, 4, 16);
}

const ckv_format ckv_format_q4_1 = {
    CKV_Q4_1, "Q4_1", CKV_BLOCK, sizeof(block), true, dequantise, packed_bytes, pack,
};
