// F32: floats, as they are.
#include "format.h"

static void dequantise(const void *in, float *out, size_t n) {
    memcpy(out, in, n * sizeof *out);
}

static size_t packed_bytes(size_t columns) { return ckv_group_bytes(columns * 4); }

static void pack(const void *rows, size_t row_bytes, size_t count, size_t columns, void *out) {
    ckv_pack_elements(rows, row_bytes, count, columns, out, 4);
}

static void synthesise(void *blocks, size_t n, float deviation) {
    char *out = blocks;
    for (size_t i = 0; i < n; i++, out += 4) {
        const float value = ckv_spread((uint16_t)(ckv_load32((const uint8_t *)out) >> 16), deviation);
        memcpy(out, &value, 4);
    }
}

static void quantise(const float *x, void *out, size_t n) {
    memcpy(out, x, n * sizeof *x);
}

const ckv_format ckv_format_f32 = {CKV_F32, "F32", 1, 4, false, dequantise, packed_bytes, pack, synthesise, quantise};
