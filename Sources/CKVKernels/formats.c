// The weight formats: block structs, plain references, packing. One row of the list each.
#include <assert.h>

#include "ckv_kernels.h"
#include "half.h"

#pragma STDC FP_CONTRACT OFF

typedef struct { uint16_t d; uint8_t q[16]; } block_q4_0;
typedef struct { uint16_t d, m; uint8_t q[16]; } block_q4_1;
typedef struct { uint16_t d; int8_t q[32]; } block_q8_0;
static_assert(sizeof(block_q4_0) == 18, "Q4_0 block");
static_assert(sizeof(block_q4_1) == 20, "Q4_1 block");
static_assert(sizeof(block_q8_0) == 34, "Q8_0 block");

static size_t up64(size_t bytes) { return (bytes + 63) / 64 * 64; }

// ------------------------------------------------------------------------------------------------ to floats

static void dequantise_f32(const void *in, float *out, size_t n) { memcpy(out, in, n * 4); }

static void dequantise_f16(const void *in, float *out, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = ckv_half_float(ckv_load16((const char *)in + 2 * i));
}

static void dequantise_bf16(const void *in, float *out, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = ckv_bf16_float(ckv_load16((const char *)in + 2 * i));
}

static void dequantise_q4_0(const void *in, float *out, size_t n) {
    const block_q4_0 *blocks = in;
    for (size_t b = 0; b < n / 32; b++) {
        float d = ckv_half_float(blocks[b].d);
        for (int i = 0; i < 16; i++) {
            out[32 * b + i] = (float)((blocks[b].q[i] & 15) - 8) * d;
            out[32 * b + i + 16] = (float)((blocks[b].q[i] >> 4) - 8) * d;
        }
    }
}

static void dequantise_q4_1(const void *in, float *out, size_t n) {
    const block_q4_1 *blocks = in;
    for (size_t b = 0; b < n / 32; b++) {
        float d = ckv_half_float(blocks[b].d), m = ckv_half_float(blocks[b].m);
        for (int i = 0; i < 16; i++) {
            out[32 * b + i] = (float)(blocks[b].q[i] & 15) * d + m;
            out[32 * b + i + 16] = (float)(blocks[b].q[i] >> 4) * d + m;
        }
    }
}

static void dequantise_q8_0(const void *in, float *out, size_t n) {
    const block_q8_0 *blocks = in;
    for (size_t b = 0; b < n / 32; b++) {
        float d = ckv_half_float(blocks[b].d);
        for (int i = 0; i < 32; i++) out[32 * b + i] = (float)blocks[b].q[i] * d;
    }
}

// ------------------------------------------------------------------------------------------------ packing
//
// Float formats: for each column, the 16 rows' elements. Quantised ones, for each block of 32 columns: the 16 rows' d (and m) as
// float16, then vectors of 16 rows × 4 bytes. Q8_0 has 8 of these, vector j holding columns 4j ... 4j+3; the 4-bit formats 4, vector j
// holding columns 4j ... 4j+3 in the low nibbles and 16 + 4j ... in the high ones (as the file's bytes do).

static size_t packed_f32(size_t columns) { return columns * CKV_GROUP * 4; }
static size_t packed_16(size_t columns) { return up64(columns * CKV_GROUP * 2); }
static size_t packed_q4_0(size_t columns) { return up64(columns / 32 * (2 * CKV_GROUP + 16 * CKV_GROUP)); }
static size_t packed_q4_1(size_t columns) { return up64(columns / 32 * (4 * CKV_GROUP + 16 * CKV_GROUP)); }
static size_t packed_q8_0(size_t columns) { return up64(columns / 32 * (2 * CKV_GROUP + 32 * CKV_GROUP)); }

static void pack_elements(const char *rows, size_t row_bytes, size_t count, size_t columns, char *out, size_t size) {
    for (size_t k = 0; k < columns; k++) {
        char *vector = out + k * CKV_GROUP * size;
        for (size_t r = 0; r < count; r++) memcpy(vector + r * size, rows + r * row_bytes + k * size, size);
        memset(vector + count * size, 0, (CKV_GROUP - count) * size);
    }
}

static void pack_f32(const void *rows, size_t row_bytes, size_t count, size_t columns, void *out) {
    pack_elements(rows, row_bytes, count, columns, out, 4);
}

static void pack_16(const void *rows, size_t row_bytes, size_t count, size_t columns, void *out) {
    pack_elements(rows, row_bytes, count, columns, out, 2);
}

// A block's bytes are `head` float16 values, then `vectors` * 4 bytes.
static void pack_blocks(
    const char *rows, size_t row_bytes, size_t count, size_t columns, char *out, size_t head, size_t vectors
) {
    size_t block_bytes = 2 * head + 4 * vectors;
    for (size_t b = 0; b < columns / 32; b++) {
        char *block = out + b * block_bytes * CKV_GROUP;
        memset(block, 0, block_bytes * CKV_GROUP);
        for (size_t r = 0; r < count; r++) {
            const char *source = rows + r * row_bytes + b * block_bytes;
            for (size_t h = 0; h < head; h++) memcpy(block + (h * CKV_GROUP + r) * 2, source + 2 * h, 2);
            char *quants = block + 2 * head * CKV_GROUP;
            for (size_t j = 0; j < vectors; j++) {
                memcpy(quants + (j * CKV_GROUP + r) * 4, source + 2 * head + 4 * j, 4);
            }
        }
    }
}

static void pack_q4_0(const void *rows, size_t row_bytes, size_t count, size_t columns, void *out) {
    pack_blocks(rows, row_bytes, count, columns, out, 1, 4);
}

static void pack_q4_1(const void *rows, size_t row_bytes, size_t count, size_t columns, void *out) {
    pack_blocks(rows, row_bytes, count, columns, out, 2, 4);
}

static void pack_q8_0(const void *rows, size_t row_bytes, size_t count, size_t columns, void *out) {
    pack_blocks(rows, row_bytes, count, columns, out, 1, 8);
}

// ------------------------------------------------------------------------------------------------ the list
// The order is that of the tables' gemm entries (tables.h).

static const ckv_format formats[] = {
    {CKV_F32, "F32", 1, 4, false, dequantise_f32, packed_f32, pack_f32},
    {CKV_F16, "F16", 1, 2, false, dequantise_f16, packed_16, pack_16},
    {CKV_BF16, "BF16", 1, 2, false, dequantise_bf16, packed_16, pack_16},
    {CKV_Q4_0, "Q4_0", 32, 18, true, dequantise_q4_0, packed_q4_0, pack_q4_0},
    {CKV_Q4_1, "Q4_1", 32, 20, true, dequantise_q4_1, packed_q4_1, pack_q4_1},
    {CKV_Q8_0, "Q8_0", 32, 34, true, dequantise_q8_0, packed_q8_0, pack_q8_0},
};
enum { format_count = sizeof formats / sizeof *formats };

static const ckv_format *const list[] = {
    &formats[0], &formats[1], &formats[2], &formats[3], &formats[4], &formats[5],
};
static_assert(sizeof list / sizeof *list == format_count, "every format is listed");

const ckv_format *const *ckv_formats(size_t *count) {
    *count = format_count;
    return list;
}

const ckv_format *ckv_format_of(uint32_t type) {
    for (size_t i = 0; i < format_count; i++) {
        if (formats[i].type == type) return &formats[i];
    }
    return NULL;
}
