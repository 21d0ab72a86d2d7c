// Products of quantised weights and int8 activations, for every x86 table. A panel is two streams of CKV_LANES rows: the halves
// of one group, or two groups where a vector holds a whole one.
//
// Panel after panel, all tokens in register tiles of up to CKV_INT8_TILE: a panel's weights come from memory once and stay in the
// second-level cache for the further tiles. What an instruction set multiplies with is in the file CKV_INT8_KERNELS, which gives
// int8_dot: a block by a tile's tokens, exact.
#include "packed.h"

#define INT8_GROUPS (2 * CKV_LANES / CKV_GROUP)

// A panel's two streams: where its groups begin and which of their rows come first; `count` is 1 where the worker has no second group.
typedef struct {
    const uint8_t *group[2];
    size_t lane[2];
    size_t row;
} int8_streams;

typedef uint16_t vec_pairs __attribute__((vector_size(CKV_LANES * 4)));
typedef uint8_t vec_u8 __attribute__((vector_size(CKV_LANES)));
typedef int8_t vec_i8 __attribute__((vector_size(CKV_LANES)));

CKV_INLINE vec_pairs int8_load(const uint8_t *p) {
    vec_pairs v;
    memcpy(&v, p, sizeof v);
    return v;
}

// Four bytes, or a block's two sums, for every lane.
CKV_INLINE vec_i32 int8_all(const void *p) {
    int32_t four;
    memcpy(&four, p, sizeof four);
    return four - (vec_i32){0};
}

CKV_INLINE vec int8_unsigned(const uint8_t *p) {
    vec_u8 bytes;
    memcpy(&bytes, p, sizeof bytes);
    return __builtin_convertvector(bytes, vec);
}
CKV_INLINE vec_i32 int8_signed(const uint8_t *p) {
    vec_i8 bytes;
    memcpy(&bytes, p, sizeof bytes);
    return __builtin_convertvector(bytes, vec_i32);
}

CKV_INLINE vec_pairs int8_shifted(vec_pairs v, int left) { return left >= 0 ? v << left : v >> -left; }

// Weight vector n of a block (packed.h), as unsigned bytes.
CKV_INLINE vec_i32 int8_weights(const int bits, const uint8_t *quants, const int n) {
    if (bits == 8) return (vec_i32)int8_load(quants + 64 * n);
    vec_pairs w = int8_shifted(int8_load(quants + 64 * (n % 4)), n < 4 ? 0 : -4) & 0x0F0F;
    if (bits == 5) w |= int8_shifted(int8_load(quants + 4 * 64), 4 - n) & 0x1010;
    if (bits == 6) w |= int8_shifted(int8_load(quants + (4 + n / 4) * 64), 4 - n % 4 * 2) & 0x3030;
    return (vec_i32)w;
}

// A block's scales: d, or d * s.
CKV_INLINE vec int8_scales(const int kind, const uint8_t *span, size_t k, size_t lane) {
    const vec d = vec_f16(span + 2 * lane);
    if (kind != kind_q4_k && kind != kind_q5_k) return d;
    return d * int8_unsigned(span + ckv_head_offset(&ckv_layouts[kind], k) + lane);
}

// A block's minima: m, or -(dmin * n).
CKV_INLINE vec int8_minima(const int kind, const uint8_t *span, size_t k, size_t lane) {
    const vec m = vec_f16(span + 2 * CKV_GROUP + 2 * lane);
    if (kind != kind_q4_k && kind != kind_q5_k) return m;
    return -(m * int8_unsigned(span + ckv_head_offset(&ckv_layouts[kind], k) + CKV_GROUP + lane));
}

#include CKV_INT8_KERNELS

// The minima of block k of a span by a tile's offsets.
CKV_INLINE void int8_offsets(
    const int tokens, const int streams, const int kind, const int8_streams *s, size_t start, size_t k, const float *offsets,
    size_t blocks, vec off[][2]
) {
    for (int i = 0; i < streams; i++) {
        const vec m = int8_minima(kind, s->group[i] + start, k, s->lane[i]);
        for (int t = 0; t < tokens; t++) off[t][i] = vec_fma(m, vec_all(offsets[t * blocks]), off[t][i]);
    }
}

// A panel by `tokens` tokens from `token` on, accumulators in registers.
CKV_INLINE void int8_tile(
    const int tokens, const int streams, const int kind, const ckv_product *p, const int8_streams *s, size_t token
) {
    const ckv_layout *const layout = &ckv_layouts[kind];
    const size_t blocks = p->columns / CKV_BLOCK, span_blocks = layout->blocks, span_bytes = ckv_span_bytes(layout);
    const int8_t *values = p->values + token * p->columns;
    const float *scales = p->scales + token * blocks, *offsets = p->offsets + token * blocks;
    const ckv_sums *sums = p->sums + token * blocks;
    vec acc[CKV_INT8_TILE][2], off[CKV_INT8_TILE][2];
    for (int t = 0; t < tokens; t++) acc[t][0] = acc[t][1] = off[t][0] = off[t][1] = vec_all(0);
    // Many tokens leave no registers for a second set of accumulators; few must not pass over the weights twice.
    const bool together = tokens <= CKV_INT8_TOGETHER;
    for (size_t b = 0, start = 0; layout->minima && !together && b < blocks; b += span_blocks, start += span_bytes) {
        for (size_t k = 0; k < span_blocks; k++) {
            int8_offsets(tokens, streams, kind, s, start, k, offsets + b + k, blocks, off);
        }
    }
    for (size_t b = 0, start = 0; b < blocks; b += span_blocks, start += span_bytes) {
        for (size_t k = 0; k < span_blocks; k++) {
            const size_t now = b + k;
            vec dot[CKV_INT8_TILE][2];
            int8_dot(tokens, streams, kind, s, start, k, values + now * CKV_BLOCK, p->columns, sums + now, blocks, dot);
            for (int i = 0; i < streams; i++) {
                const vec d = int8_scales(kind, s->group[i] + start, k, s->lane[i]);
                for (int t = 0; t < tokens; t++) {
                    acc[t][i] = vec_fma(dot[t][i], d * vec_all(scales[t * blocks + now]), acc[t][i]);
                }
            }
            if (layout->minima && together) {
                int8_offsets(tokens, streams, kind, s, start, k, offsets + now, blocks, off);
            }
        }
    }
    for (int t = 0; t < tokens; t++) {
        for (int i = 0; i < streams; i++) {
            const vec value = layout->minima ? acc[t][i] + off[t][i] : acc[t][i];
            product_store(p, token + t, s->row + (size_t)i * CKV_LANES, value);
        }
    }
}

#define INT8_CASE(n) \
    case n: int8_tile(n <= CKV_INT8_TILE ? n : 1, streams, kind, p, &s, token); break;

// A panel by all tokens, in tiles of like size: 7 tokens are 4 and 3, not 6 and 1.
CKV_INLINE void int8_panel(const int streams, const int kind, const ckv_product *p, size_t group, size_t group_bytes) {
    const uint8_t *weights = (const uint8_t *)p->weights + group * group_bytes;
    int8_streams s = {{weights, weights}, {0, CKV_LANES}, group * CKV_GROUP};
    if (INT8_GROUPS == 2) s.group[1] += group_bytes, s.lane[1] = 0;
    size_t token = 0;
    for (size_t tiles = (p->tokens + CKV_INT8_TILE - 1) / CKV_INT8_TILE; tiles > 0; tiles--) {
        const size_t count = (p->tokens - token + tiles - 1) / tiles;
        switch (count) { INT8_CASE(1) INT8_CASE(2) INT8_CASE(3) INT8_CASE(4) INT8_CASE(5) INT8_CASE(6) }
        token += count;
    }
}

CKV_INLINE void int8_product(const int kind, const ckv_product *p) {
    const size_t bytes = ckv_spans_bytes(&ckv_layouts[kind], p->columns);
    size_t group = p->group_begin;
    for (; group + INT8_GROUPS <= p->group_end; group += INT8_GROUPS) int8_panel(2, kind, p, group, bytes);
    if (group < p->group_end) int8_panel(1, kind, p, group, bytes);
}

static void product_q4_0(const ckv_product *p) { int8_product(kind_q4_0, p); }
static void product_q4_1(const ckv_product *p) { int8_product(kind_q4_1, p); }
static void product_q5_0(const ckv_product *p) { int8_product(kind_q5_0, p); }
static void product_q5_1(const ckv_product *p) { int8_product(kind_q5_1, p); }
static void product_q8_0(const ckv_product *p) { int8_product(kind_q8_0, p); }
static void product_q4_k(const ckv_product *p) { int8_product(kind_q4_k, p); }
static void product_q5_k(const ckv_product *p) { int8_product(kind_q5_k, p); }
static void product_q6_k(const ckv_product *p) { int8_product(kind_q6_k, p); }
