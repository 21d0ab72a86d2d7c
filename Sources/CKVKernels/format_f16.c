// F16: IEEE binary16.
#include "format.h"

static void dequantise(const void *in, float *out, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = ckv_half_float(ckv_load16((const char *)in + 2 * i));
}

static size_t packed_bytes(size_t columns) { return ckv_group_bytes(columns * 2); }

static void pack(const void *rows, size_t row_bytes, size_t count, size_t columns, void *out) {
    ckv_pack_elements(rows, row_bytes, count, columns, out, 2);
}

static void synthesise(void *blocks, size_t n, float deviation) {
    char *out = blocks;
    for (size_t i = 0; i < n; i++, out += 2) ckv_store_half(out, ckv_spread(ckv_load16(out), deviation));
}

static void quantise(const float *x, void *out, size_t n) {
    for (size_t i = 0; i < n; i++) ckv_store_half((char *)out + 2 * i, x[i]);
}

const ckv_format ckv_format_f16 = {CKV_F16, "F16", 1, 2, false, dequantise, packed_bytes, pack, synthesise, quantise};
