// The packed layout of the quantised formats' groups: what packing writes and every table reads.
//
// A group is a sequence of spans of 1 (plain formats) or 8 (K formats) blocks of 32 columns. A span begins with its head, for
// which every piece comes for all 16 rows before the next: d, then dmin or m where there is one, as float16; then, K formats,
// for each block its scales and minima as bytes. After the heads come the blocks' integers, all unsigned (the format's zero is
// taken off the products, as zero times the activations' sum), in vectors of 16 rows x 4 bytes. The weight vector n of a block
// holds the columns 4n ... 4n+3. Where a format has a table of values, the integers are their numbers.
//   2 bits:  2 vectors, vector h whose bits 2j and 2j+1 are those of weight vector 4h + j.
//   3 bits:  these, and one vector whose bit n is the third bit of weight vector n.
//   8 bits:  8 vectors, the weight vectors themselves.
//   4 bits:  4 vectors, vector n with the weight vector n in its low nibbles and n + 4 in its high ones, as the plain formats'
//            files pair them.
//   5 bits:  these, and one vector whose bit n is the fifth bit of weight vector n.
//   6 bits:  these, and two vectors, vector h whose bits 2j and 2j+1 are the high bits of weight vector 4h + j.
// So a bit field comes to its place above a nibble by one shift and one mask. A packed matrix has about its file's bytes.
#ifndef CKV_PACKED_H
#define CKV_PACKED_H

#include "ckv_kernels.h"

enum ckv_kind {
    kind_q4_0, kind_q4_1, kind_q5_0, kind_q5_1, kind_q8_0, kind_q4_k, kind_q5_k, kind_q6_k,
    kind_q2_k, kind_q3_k, kind_iq4_nl, kind_iq4_xs, kind_mxfp4,
};

// What the weights of a block are multiplied by.
enum ckv_scaling {
    scaling_half,       // d
    scaling_exponent,   // 2^(e - 128), a byte
    scaling_block,      // d times the block's byte; minima likewise
    scaling_signed,     // d times the block's signed byte
    scaling_halves,     // d times a signed byte for each half of the block, which the exact sums of both are multiplied by
    scaling_nibbles,    // d times a nibble for each half, which the integers are multiplied by, each; minima in the bytes' high nibbles
};

typedef struct ckv_layout {
    int bits;                 // of an integer as it is packed
    int top;                  // the greatest integer that is multiplied (from the table, times a nibble)
    int zero;                 // the integer that stands for weight 0; 0 where there are minima
    int blocks;               // of a span
    int halves;               // float16 values of a span's head, for each row: d, and dmin or m
    int bytes;                // bytes of a span's head after these, for each row
    int each;                 // of these, each block's
    bool minima;              // weight = scale * integer + minimum (K formats: - minimum)
    enum ckv_scaling scaling;
    const uint8_t *values;    // what the integers stand for, 16 of them, more by the zero; NULL: themselves
} ckv_layout;

// IQ4_NL's and IQ4_XS's values plus 128, and MXFP4's (E2M1's, doubled) plus 12.
static const uint8_t ckv_iq4_values[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};
static const uint8_t ckv_mxfp4_values[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

static const ckv_layout ckv_layouts[] = {
    [kind_q4_0] = {4, 15, 8, 1, 1, 0, 0, false, scaling_half, NULL},
    [kind_q4_1] = {4, 15, 0, 1, 2, 0, 0, true, scaling_half, NULL},
    [kind_q5_0] = {5, 31, 16, 1, 1, 0, 0, false, scaling_half, NULL},
    [kind_q5_1] = {5, 31, 0, 1, 2, 0, 0, true, scaling_half, NULL},
    [kind_q8_0] = {8, 255, 128, 1, 1, 0, 0, false, scaling_half, NULL},
    // For each block its scale, then its minimum.
    [kind_q4_k] = {4, 15, 0, 8, 2, 16, 2, true, scaling_block, NULL},
    [kind_q5_k] = {5, 31, 0, 8, 2, 16, 2, true, scaling_block, NULL},
    // For each block the signed scales of its two halves; and two unused bytes, which keep the vectors on cache lines.
    [kind_q6_k] = {6, 63, 32, 8, 1, 18, 2, false, scaling_halves, NULL},
    [kind_q3_k] = {3, 7, 4, 8, 1, 18, 2, false, scaling_halves, NULL},
    // For each block two bytes, of either half: the scale in the low nibble, the minimum in the high one.
    [kind_q2_k] = {2, 45, 0, 8, 2, 16, 2, true, scaling_nibbles, NULL},
    [kind_iq4_nl] = {4, 241, 128, 1, 1, 0, 0, false, scaling_half, ckv_iq4_values},
    // For each block its signed scale; and two unused bytes.
    [kind_iq4_xs] = {4, 241, 128, 8, 1, 10, 1, false, scaling_signed, ckv_iq4_values},
    [kind_mxfp4] = {4, 24, 12, 1, 0, 1, 1, false, scaling_exponent, ckv_mxfp4_values},
};

// Bytes of a span's head, of a block's integers, and of a span, for all rows of a group.
static inline size_t ckv_head_bytes(const ckv_layout *l) { return (size_t)(2 * l->halves + l->bytes) * CKV_GROUP; }
static inline size_t ckv_quant_bytes(const ckv_layout *l) { return (size_t)(4 * l->bits) * CKV_GROUP; }
static inline size_t ckv_span_bytes(const ckv_layout *l) {
    return ckv_head_bytes(l) + (size_t)l->blocks * ckv_quant_bytes(l);
}
// Bytes of a group, to whole cache lines.
static inline size_t ckv_spans_bytes(const ckv_layout *l, size_t columns) {
    return (columns / CKV_BLOCK / (size_t)l->blocks * ckv_span_bytes(l) + 63) / 64 * 64;
}
// Where block k's bytes of a head are.
static inline size_t ckv_head_offset(const ckv_layout *l, size_t k) {
    return ((size_t)(2 * l->halves) + k * (size_t)l->each) * CKV_GROUP;
}

#endif
