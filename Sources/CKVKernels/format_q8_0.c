// Q8_0: blocks of 32 weights d * q; q may be -128, which quantisers do not write but a file may hold.
#include "format.h"

typedef struct {
    uint16_t d;
    int8_t q[32];
} block;
static_assert(sizeof(block) == 34, "Q8_0 block");

static void dequantise(const void *in, float *out, size_t n) {
    for (size_t b = 0; b < n / CKV_BLOCK; b++, out += CKV_BLOCK) {
        block source;
        memcpy(&source, (const char *)in + b * sizeof source, sizeof source);
        const float d = ckv_half_float(source.d);
        for (int i = 0; i < 32; i++) out[i] = (float)source.q[i] * d;
    }
}

static size_t packed_bytes(size_t columns) { return ckv_group_bytes(columns / CKV_BLOCK * sizeof(block)); }

static void pack(const void *rows, size_t row_bytes, size_t count, size_t columns, void *out) {
    ckv_pack_blocks(rows, row_bytes, count, columns, out, 2, 32);
}

const ckv_format ckv_format_q8_0 = {
    CKV_Q8_0, "Q8_0", CKV_BLOCK, sizeof(block), true, dequantise, packed_bytes, pack,
};
