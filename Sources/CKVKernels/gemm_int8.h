// Products of quantised weights and int8 activations, for every vector table. A panel is two streams of CKV_LANES rows: the halves
// of one group, or two groups where a vector holds a whole one.
//
// Panel after panel, as many tokens as the second-level cache holds, in register tiles of up to CKV_INT8_TILE: a panel's weights
// come from memory once for them and stay in that cache for the further tiles. A tile runs over a panel's whole length and unpacks
// weights on the way. Where that costs much (CKV_INT8_CHUNKED, by the layout) and tokens are many, they run chunk after
// chunk of a few blocks, unpacked once for a slab of tokens, whose accumulators wait on the stack.
//
// What an instruction set multiplies with is in the file CKV_INT8_KERNELS, which gives int8_dot: a block by a tile's tokens, exact;
// int8_pair, the products of two 16-bit numbers in every lane, added; and the including file vec_lookup, a table's bytes.
// With tiles of up to CKV_INT8_TOGETHER tokens, registers have room for the minima's accumulators beside the others.
#include "packed.h"

#define INT8_GROUPS (2 * CKV_LANES / CKV_GROUP)
// Blocks of a chunk, a multiple of a span's; tokens of a slab; from how many tokens on chunks pay.
#define INT8_CHUNK 8
#define INT8_SLAB 64
#define INT8_MANY 16
// Bytes of activations that stay in a second-level cache beside two panels' weights; those of 8 bits leave no room there.
#define INT8_RESIDENT (384 << 10)
#define INT8_SLABS(kind) (ckv_layouts[kind].bits < 8)

typedef uint16_t vec_pairs __attribute__((vector_size(CKV_LANES * 4)));
typedef uint8_t vec_u8 __attribute__((vector_size(CKV_LANES)));
typedef int8_t vec_i8 __attribute__((vector_size(CKV_LANES)));

// Blocks of both streams, unpacked: weight vectors as bytes, scales, minima, and what int8_factors gives.
typedef struct {
    vec_i32 weights[INT8_CHUNK][8][2];
    vec scales[INT8_CHUNK][2], minima[INT8_CHUNK][2];
    vec_i32 factors[INT8_CHUNK][2][2];
} int8_chunk;

// A panel's two streams: where their groups begin, which of a group's rows come first, and the first row of all.
typedef struct {
    const uint8_t *group[2];
    size_t lane[2];
    size_t row;
    const int8_chunk *chunk;   // NULL, or the unpacked blocks from `first` on
    size_t first;
    size_t tile, tiles;        // the tile under way, and how many follow each other over the same weights
} int8_streams;

// The accumulators of a slab's tokens between chunks.
typedef struct {
    vec acc[INT8_SLAB][2], off[INT8_SLAB][2];
} int8_slab;

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

// CKV_LANES bytes, each in a lane.
CKV_INLINE vec_i32 int8_widened(const uint8_t *p) {
    vec_u8 bytes;
    memcpy(&bytes, p, sizeof bytes);
    return __builtin_convertvector(bytes, vec_i32);
}
CKV_INLINE vec_i32 int8_signed(vec_i32 bytes) { return bytes << 24 >> 24; }
CKV_INLINE vec int8_floats(vec_i32 integers) { return __builtin_convertvector(integers, vec); }

// A row's byte in both halves of its lane.
CKV_INLINE vec_pairs int8_twice(vec_i32 bytes) { return (vec_pairs)(bytes | bytes << 16); }

CKV_INLINE vec_pairs int8_shifted(vec_pairs v, int left) { return left >= 0 ? v << left : v >> -left; }

// Where block b's span is in a group; and its number in the span.
CKV_INLINE const uint8_t *int8_span(const int kind, const uint8_t *group, size_t b) {
    return group + b / ckv_layouts[kind].blocks * ckv_span_bytes(&ckv_layouts[kind]);
}
CKV_INLINE size_t int8_place(const int kind, size_t b) { return b % ckv_layouts[kind].blocks; }

// Block b's byte number `piece` of stream i's rows, widened.
CKV_INLINE vec_i32 int8_bytes(const int kind, const int8_streams *s, const int i, size_t b, const int piece) {
    const size_t offset = ckv_head_offset(&ckv_layouts[kind], int8_place(kind, b)) + (size_t)piece * CKV_GROUP;
    return int8_widened(int8_span(kind, s->group[i], b) + offset + s->lane[i]);
}

// Weight vector n of block b of stream i, as unsigned bytes (packed.h).
CKV_INLINE vec_i32 int8_weights(const int kind, const int8_streams *s, const int i, size_t b, const int n) {
    if (s->chunk != NULL) return s->chunk->weights[b - s->first][n][i];
    const ckv_layout *const layout = &ckv_layouts[kind];
    const uint8_t *quants = int8_span(kind, s->group[i], b) + ckv_head_bytes(layout)
        + int8_place(kind, b) * ckv_quant_bytes(layout) + 4 * s->lane[i];
    if (layout->bits == 8) return (vec_i32)int8_load(quants + 64 * n);
    if (layout->bits < 4) {
        vec_pairs w = int8_shifted(int8_load(quants + n / 4 * 64), -2 * (n % 4)) & 0x0303;
        if (layout->bits == 3) w |= int8_shifted(int8_load(quants + 2 * 64), 2 - n) & 0x0404;
        // Times the half's scale: no byte runs over.
        if (layout->scaling == scaling_nibbles) w *= int8_twice(int8_bytes(kind, s, i, b, n / 4) & 15);
        return (vec_i32)w;
    }
    vec_pairs w = int8_shifted(int8_load(quants + 64 * (n % 4)), n < 4 ? 0 : -4) & 0x0F0F;
    if (layout->values != NULL) return vec_lookup(layout->values, (vec_i32)w);
    if (layout->bits == 5) w |= int8_shifted(int8_load(quants + 4 * 64), 4 - n) & 0x1010;
    if (layout->bits == 6) w |= int8_shifted(int8_load(quants + (4 + n / 4) * 64), 4 - n % 4 * 2) & 0x3030;
    return (vec_i32)w;
}

// A block's scales: d, or d * s.
CKV_INLINE vec int8_scales(const int kind, const int8_streams *s, const int i, size_t b) {
    if (s->chunk != NULL) return s->chunk->scales[b - s->first][i];
    const enum ckv_scaling scaling = ckv_layouts[kind].scaling;
    if (scaling == scaling_exponent) {
        // ckv_power in every lane.
        const vec_i32 e = int8_bytes(kind, s, i, b, 0), small = e < 2;
        return (vec)((small & (e + 1) << 21) | (~small & (e - 1) << 23));
    }
    const vec d = vec_f16(int8_span(kind, s->group[i], b) + 2 * s->lane[i]);
    if (scaling == scaling_block) return d * int8_floats(int8_bytes(kind, s, i, b, 0));
    return scaling == scaling_signed ? d * int8_floats(int8_signed(int8_bytes(kind, s, i, b, 0))) : d;
}

// A block's minima: m, or -(dmin * n), or -dmin.
CKV_INLINE vec int8_minima(const int kind, const int8_streams *s, const int i, size_t b) {
    if (s->chunk != NULL) return s->chunk->minima[b - s->first][i];
    const uint8_t *span = int8_span(kind, s->group[i], b);
    const vec m = vec_f16(span + 2 * CKV_GROUP + 2 * s->lane[i]);
    if (ckv_layouts[kind].scaling == scaling_nibbles) return -m;
    return ckv_layouts[kind].scaling == scaling_block ? -(m * int8_floats(int8_bytes(kind, s, i, b, 1))) : m;
}

// What the exact sums over the halves of a block are multiplied by: their scales, as the kernels want them; or, nibbles, the
// minima of both as a pair of 16 bits.
CKV_INLINE vec_i32 int8_factor(vec_i32 scales);
CKV_INLINE vec_i32 int8_factors(const int kind, const int8_streams *s, const int i, size_t b, const int half) {
    if (s->chunk != NULL) return s->chunk->factors[b - s->first][half][i];
    if (ckv_layouts[kind].scaling == scaling_nibbles) {
        return int8_bytes(kind, s, i, b, 0) >> 4 | int8_bytes(kind, s, i, b, 1) >> 4 << 16;
    }
    return int8_factor(int8_signed(int8_bytes(kind, s, i, b, half)));
}
#define INT8_FACTORS(kind) (ckv_layouts[kind].scaling == scaling_halves ? 2 : ckv_layouts[kind].scaling == scaling_nibbles ? 1 : 0)

// The order of a block's weight vectors: those of the same bytes follow each other, but halves with scales of their own.
#define INT8_ORDER(kind, step) \
    (ckv_layouts[kind].bits == 4 || ckv_layouts[kind].bits == 5 ? (step) / 2 + (step) % 2 * 4 : (step))

#include CKV_INT8_KERNELS

// The minima of a block by a tile's offsets; or, of either half, by its sums.
CKV_INLINE void int8_offsets(
    const int tokens, const int streams, const int kind, const int8_streams *s, size_t b, const ckv_product *p, size_t token,
    vec off[][2]
) {
    const size_t blocks = p->columns / CKV_BLOCK, first = token * blocks + b;
    for (int i = 0; i < streams; i++) {
        const vec m = int8_minima(kind, s, i, b);
        if (ckv_layouts[kind].scaling != scaling_nibbles) {
            for (int t = 0; t < tokens; t++) off[t][i] = vec_fma(m, vec_all(p->offsets[first + t * blocks]), off[t][i]);
            continue;
        }
        const vec_i32 pair = int8_factors(kind, s, i, b, 0);
        for (int t = 0; t < tokens; t++) {
            const vec both = int8_floats(int8_pair(int8_all(p->sums + first + t * blocks), pair));
            off[t][i] = vec_fma(both, m * vec_all(p->scales[first + t * blocks]), off[t][i]);
        }
    }
}

// Weights are asked for so long before they are used: the machine's own prefetching ends at every page. Further away, what is asked for
// is lost again; nearer, it comes too late.
#define INT8_AHEAD 4096

// Asks for the weights INT8_AHEAD bytes behind block b's, behind this panel's end the next one's.
CKV_INLINE void int8_prefetch(const int streams, const int kind, const int8_streams *s, size_t b, size_t group_bytes) {
    const size_t bytes = ckv_span_bytes(&ckv_layouts[kind]) / (size_t)ckv_layouts[kind].blocks;
    size_t ahead = b * bytes + INT8_AHEAD;
    if (ahead >= group_bytes) ahead += (INT8_GROUPS - 1) * group_bytes;
    for (int i = 0; i < streams && i < INT8_GROUPS; i++) {
        for (size_t line = 0; line < bytes; line += 64) __builtin_prefetch(s->group[i] + ahead + line);
    }
}

// Asks for block b of the next panel, every tile for other cache lines of it.
CKV_INLINE void int8_prefetch_panel(const int streams, const int kind, const int8_streams *s, size_t b, size_t group_bytes) {
    const size_t bytes = ckv_span_bytes(&ckv_layouts[kind]) / (size_t)ckv_layouts[kind].blocks, lines = (bytes + 63) / 64;
    const uint8_t *next = s->group[0] + INT8_GROUPS * group_bytes + b * bytes;
    const size_t all = streams < INT8_GROUPS ? lines : INT8_GROUPS * lines;
    for (size_t line = s->tile; line < all; line += s->tiles) {
        __builtin_prefetch(next + (line < lines ? 64 * line : group_bytes + 64 * (line - lines)), 0, 2);
    }
}

// Blocks s->first ..< end of a panel by a tile's tokens.
CKV_INLINE void int8_blocks(
    const int tokens, const int streams, const int kind, const ckv_product *p, const int8_streams *s, size_t token, size_t end,
    vec acc[][2], vec off[][2]
) {
    const bool minima = ckv_layouts[kind].minima;
    const size_t blocks = p->columns / CKV_BLOCK;
    const int8_t *values = p->values + token * p->columns;
    const float *scales = p->scales + token * blocks;
    const ckv_sums *sums = p->sums + token * blocks;
    // Many tokens leave no registers for a second set of accumulators; few must not pass over the weights twice.
    const bool together = tokens <= CKV_INT8_TOGETHER;
    for (size_t b = s->first; minima && !together && b < end; b++) {
        int8_offsets(tokens, streams, kind, s, b, p, token, off);
    }
    const size_t group_bytes = ckv_spans_bytes(&ckv_layouts[kind], p->columns);
    for (size_t b = s->first; b < end; b++) {
        // One token, or its two digits: every weight comes from memory for it alone.
        if (tokens <= 2) int8_prefetch(streams, kind, s, b, group_bytes);
        else if (INT8_SLABS(kind)) int8_prefetch_panel(streams, kind, s, b, group_bytes);
        vec dot[CKV_INT8_TILE][2];
        int8_dot(tokens, streams, kind, s, b, values, p->columns, sums, dot);
        for (int i = 0; i < streams; i++) {
            const vec d = int8_scales(kind, s, i, b);
            for (int t = 0; t < tokens; t++) acc[t][i] = vec_fma(dot[t][i], d * vec_all(scales[t * blocks + b]), acc[t][i]);
        }
        if (minima && together) int8_offsets(tokens, streams, kind, s, b, p, token, off);
    }
}

CKV_INLINE void int8_store(
    const int tokens, const int streams, const int kind, const ckv_product *p, const int8_streams *s, size_t token,
    vec acc[][2], vec off[][2]
) {
    for (int t = 0; t < tokens; t++) {
        for (int i = 0; i < streams; i++) {
            const vec value = ckv_layouts[kind].minima ? acc[t][i] + off[t][i] : acc[t][i];
            product_store(p, token + t, s->row + (size_t)i * CKV_LANES, value);
        }
    }
}

// A tile over a panel's whole length; or, of a slab from its token `at` on, over a chunk, accumulators from the slab and back.
CKV_INLINE void int8_tile(
    const int tokens, const int streams, const int kind, const ckv_product *p, const int8_streams *s, size_t token, size_t end,
    int8_slab *slab, size_t at
) {
    const size_t bytes = (size_t)tokens * sizeof slab->acc[0];
    vec acc[CKV_INT8_TILE][2], off[CKV_INT8_TILE][2];
    for (int t = 0; t < tokens; t++) acc[t][0] = acc[t][1] = off[t][0] = off[t][1] = vec_all(0);
    if (slab != NULL) {
        memcpy(acc, slab->acc + at, bytes);
        if (ckv_layouts[kind].minima) memcpy(off, slab->off + at, bytes);
    }
    int8_blocks(tokens, streams, kind, p, s, token, end, acc, off);
    if (slab == NULL) {
        int8_store(tokens, streams, kind, p, s, token, acc, off);
        return;
    }
    memcpy(slab->acc + at, acc, bytes);
    if (ckv_layouts[kind].minima) memcpy(slab->off + at, off, bytes);
}

#define INT8_CASE(n) \
    case n: int8_tile(n <= CKV_INT8_TILE ? n : 1, streams, kind, p, s, from + at, end, slab, at); break;

// Tokens from ..< from + count, in tiles of like size: 7 tokens are 4 and 3, not 6 and 1.
CKV_INLINE void int8_tiles(
    const int streams, const int kind, const ckv_product *p, int8_streams *s, size_t from, size_t count, size_t end,
    int8_slab *slab
) {
    size_t at = 0;
    s->tiles = (count + CKV_INT8_TILE - 1) / CKV_INT8_TILE;
    for (s->tile = 0; s->tile < s->tiles; s->tile++) {
        const size_t rest = s->tiles - s->tile, tokens = (count - at + rest - 1) / rest;
        switch (tokens) { INT8_CASE(1) INT8_CASE(2) INT8_CASE(3) INT8_CASE(4) INT8_CASE(5) INT8_CASE(6) }
        at += tokens;
    }
}

// Blocks first ..< end of a panel, for its tiles.
CKV_INLINE void int8_unpack(const int streams, const int kind, int8_streams *s, size_t first, size_t end, int8_chunk *chunk) {
    s->chunk = NULL;
    for (size_t b = first; b < end; b++) {
        const size_t k = b - first;
        for (int i = 0; i < streams; i++) {
#pragma unroll
            for (int n = 0; n < 8; n++) chunk->weights[k][n][i] = int8_weights(kind, s, i, b, n);
            chunk->scales[k][i] = int8_scales(kind, s, i, b);
            if (ckv_layouts[kind].minima) chunk->minima[k][i] = int8_minima(kind, s, i, b);
            for (int half = 0; half < INT8_FACTORS(kind); half++) {
                chunk->factors[k][half][i] = int8_factors(kind, s, i, b, half);
            }
        }
    }
    s->chunk = chunk;
    s->first = first;
}

// A slab's tokens, chunk after chunk.
CKV_INLINE void int8_chunks(
    const int streams, const int kind, const ckv_product *p, int8_streams *s, size_t from, size_t count
) {
    const size_t blocks = p->columns / CKV_BLOCK;
    int8_slab slab;
    int8_chunk chunk;
    for (size_t t = 0; t < count; t++) slab.acc[t][0] = slab.acc[t][1] = slab.off[t][0] = slab.off[t][1] = vec_all(0);
    for (size_t first = 0; first < blocks; first += INT8_CHUNK) {
        const size_t end = blocks - first < INT8_CHUNK ? blocks : first + INT8_CHUNK;
        int8_unpack(streams, kind, s, first, end, &chunk);
        int8_tiles(streams, kind, p, s, from, count, end, &slab);
    }
    for (size_t t = 0; t < count; t++) int8_store(1, streams, kind, p, s, from + t, slab.acc + t, slab.off + t);
}

// A panel by tokens from ..< from + count.
CKV_INLINE void int8_panel(
    const int streams, const int kind, const ckv_product *p, size_t group, size_t group_bytes, size_t from, size_t count
) {
    const uint8_t *weights = (const uint8_t *)p->weights + group * group_bytes;
    const bool halves = INT8_GROUPS == 1;
    int8_streams s = {
        {weights, halves ? weights : weights + group_bytes}, {0, halves ? CKV_LANES : 0}, group * CKV_GROUP, NULL, 0, 0, 1,
    };
    if (!CKV_INT8_CHUNKED(&ckv_layouts[kind]) || p->tokens < INT8_MANY) {
        int8_tiles(streams, kind, p, &s, from, count, p->columns / CKV_BLOCK, NULL);
        return;
    }
    for (const size_t end = from + count; from < end; from += INT8_SLAB) {
        int8_chunks(streams, kind, p, &s, from, end - from < INT8_SLAB ? end - from : INT8_SLAB);
    }
}

// How many tokens go through all panels before the next ones: their activations then stay in the second-level cache.
CKV_INLINE size_t int8_resident(const int kind, const ckv_product *p) {
    const size_t most = INT8_RESIDENT / p->columns > INT8_SLAB ? INT8_RESIDENT / p->columns : INT8_SLAB;
    if (!INT8_SLABS(kind) || p->tokens <= most) return p->tokens;
    // Of like size, to whole tiles.
    const size_t parts = (p->tokens + most - 1) / most, count = (p->tokens + parts - 1) / parts;
    return (count + CKV_INT8_TILE - 1) / CKV_INT8_TILE * CKV_INT8_TILE;
}

CKV_INLINE void int8_product(const int kind, const ckv_product *p) {
    const size_t bytes = ckv_spans_bytes(&ckv_layouts[kind], p->columns), step = int8_resident(kind, p);
    for (size_t from = 0; from < p->tokens; from += step) {
        const size_t count = p->tokens - from < step ? p->tokens - from : step;
        size_t group = p->group_begin;
        for (; group + INT8_GROUPS <= p->group_end; group += INT8_GROUPS) int8_panel(2, kind, p, group, bytes, from, count);
        if (group < p->group_end) int8_panel(1, kind, p, group, bytes, from, count);
    }
}

static void product_q4_0(const ckv_product *p) { int8_product(kind_q4_0, p); }
static void product_q4_1(const ckv_product *p) { int8_product(kind_q4_1, p); }
static void product_q5_0(const ckv_product *p) { int8_product(kind_q5_0, p); }
static void product_q5_1(const ckv_product *p) { int8_product(kind_q5_1, p); }
static void product_q8_0(const ckv_product *p) { int8_product(kind_q8_0, p); }
static void product_q4_k(const ckv_product *p) { int8_product(kind_q4_k, p); }
static void product_q5_k(const ckv_product *p) { int8_product(kind_q5_k, p); }
static void product_q6_k(const ckv_product *p) { int8_product(kind_q6_k, p); }
static void product_q2_k(const ckv_product *p) { int8_product(kind_q2_k, p); }
static void product_q3_k(const ckv_product *p) { int8_product(kind_q3_k, p); }
static void product_iq4_nl(const ckv_product *p) { int8_product(kind_iq4_nl, p); }
static void product_iq4_xs(const ckv_product *p) { int8_product(kind_iq4_xs, p); }
static void product_mxfp4(const ckv_product *p) { int8_product(kind_mxfp4, p); }
