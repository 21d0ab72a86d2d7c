// Attention on vectors. A unit's query rows go through the key blocks one after another: a block's keys and values are widened once for
// all rows, then tile after tile of rows is multiplied, exponentiated, multiplied and merged, its scores never leaving the first cache.
#include "attention_widen.h"
#include "attention_tile.h"

static float *take(float **from, size_t floats) {
    float *at = *from;
    *from += (floats + 15) / 16 * 16;
    return at;
}

static unit_scratch unit_layout(const ckv_attention *p) {
    unit_scratch s;
    s.rows = p->tokens * p->group;
    s.padded = (p->head_dim + ATTENTION_PANEL - 1) / ATTENTION_PANEL * ATTENTION_PANEL;
    const size_t tiles = (s.rows + CKV_TILE - 1) / CKV_TILE;
    float *at = p->scratch;
    s.keys = take(&at, p->head_dim * CKV_KEYS);
    s.values = take(&at, s.padded * CKV_KEYS);
    s.scores = take(&at, CKV_TILE * SCORE_STRIDE);
    s.queries = take(&at, tiles * CKV_TILE * p->head_dim);
    s.maxima = take(&at, tiles * CKV_LANES);
    s.sums = take(&at, tiles * CKV_LANES);
    s.accumulated = take(&at, tiles * CKV_TILE * s.padded);
    return s;
}

// Queries times the scale into tiles; the last one is filled up with zeros.
static void scale_queries(const ckv_attention *p, const unit_scratch *s) {
    for (size_t row = 0; row < (s->rows + CKV_TILE - 1) / CKV_TILE * CKV_TILE; row++) {
        float *out = s->queries + row / CKV_TILE * CKV_TILE * p->head_dim + row % CKV_TILE;
        const float *query = p->query + row / p->group * p->query_stride + row % p->group * p->head_dim;
        for (size_t d = 0; d < p->head_dim; d++) out[d * CKV_TILE] = row < s->rows ? query[d] * p->scale : 0;
    }
}

// Merges m and l of a block into a tile's, and gives the factors of its accumulators, old and new. At an edge of the window the lanes
// that `starts` has take the block's.
CKV_INLINE void merge_sums(
    const bool edge, float *m, float *l, bool start, const vec_i32 *starts, vec mb, vec lb, float *c, float *cb
) {
    if (start) {
        vec_store(m, mb);
        vec_store(l, lb);
        return;
    }
    const vec old = vec_load(m), n = vec_max(old, mb);
    const vec factor = vec_exp_negative(old - n), block = vec_exp_negative(mb - n), scaled = lb * block;
    const vec sum = vec_fma(vec_load(l), factor, scaled);
    vec_store(l, edge ? (vec)(((vec_i32)lb & *starts) | ((vec_i32)sum & ~*starts)) : sum);
    vec_store(m, edge ? (vec)(((vec_i32)mb & *starts) | ((vec_i32)n & ~*starts)) : n);
    vec_store(c, factor);
    vec_store(cb, block);
}

// Values, and the merge of a[vector ... vector + vectors) while it is in registers.
CKV_INLINE void prefill_vectors(
    const int rows, const int vectors, const bool edge, const unit_scratch *s, const tile_sight *sight, size_t row, size_t vector,
    bool start, const int32_t *starts, const float *c, const float *cb
) {
    const char *base = (const char *)(s->values + vector / 2 * CKV_KEYS * ATTENTION_PANEL);
    const tile_factor b = {load_f32, base, ATTENTION_PANEL * sizeof(float), 0, CKV_LANES * sizeof(float)};
    vec part[CKV_TILE * 2];
    TILE_UNROLL
    for (int i = 0; i < rows * vectors; i++) part[i] = (vec){0};
    size_t further = sight->least;
    if (edge) {
        const size_t middle = sight->from < sight->least ? sight->from : sight->most;
        tile_some_values(rows, vectors, edge, s, sight, b, sight->earliest, middle, part);
        if (further < middle) further = middle;
    }
    tile_values(rows, vectors, s, sight, b, part);
    tile_some_values(rows, vectors, edge, s, sight, b, further, sight->most, part);
    float *a = s->accumulated + row * s->padded + vector * CKV_LANES;
    TILE_UNROLL
    for (int i = 0; i < rows; i++, a += s->padded) {
        if (edge ? sight->begin[i] == sight->count[i] : !sight->count[i]) continue;
        TILE_UNROLL
        for (int v = 0; v < vectors; v++) {
            vec sum = part[i * vectors + v];
            if (edge ? !starts[i] : !start) {
                const vec scaled = sum * cb[i];
                sum = vec_fma(vec_load(a + v * CKV_LANES), vec_all(c[i]), scaled);
            }
            vec_store(a + v * CKV_LANES, sum);
        }
    }
}

// One tile of a unit with one block of keys. At an `edge` some row's window begins in or after the block; elsewhere all begin at
// position 0, or before the block.
CKV_INLINE void prefill_tile(
    const int rows, const bool edge, const ckv_attention *p, const unit_scratch *s, size_t row, size_t first
) {
    const tile_sight sight = tile_sees(rows, edge, p, s, row, first);
    if (!sight.most || sight.earliest == CKV_KEYS) return;
    float m[CKV_LANES], l[CKV_LANES], c[CKV_LANES], cb[CKV_LANES];
    // Rows whose first block this is, or that have not come to theirs.
    int32_t starts[CKV_LANES];
    vec_i32 starting = {0};
    if (edge) {
        for (size_t i = 0; i < CKV_LANES; i++) {
            starts[i] = row + i >= s->rows || ckv_first_key(p, (row + i) / p->group) >= first ? -1 : 0;
        }
        memcpy(&starting, starts, sizeof starting);
    }
    tile_scores(rows, 2, s, s->queries + row * p->head_dim, p->head_dim, &sight);
    if (p->softcap != 0) tile_cap((size_t)rows, s, sight.earliest, sight.most, p->softcap);
    tile_exponentials(rows, s, &sight, m, l);
    const size_t state = row / CKV_TILE * CKV_LANES;
    const bool start = !edge && first == 0;
    merge_sums(edge, s->maxima + state, s->sums + state, start, &starting, vec_load(m), vec_load(l), c, cb);
    const size_t end = (p->head_dim + CKV_LANES - 1) / CKV_LANES;
    size_t v = 0;
    for (; v + 2 <= end; v += 2) prefill_vectors(rows, 2, edge, s, &sight, row, v, start, starts, c, cb);
    if (v < end) prefill_vectors(rows, 1, edge, s, &sight, row, v, start, starts, c, cb);
}

// What a dense baseline computes beside: scores of the block's keys [most, count) that no row of the tile sees, minus infinity as their
// mask, exponentials (zeros) and products with the values. The product goes to the scores' spare columns and not into the sums, to which
// it adds nothing: so results do not depend on it, not even where a value that nobody sees is an infinity.
CKV_INLINE void masked_tile(const int rows, const ckv_attention *p, const unit_scratch *s, size_t row, size_t first, size_t count) {
    const size_t most = tile_sees(rows, false, p, s, row, first).most;
    if (most >= count) return;
    const tile_sight sight = {.earliest = most, .most = count};
    tile_scores(rows, 2, s, s->queries + row * p->head_dim, p->head_dim, &sight);
    if (p->softcap != 0) tile_cap((size_t)rows, s, most, count, p->softcap);
    const size_t start = most / CKV_LANES * CKV_LANES, width = (count + CKV_LANES - 1) / CKV_LANES * CKV_LANES;
    const vec mask = vec_all(-__builtin_inff());
    TILE_ROLL
    for (int i = 0; i < rows; i++) {
        float *scores = s->scores + i * SCORE_STRIDE;
        const float largest = row_largest(scores, start, start, count, width);
        for (size_t k = start; k < width; k += CKV_LANES) vec_store(scores + k, vec_load(scores + k) + mask);
        scores[CKV_KEYS] = row_exponentials(scores, start, width, largest);
    }
    const size_t end = (p->head_dim + CKV_LANES - 1) / CKV_LANES;
    for (size_t v = 0; v < end; v += 2) {
        const char *base = (const char *)(s->values + v / 2 * CKV_KEYS * ATTENTION_PANEL);
        const tile_factor b = {load_f32, base, ATTENTION_PANEL * sizeof(float), 0, CKV_LANES * sizeof(float)};
        vec part[CKV_TILE * 2];
        TILE_UNROLL
        for (int i = 0; i < rows * 2; i++) part[i] = (vec){0};
        tile_product(rows, 2, s->scores, SCORE_STRIDE, 1, b, most, count, part);
        TILE_UNROLL
        for (int i = 0; i < rows; i++) vec_store(s->scores + i * SCORE_STRIDE + CKV_KEYS, part[i * 2] + part[i * 2 + 1]);
    }
}

// Where a block's values are: as cached if they are whole vectors, else widened. `size` is that of an element.
typedef struct {
    const char *base;
    size_t step, panel, half;
} value_rows;

// a of one token's rows with one block, vectors [vector, vector + vectors) of it.
CKV_INLINE void decode_vectors(
    const int rows, const int vectors, const ckv_attention *p, const unit_scratch *s, const tile_sight *sight, size_t row,
    size_t vector, const load_fn load, const value_rows *from, float *out
) {
    const char *base = from->base + vector / 2 * from->panel + vector % 2 * from->half;
    const tile_factor b = {load, base, from->step, from->panel, from->half};
    vec part[CKV_TILE * 2];
    TILE_UNROLL
    for (int i = 0; i < rows * vectors; i++) part[i] = (vec){0};
    tile_values(rows, vectors, s, sight, b, part);
    for (int i = 0; i < rows && row + (size_t)i < s->rows; i++) {
        for (int v = 0; v < vectors; v++) {
            const size_t d = (vector + (size_t)v) * CKV_LANES;
            vec_store_some(out + (size_t)i * (p->head_dim + 2) + d, part[i * vectors + v], p->head_dim - d);
        }
    }
}

// `wide` is how many vectors these rows take at most.
CKV_INLINE void decode_values(
    const int rows, const int wide, const ckv_attention *p, const unit_scratch *s, const tile_sight *sight, size_t row,
    const load_fn load, const value_rows *from, float *out
) {
    const size_t end = (p->head_dim + CKV_LANES - 1) / CKV_LANES;
    size_t v = 0;
    for (; v + wide <= end; v += wide) decode_vectors(rows, wide, p, s, sight, row, v, load, from, out);
    for (; wide > 4 && v + 4 <= end; v += 4) decode_vectors(rows, 4, p, s, sight, row, v, load, from, out);
    for (; wide > 2 && v + 2 <= end; v += 2) decode_vectors(rows, 2, p, s, sight, row, v, load, from, out);
    for (; v < end; v++) decode_vectors(rows, 1, p, s, sight, row, v, load, from, out);
}

CKV_INLINE void decode_tile(
    const int rows, const int keys, const int wide, const ckv_attention *p, const unit_scratch *s, size_t row, size_t first, float *out
) {
    // All rows are one token: their sight is the same.
    tile_sight sight = tile_sees(rows, false, p, s, row, first);
    const size_t seen = ckv_first_key(p, 0);
    if (seen > first) {
        sight.earliest = sight.from = seen - first;
        for (int i = 0; i < rows; i++) sight.begin[i] = seen - first;
    }
    float m[CKV_LANES], l[CKV_LANES];
    tile_scores(rows, keys, s, s->queries + row * p->head_dim, p->head_dim, &sight);
    if (p->softcap != 0) tile_cap((size_t)rows, s, sight.earliest, sight.most, p->softcap);
    tile_exponentials(rows, s, &sight, m, l);
    const size_t size = cache_bytes(p);
    value_rows from = {(const char *)p->value + first * p->kv_stride * size, p->kv_stride * size, ATTENTION_PANEL * size, CKV_LANES * size};
    if (p->head_dim % CKV_LANES) {
        const size_t step = ATTENTION_PANEL * sizeof(float);
        from = (value_rows){(const char *)s->values, step, CKV_KEYS * step, step / 2};
    }
    if (p->half && p->head_dim % CKV_LANES == 0) decode_values(rows, wide, p, s, &sight, row, load_f16, &from, out);
    else decode_values(rows, wide, p, s, &sight, row, load_f32, &from, out);
    for (int i = 0; i < rows && row + (size_t)i < s->rows; i++) {
        out[(size_t)i * (p->head_dim + 2) + p->head_dim] = m[i];
        out[(size_t)i * (p->head_dim + 2) + p->head_dim + 1] = l[i];
    }
}

// A tile's kernels by its rows: one that is not full takes the next larger. In decode few rows take several vectors of keys, and of
// values, at once: an fma's latency needs eight chains, and there are 16 or 32 registers.
#if CKV_LANES == 16
#define TILE_SIZES(size) size(1, 8, 8) size(2, 4, 4) size(3, 4, 4) size(4, 4, 4) size(8, 2, 2) size(12, 2, 2)
#else
#define TILE_SIZES(size) size(1, 8, 8) size(2, 4, 4) size(3, 4, 2) size(4, 2, 2) size(6, 2, 2)
#endif

#define TILE_KERNELS(rows, keys, wide)                                                                                     \
    static void prefill_tile_##rows(const ckv_attention *p, const unit_scratch *s, size_t row, size_t first) {            \
        prefill_tile(rows, false, p, s, row, first);                                                                      \
    }                                                                                                                     \
    static void prefill_edge_##rows(const ckv_attention *p, const unit_scratch *s, size_t row, size_t first) {            \
        prefill_tile(rows, true, p, s, row, first);                                                                       \
    }                                                                                                                     \
    static void masked_tile_##rows(const ckv_attention *p, const unit_scratch *s, size_t row, size_t first, size_t count) { \
        masked_tile(rows, p, s, row, first, count);                                                                       \
    }                                                                                                                     \
    static void decode_tile_##rows(const ckv_attention *p, const unit_scratch *s, size_t row, size_t first, float *out) { \
        decode_tile(rows, keys, wide, p, s, row, first, out);                                                             \
    }
TILE_SIZES(TILE_KERNELS)

#define PREFILL_CASE(rows, keys, wide) \
    if (count <= rows) return edge ? prefill_edge_##rows : prefill_tile_##rows;
#define MASKED_CASE(rows, keys, wide) \
    if (count <= rows) return masked_tile_##rows;
#define DECODE_CASE(rows, keys, wide) \
    if (count <= rows) return decode_tile_##rows;

typedef void (*prefill_fn)(const ckv_attention *, const unit_scratch *, size_t row, size_t first);
typedef void (*masked_fn)(const ckv_attention *, const unit_scratch *, size_t row, size_t first, size_t count);
typedef void (*decode_fn)(const ckv_attention *, const unit_scratch *, size_t row, size_t first, float *out);

static prefill_fn prefill_of(size_t count, bool edge) {
    TILE_SIZES(PREFILL_CASE)
    return NULL;
}

static masked_fn masked_of(size_t count) {
    TILE_SIZES(MASKED_CASE)
    return NULL;
}

static decode_fn decode_of(size_t count) {
    TILE_SIZES(DECODE_CASE)
    return NULL;
}

CKV_INLINE size_t least(size_t a, size_t b) { return a < b ? a : b; }

// Widens the keys of a block up to `count`, from the first on that the unit's first token sees, and the values too if `values`.
static void widen_block(const ckv_attention *p, const unit_scratch *s, size_t first, size_t count, bool values) {
    const size_t seen = ckv_first_key(p, 0), begin = seen > first ? seen - first : 0;
    widen_keys(p, first, begin, count, s->keys, s->values);
    if (values) widen_values(p, first, begin, count, s->values);
}

// Whether a tile, whose last token is `token`, must look at each row's window.
CKV_INLINE bool is_edge(const ckv_attention *p, size_t token, size_t first) {
    const size_t seen = ckv_first_key(p, token);
    return seen > 0 && seen >= first;
}

static void attention(const ckv_attention *p) {
    const unit_scratch s = unit_layout(p);
    const size_t seen = p->position + p->tokens, end = p->keys > seen ? p->keys : seen;
    scale_queries(p, &s);
    for (size_t first = ckv_first_block(p) * CKV_KEYS; first < end; first += CKV_KEYS) {
        const size_t keys = least(end - first, CKV_KEYS);
        widen_block(p, &s, first, keys, true);
        for (size_t row = 0; row < s.rows; row += CKV_TILE) {
            const size_t count = least(s.rows - row, CKV_TILE);
            const bool edge = p->window && is_edge(p, (row + count - 1) / p->group, first);
            prefill_of(count, edge)(p, &s, row, first);
            if (p->keys) masked_of(count)(p, &s, row, first, keys);
        }
    }
    for (size_t row = 0; row < s.rows; row++) {
        const float *a = s.accumulated + row * s.padded;
        const float l = s.sums[row / CKV_TILE * CKV_LANES + row % CKV_TILE];
        float *out = p->out + row / p->group * p->out_stride + row % p->group * p->head_dim;
        for (size_t d = 0; d < p->head_dim; d++) out[d] = a[d] / l;
    }
}

// Asks for a block's rows of one head, a line of memory at a time. Decode reads rows of one head once each, apart from each other by all the
// heads' rows: a pattern that the machine does not foresee over the end of a page.
CKV_INLINE void prefetch_rows(const ckv_attention *p, const void *rows, size_t first, size_t count) {
    const size_t size = cache_bytes(p), step = p->kv_stride * size;
    const char *row = (const char *)rows + first * step;
    for (size_t k = 0; k < count; k++, row += step) {
        for (size_t byte = 0; byte < p->head_dim * size; byte += 64) __builtin_prefetch(row + byte, 0, 2);
    }
}

static void attention_partial(const ckv_attention *p, size_t begin, size_t end, float *partials) {
    const unit_scratch s = unit_layout(p);
    scale_queries(p, &s);
    const size_t seen = ckv_first_block(p);
    for (size_t b = begin > seen ? begin : seen; b < end; b++) {
        const size_t first = b * CKV_KEYS, count = least(p->position + 1 - first, CKV_KEYS);
        prefetch_rows(p, p->value, first, count);
        widen_block(p, &s, first, count, p->head_dim % CKV_LANES);
        if (b + 1 < end) prefetch_rows(p, p->key, first + CKV_KEYS, least(p->position + 1 - first - CKV_KEYS, CKV_KEYS));
        for (size_t row = 0; row < s.rows; row += CKV_TILE) {
            float *out = partials + (b * p->group + row) * (p->head_dim + 2);
            decode_of(least(s.rows - row, CKV_TILE))(p, &s, row, first, out);
        }
    }
}

// The factors of blocks [block, block + count), count <= CKV_LANES, from the maximum of those before on; that of all of them.
static float merge_factors(const float *partials, size_t count, size_t stride, size_t head_dim, float m, float *c, float *cb) {
    float old[CKV_LANES] = {0}, now[CKV_LANES] = {0}, block[CKV_LANES] = {0};
    for (size_t b = 0; b < count; b++) {
        block[b] = partials[b * stride + head_dim];
        old[b] = m;
        m = m > block[b] ? m : block[b];
        now[b] = m;
    }
    vec_store(c, vec_exp_negative(vec_load(old) - vec_load(now)));
    vec_store(cb, vec_exp_negative(vec_load(block) - vec_load(now)));
    return m;
}

static void attention_merge(const float *partials, size_t blocks, size_t stride, size_t head_dim, float *out) {
    // a and l alike; m, between them, is merged apart.
    float state[258], c[CKV_LANES], cb[CKV_LANES], m = partials[head_dim];
    memcpy(state, partials, (head_dim + 2) * sizeof(float));
    for (size_t block = 1; block < blocks; block += CKV_LANES) {
        const size_t count = least(blocks - block, CKV_LANES);
        m = merge_factors(partials + block * stride, count, stride, head_dim, m, c, cb);
        for (size_t b = 0; b < count; b++) {
            const float *part = partials + (block + b) * stride;
            for (size_t d = 0; d < head_dim + 2; d++) {
                const float scaled = part[d] * cb[b];
                state[d] = __builtin_fmaf(state[d], c[b], scaled);
            }
        }
    }
    for (size_t d = 0; d < head_dim; d++) out[d] = state[d] / state[head_dim + 1];
}
