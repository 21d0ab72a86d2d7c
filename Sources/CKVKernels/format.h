// What the weight formats' files share, and the packed layout of a group.
//
// Float formats: for each column, the 16 rows' elements. Quantised ones, for each block of 32 columns: the 16 rows' d
// (and m) as float16, then vectors of 16 rows x 4 bytes. Q8_0 has 8 of these, vector j holding columns 4j ... 4j+3; the
// 4-bit formats have 4, vector j holding columns 4j ... 4j+3 in the low nibbles and 16+4j ... 16+4j+3 in the high ones,
// as the file's bytes pair them. A packed matrix has its file's bytes, but for each group's rounding to 64.
#ifndef CKV_FORMAT_H
#define CKV_FORMAT_H

#include <assert.h>

#include "ckv_kernels.h"
#include "half.h"

#pragma STDC FP_CONTRACT OFF

extern const ckv_format ckv_format_f32, ckv_format_f16, ckv_format_bf16;
extern const ckv_format ckv_format_q4_0, ckv_format_q4_1, ckv_format_q8_0;

// Bytes of a packed group: `bytes` of each row, to whole cache lines.
static inline size_t ckv_group_bytes(size_t bytes) { return (bytes * CKV_GROUP + 63) / 64 * 64; }

// Interleaves elements of `size` bytes.
static inline void ckv_pack_elements(
    const void *rows, size_t row_bytes, size_t count, size_t columns, void *out, size_t size
) {
    memset(out, 0, ckv_group_bytes(columns * size));
    for (size_t row = 0; row < count; row++) {
        const char *in = (const char *)rows + row * row_bytes;
        for (size_t k = 0; k < columns; k++) memcpy((char *)out + (k * CKV_GROUP + row) * size, in + k * size, size);
    }
}

// Interleaves blocks of `head` bytes of float16 and `body` bytes of integers.
static inline void ckv_pack_blocks(
    const void *rows, size_t row_bytes, size_t count, size_t columns, void *out, size_t head, size_t body
) {
    const size_t blocks = columns / CKV_BLOCK;
    memset(out, 0, ckv_group_bytes(blocks * (head + body)));
    for (size_t row = 0; row < count; row++) {
        const char *in = (const char *)rows + row * row_bytes;
        for (size_t b = 0; b < blocks; b++, in += head + body) {
            char *block = (char *)out + b * (head + body) * CKV_GROUP, *quants = block + head * CKV_GROUP;
            for (size_t i = 0; i < head; i += 2) memcpy(block + i * CKV_GROUP + row * 2, in + i, 2);
            for (size_t i = 0; i < body; i += 4) memcpy(quants + i * CKV_GROUP + row * 4, in + head + i, 4);
        }
    }
}

#endif
