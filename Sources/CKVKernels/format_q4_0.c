// Q4_0: blocks of 32 weights d * (q - 8); byte i holds weight i in its low nibble and weight i + 16 in its high one.
#include "format.h"

typedef struct {
    uint16_t d;
    uint8_t q[16];
} block;
static_assert(sizeof(block) == 18, "Q4_0 block");

static void dequantise(const void *in, float *out, size_t n) {
    for (size_t b = 0; b < n / CKV_BLOCK; b++, out += CKV_BLOCK) {
        block source;
        memcpy(&source, (const char *)in + b * sizeof source, sizeof source);
        const float d = ckv_half_float(source.d);
        for (int i = 0; i < 16; i++) {
            out[i] = (float)((source.q[i] & 15) - 8) * d;
            out[i + 16] = (float)((source.q[i] >> 4) - 8) * d;
        }
    }
}

static size_t packed_bytes(size_t columns) { return ckv_group_bytes(columns / CKV_BLOCK * sizeof(block)); }

static void pack(const void *rows, size_t row_bytes, size_t count, size_t columns, void *out) {
    ckv_pack_blocks(rows, row_bytes, count, columns, out, 2, 16);
}

const ckv_format ckv_format_q4_0 = {
    CKV_Q4_0, "Q4_0", CKV_BLOCK, sizeof(block), true, dequantise, packed_bytes, pack,
};
