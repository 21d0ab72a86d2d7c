// A tile: up to CKV_TILE query rows and one block of keys. Rows are (token, head of the group), tokens ascending.

// Scores of one row: CKV_KEYS of them, and a distance to the next row that spreads the rows over the cache's sets.
#define SCORE_STRIDE (CKV_KEYS + 16)

// What lies in a unit's scratch.
typedef struct {
    float *keys;         // panels, see attention_widen.h
    float *values;       // panels
    float *queries;      // [tile][head_dim][CKV_TILE], scaled
    float *scores;       // [CKV_TILE][SCORE_STRIDE]
    float *maxima;       // m: [tile][CKV_LANES]
    float *sums;         // l: [tile][CKV_LANES]
    float *accumulated;  // a: [tile][CKV_TILE][padded]
    size_t padded;       // head_dim to whole panels
    size_t rows;
} unit_scratch;

// Loops over rows and vectors unroll, so that the accumulators are registers.
#define TILE_UNROLL _Pragma("clang loop unroll(full)")
// Softmax is long enough for one row.
#define TILE_ROLL _Pragma("clang loop unroll(disable)")

// The keys of a block that a tile's rows see. Where the tile is no `edge` of the window, all begin at 0.
typedef struct {
    size_t begin[CKV_TILE], count[CKV_TILE];  // row i sees keys begin[i] ..< count[i]
    size_t earliest, most;                    // some row sees keys earliest ..< most, at most
    size_t from, least;                       // all rows see keys from ..< least, if any
} tile_sight;

CKV_INLINE tile_sight tile_sees(
    const int rows, const bool edge, const ckv_attention *p, const unit_scratch *s, size_t row, size_t first
) {
    tile_sight sight;
    sight.earliest = sight.from = 0;
    const bool whole = !edge && p->position + row / p->group >= first + CKV_KEYS - 1;
    TILE_UNROLL
    for (int i = 0; i < rows; i++) {
        sight.begin[i] = 0;
        sight.count[i] = CKV_KEYS;
        if (whole) continue;
        // Rows that only fill the tile up go with the last one.
        size_t own = row + (size_t)i < s->rows ? row + (size_t)i : s->rows - 1;
        size_t last = p->position + own / p->group;
        if (last < first + CKV_KEYS) sight.count[i] = last < first ? 0 : last - first + 1;
        if (!edge) continue;
        size_t seen = ckv_first_key(p, own / p->group);
        sight.begin[i] = seen <= first ? 0 : seen - first < CKV_KEYS ? seen - first : CKV_KEYS;
    }
    // Positions ascend with the rows.
    sight.least = sight.count[0];
    sight.most = sight.count[rows - 1];
    if (edge) {
        sight.earliest = sight.begin[0];
        sight.from = sight.begin[rows - 1];
    }
    return sight;
}

// The right-hand factor of a product, in memory.
typedef struct {
    load_fn load;
    const char *base;
    size_t step;   // bytes from one depth to the next
    size_t panel;  // bytes from one panel to the next
    size_t half;   // bytes from a panel's first vector to its second
} tile_factor;

CKV_INLINE vec factor_vector(const tile_factor b, size_t k, const int v) {
    return b.load(b.base + k * b.step + (size_t)(v / 2) * b.panel + (size_t)(v % 2) * b.half);
}

// c[i * vectors + v] += sum over k in [begin, end) ascending of a[i * row + k * depth] * (vector v of b at k).
CKV_INLINE void tile_product(
    const int rows, const int vectors, const float *a, const size_t row, const size_t depth, const tile_factor b, size_t begin,
    size_t end, vec *c
) {
    for (size_t k = begin; k < end; k++) {
        // The fewer of the two factors' vectors stay in registers.
        vec x[CKV_TILE], w[8];
        TILE_UNROLL
        for (int i = 0; rows < vectors && i < rows; i++) x[i] = vec_all(a[(size_t)i * row + k * depth]);
        TILE_UNROLL
        for (int v = 0; rows < vectors && v < vectors; v++) {
            w[v] = factor_vector(b, k, v);
            TILE_UNROLL
            for (int i = 0; i < rows; i++) c[i * vectors + v] = vec_fma(w[v], x[i], c[i * vectors + v]);
        }
        TILE_UNROLL
        for (int v = 0; rows >= vectors && v < vectors; v++) w[v] = factor_vector(b, k, v);
        TILE_UNROLL
        for (int i = 0; rows >= vectors && i < rows; i++) {
            x[i] = vec_all(a[(size_t)i * row + k * depth]);
            TILE_UNROLL
            for (int v = 0; v < vectors; v++) c[i * vectors + v] = vec_fma(w[v], x[i], c[i * vectors + v]);
        }
    }
}

// Scores of the rows with the keys of vectors [vector, vector + vectors).
CKV_INLINE void score_vectors(
    const int rows, const int vectors, const unit_scratch *s, const float *queries, size_t head_dim, size_t vector
) {
    const size_t panel = head_dim * ATTENTION_PANEL * sizeof(float);
    const tile_factor keys = {
        load_f32, (const char *)s->keys + vector / 2 * panel, ATTENTION_PANEL * sizeof(float), panel, CKV_LANES * sizeof(float)};
    vec c[CKV_TILE * 2];
    TILE_UNROLL
    for (int i = 0; i < rows * vectors; i++) c[i] = (vec){0};
    tile_product(rows, vectors, queries, 1, CKV_TILE, keys, 0, head_dim, c);
    TILE_UNROLL
    for (int i = 0; i < rows; i++) {
        float *out = s->scores + i * SCORE_STRIDE + vector * CKV_LANES;
        TILE_UNROLL
        for (int v = 0; v < vectors; v++) vec_store(out + v * CKV_LANES, c[i * vectors + v]);
    }
}

// Scores with keys [earliest, most), and others beside them; `wide` is how many vectors these rows take at once.
CKV_INLINE void tile_scores(
    const int rows, const int wide, const unit_scratch *s, const float *queries, size_t head_dim, const tile_sight *sight
) {
    const size_t end = (sight->most + CKV_LANES - 1) / CKV_LANES;
    size_t v = sight->earliest / ATTENTION_PANEL * 2;
    for (; v + wide <= end; v += wide) score_vectors(rows, wide, s, queries, head_dim, v);
    for (; wide > 2 && v + 2 <= end; v += 2) score_vectors(rows, 2, s, queries, head_dim, v);
    for (; v < end; v++) score_vectors(rows, 1, s, queries, head_dim, v);
}

// The largest of a row's scores [begin, count); the others of [start, width) (whole vectors) become minus infinity.
CKV_INLINE float row_largest(float *scores, size_t start, size_t begin, size_t count, size_t width) {
    for (size_t k = start; k < begin; k++) scores[k] = -__builtin_inff();
    for (size_t k = count; k < width; k++) scores[k] = -__builtin_inff();
    vec largest = vec_load(scores + start);
    for (size_t k = start + CKV_LANES; k < width; k += CKV_LANES) largest = vec_max(largest, vec_load(scores + k));
    return vec_top(largest);
}

// Scores [start, width) to exponentials; their sum.
CKV_INLINE float row_exponentials(float *scores, size_t start, size_t width, float largest) {
    const vec top = vec_all(largest);
    vec8 part = {0};
    for (size_t k = start; k < width; k += CKV_LANES) {
        const vec e = vec_exp_negative(vec_load(scores + k) - top);
        vec_store(scores + k, e);
        part = part + vec_low(e);
#if CKV_LANES == 16
        part = part + vec_high(e);
#endif
    }
    return vec8_fold(part);
}

// Softmax of a tile's scores within the block: exponentials in place, m and l per row. A row that sees nothing has -infinity and 0,
// which leave its state as it is.
CKV_INLINE void tile_exponentials(const int rows, const unit_scratch *s, const tile_sight *sight, float *m, float *l) {
    const size_t start = sight->earliest / CKV_LANES * CKV_LANES;
    const size_t width = (sight->most + CKV_LANES - 1) / CKV_LANES * CKV_LANES;
    for (int i = 0; i < CKV_LANES; i++) {
        m[i] = -__builtin_inff();
        l[i] = 0;
    }
    if (sight->least == CKV_KEYS && sight->from == 0) {
        TILE_ROLL
        for (int i = 0; i < rows; i++) m[i] = row_largest(s->scores + i * SCORE_STRIDE, 0, 0, CKV_KEYS, CKV_KEYS);
        TILE_ROLL
        for (int i = 0; i < rows; i++) l[i] = row_exponentials(s->scores + i * SCORE_STRIDE, 0, CKV_KEYS, m[i]);
        return;
    }
    TILE_ROLL
    for (int i = 0; i < rows; i++) {
        if (sight->begin[i] == sight->count[i]) continue;
        m[i] = row_largest(s->scores + i * SCORE_STRIDE, start, sight->begin[i], sight->count[i], width);
        l[i] = row_exponentials(s->scores + i * SCORE_STRIDE, start, width, m[i]);
    }
}

// Caps a tile's scores, those of its sight and some beside.
static __attribute__((noinline)) void tile_cap(size_t rows, const unit_scratch *s, size_t earliest, size_t most, float cap) {
    const vec inverse = vec_all(1.0f / cap), factor = vec_all(cap);
    for (size_t i = 0; i < rows; i++) {
        float *scores = s->scores + i * SCORE_STRIDE;
        for (size_t k = earliest / CKV_LANES * CKV_LANES; k < most; k += CKV_LANES) {
            vec_store(scores + k, vec_tanh(vec_load(scores + k) * inverse) * factor);
        }
    }
}

// c += exponentials times the values that all rows see.
CKV_INLINE void tile_values(
    const int rows, const int vectors, const unit_scratch *s, const tile_sight *sight, const tile_factor b, vec *c
) {
    tile_product(rows, vectors, s->scores, SCORE_STRIDE, 1, b, sight->from, sight->least, c);
}

// c += exponentials times values [begin, end), as far as seen. No row meets one that it does not see: were that an infinity, zero
// times it would be no number.
CKV_INLINE void tile_some_values(
    const int rows, const int vectors, const bool edge, const unit_scratch *s, const tile_sight *sight, const tile_factor b,
    size_t begin, size_t end, vec *c
) {
    for (size_t k = begin; k < end; k++) {
        vec w[8];
        TILE_UNROLL
        for (int v = 0; v < vectors; v++) w[v] = factor_vector(b, k, v);
        TILE_UNROLL
        for (int i = 0; i < rows; i++) {
            if (k >= sight->count[i] || (edge && k < sight->begin[i])) continue;
            const vec x = vec_all(s->scores[(size_t)i * SCORE_STRIDE + k]);
            TILE_UNROLL
            for (int v = 0; v < vectors; v++) c[i * vectors + v] = vec_fma(w[v], x, c[i * vectors + v]);
        }
    }
}
