// BF16: bfloat16, the upper half of a float.
#include "format.h"

static void dequantise(const void *in, float *out, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = ckv_bf16_float(ckv_load16((const char *)in + 2 * i));
}

static size_t packed_bytes(size_t columns) { return ckv_group_bytes(columns * 2); }

static void pack(const void *rows, size_t row_bytes, size_t count, size_t columns, void *out) {
    ckv_pack_elements(rows, row_bytes, count, columns, out, 2);
}

static void synthesise(void *blocks, size_t n, float deviation) {
    char *out = blocks;
    for (size_t i = 0; i < n; i++, out += 2) {
        // Cut, not rounded: towards zero on both sides.
        const uint16_t value = (uint16_t)(ckv_float_bits(ckv_spread(ckv_load16(out), deviation)) >> 16);
        memcpy(out, &value, 2);
    }
}

static void quantise(const float *x, void *out, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = ckv_float_bits(x[i]);
        // To nearest even; what is no number stays none.
        const uint16_t value = x[i] != x[i] ? (uint16_t)(bits >> 16 | 64) : (uint16_t)((bits + (0x7FFF + (bits >> 16 & 1))) >> 16);
        memcpy((char *)out + 2 * i, &value, 2);
    }
}

const ckv_format ckv_format_bf16 = {CKV_BF16, "BF16", 1, 2, false, dequantise, packed_bytes, pack, synthesise, quantise};
