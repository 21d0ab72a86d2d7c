// BF16: bfloat16, the upper half of a float.
#include "format.h"

static void dequantise(const void *in, float *out, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = ckv_bf16_float(ckv_load16((const char *)in + 2 * i));
}

static size_t packed_bytes(size_t columns) { return ckv_group_bytes(columns * 2); }

static void pack(const void *rows, size_t row_bytes, size_t count, size_t columns, void *out) {
    ckv_pack_elements(rows, row_bytes, count, columns, out, 2);
}

const ckv_format ckv_format_bf16 = {CKV_BF16, "BF16", 1, 2, false, dequantise, packed_bytes, pack};
