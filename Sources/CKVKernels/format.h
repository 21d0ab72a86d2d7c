// What the weight formats' files share. Packed, float formats have for each column the 16 rows' elements; quantised ones have the
// layout of packed.h.
#ifndef CKV_FORMAT_H
#define CKV_FORMAT_H

#include <assert.h>

#include "ckv_kernels.h"
#include "half.h"
#include "packed.h"

#pragma STDC FP_CONTRACT OFF

extern const ckv_format ckv_format_f32, ckv_format_f16, ckv_format_bf16;
extern const ckv_format ckv_format_q4_0, ckv_format_q4_1, ckv_format_q5_0, ckv_format_q5_1, ckv_format_q8_0;
extern const ckv_format ckv_format_q2_k, ckv_format_q3_k, ckv_format_q4_k, ckv_format_q5_k, ckv_format_q6_k;
extern const ckv_format ckv_format_iq4_nl, ckv_format_iq4_xs, ckv_format_mxfp4;

// Bytes of a packed group: `bytes` of each row, to whole cache lines.
static inline size_t ckv_group_bytes(size_t bytes) { return (bytes * CKV_GROUP + 63) / 64 * 64; }

// Interleaves elements of `size` bytes: some columns of all rows after another, so that what is written stays in the first-level cache.
static inline __attribute__((always_inline)) void ckv_pack_elements(
    const void *rows, size_t row_bytes, size_t count, size_t columns, void *out, size_t size
) {
    const size_t step = 32;
    memset(out, 0, ckv_group_bytes(columns * size));
    for (size_t first = 0; first < columns; first += step) {
        const size_t end = columns - first < step ? columns : first + step;
        for (size_t row = 0; row < count; row++) {
            const char *in = (const char *)rows + row * row_bytes;
            for (size_t k = first; k < end; k++) memcpy((char *)out + (k * CKV_GROUP + row) * size, in + k * size, size);
        }
    }
}

// What a format's file knows of one of its blocks: `head` in the order of packed.h's pieces, and every weight's integer, a byte
// each.
typedef void (*ckv_unpack_fn)(const void *block, uint8_t *head, uint8_t *q);

static inline uint32_t ckv_load32(const uint8_t *bytes) {
    uint32_t value;
    memcpy(&value, bytes, 4);
    return value;
}

// One row's integers of a block into their place in the group: four columns are one word, whose bytes never mix.
static inline void ckv_pack_quants(const int bits, const uint8_t *q, uint8_t *out) {
    uint32_t vectors[8] = {0};
    for (int n = 0; n < 8; n++) {
        const uint32_t word = ckv_load32(q + 4 * n), high = word >> 4;
        if (bits == 8) {
            vectors[n] = word;
            continue;
        }
        if (bits < 4) {
            vectors[n / 4] |= (word & 0x03030303) << (2 * (n % 4));
            if (bits == 3) vectors[2] |= (word >> 2 & 0x01010101) << n;
            continue;
        }
        vectors[n % 4] |= (word & 0x0F0F0F0F) << (n < 4 ? 0 : 4);
        if (bits == 5) vectors[4] |= (high & 0x01010101) << n;
        if (bits == 6) vectors[4 + n / 4] |= (high & 0x03030303) << (2 * (n % 4));
    }
    for (int v = 0; v < bits; v++) memcpy(out + (size_t)v * 4 * CKV_GROUP, vectors + v, 4);
}

// Packs a group's rows, of blocks of `size` bytes, each a span.
static inline __attribute__((always_inline)) void ckv_pack_spans(
    const ckv_layout *layout, ckv_unpack_fn unpack, size_t size, const void *rows, size_t row_bytes, size_t count,
    size_t columns, void *out
) {
    const size_t spans = columns / CKV_BLOCK / (size_t)layout->blocks, halves = (size_t)layout->halves;
    memset(out, 0, ckv_spans_bytes(layout, columns));
    for (size_t s = 0; s < spans; s++) {
        for (size_t row = 0; row < count; row++) {
            const uint8_t *in = (const uint8_t *)rows + row * row_bytes + s * size;
            uint8_t *span = (uint8_t *)out + s * ckv_span_bytes(layout);
            uint8_t head[32] = {0}, q[8 * CKV_BLOCK], *bytes = span + 2 * halves * CKV_GROUP;
            unpack(in, head, q);
            for (size_t i = 0; i < halves; i++) memcpy(span + 2 * (i * CKV_GROUP + row), head + 2 * i, 2);
            for (size_t i = 0; i < (size_t)layout->bytes; i++) bytes[i * CKV_GROUP + row] = head[2 * halves + i];
            for (size_t k = 0; k < (size_t)layout->blocks; k++) {
                uint8_t *block = span + ckv_head_bytes(layout) + k * ckv_quant_bytes(layout);
                ckv_pack_quants(layout->bits, q + k * CKV_BLOCK, block + 4 * row);
            }
        }
    }
}

// Round to nearest even, as the K formats' quantisers do.
static inline int ckv_nearest(float x) { return (int)__builtin_rintf(x); }
static inline int ckv_clamp(int x, int low, int high) { return x < low ? low : x > high ? high : x; }

// A value as a float16 holds it.
static inline float ckv_halved(float x) { return ckv_half_float(ckv_float_half(x)); }

static inline void ckv_store_half(char *out, float value) {
    const uint16_t half = ckv_float_half(value);
    memcpy(out, &half, 2);
}

// A block's float16 scale, with the sign that its random bits have: integers whose mean is not zero then give weights whose mean is.
static inline void ckv_scale_signed(char *scale, float magnitude) {
    ckv_store_half(scale, ckv_load16(scale) & 0x8000 ? -magnitude : magnitude);
}

// 16 random bits to a value, uniform, mean 0, of this standard deviation (1.7320508 is the square root of 3).
static inline float ckv_spread(uint16_t bits, float deviation) {
    return ((float)bits - 32767.5f) * (1.7320508f * deviation / 32768);
}

// The rest of a quantised format's file, from its `block`, `unpack`, `dequantise` and `synthesise`; and its `quantise`, or NULL.
#define CKV_QUANTISED(symbol, kind, type, name, quantise)                                                               \
    static size_t packed_bytes(size_t columns) { return ckv_spans_bytes(&ckv_layouts[kind], columns); }                 \
    static void pack(const void *rows, size_t row_bytes, size_t count, size_t columns, void *out) {                     \
        ckv_pack_spans(&ckv_layouts[kind], unpack, sizeof(block), rows, row_bytes, count, columns, out);                \
    }                                                                                                                   \
    const ckv_format symbol = {                                                                                         \
        type, name, (uint32_t)ckv_layouts[kind].blocks * CKV_BLOCK, sizeof(block), true, dequantise, packed_bytes, pack,       \
        synthesise, quantise,                                                                                           \
    }

#endif
