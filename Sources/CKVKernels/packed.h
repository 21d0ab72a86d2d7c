// The packed layout of the quantised formats' groups: what packing writes and every table reads.
//
// A group is a sequence of spans of 1 (plain formats) or 8 (K formats) blocks of 32 columns. A span begins with its head, for
// which every piece comes for all 16 rows before the next: d, then dmin or m where there is one, as float16; then, K formats,
// for each block its scales and minima as bytes. After the heads come the blocks' integers, all unsigned (the format's zero is
// taken off the products, as zero times the activations' sum), in vectors of 16 rows x 4 bytes. The weight vector n of a block
// holds the columns 4n ... 4n+3.
//   8 bits:  8 vectors, the weight vectors themselves.
//   4 bits:  4 vectors, vector n with the weight vector n in its low nibbles and n + 4 in its high ones, as the plain formats'
//            files pair them.
//   5 bits:  these, and one vector whose bit n is the fifth bit of weight vector n.
//   6 bits:  these, and two vectors, vector h whose bits 2j and 2j+1 are the high bits of weight vector 4h + j.
// So a bit field comes to its place above a nibble by one shift and one mask. A packed matrix has about its file's bytes.
#ifndef CKV_PACKED_H
#define CKV_PACKED_H

#include "ckv_kernels.h"

enum ckv_kind { kind_q4_0, kind_q4_1, kind_q5_0, kind_q5_1, kind_q8_0, kind_q4_k, kind_q5_k, kind_q6_k };

typedef struct ckv_layout {
    int bits;      // of an integer
    int zero;      // the integer that stands for weight 0; 0 where there are minima
    int blocks;    // of a span
    int halves;    // float16 values of a span's head, for each row: d, and dmin or m
    int bytes;     // bytes of a span's head after these, for each row
    bool minima;   // weight = scale * integer + minimum (K formats: - minimum)
} ckv_layout;

static const ckv_layout ckv_layouts[] = {
    [kind_q4_0] = {4, 8, 1, 1, 0, false},
    [kind_q4_1] = {4, 0, 1, 2, 0, true},
    [kind_q5_0] = {5, 16, 1, 1, 0, false},
    [kind_q5_1] = {5, 0, 1, 2, 0, true},
    [kind_q8_0] = {8, 128, 1, 1, 0, false},
    // For each block its scale, then its minimum.
    [kind_q4_k] = {4, 0, 8, 2, 16, true},
    [kind_q5_k] = {5, 0, 8, 2, 16, true},
    // For each block the signed scales of its two halves; and two unused bytes, which keep the vectors on cache lines.
    [kind_q6_k] = {6, 32, 8, 1, 18, false},
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
    return (size_t)(2 * l->halves) * CKV_GROUP + k * 2 * CKV_GROUP;
}

#endif
