// Attention on vectors. A unit's query rows (tokens × heads of the group) go through the key blocks one after another: a block's keys
// (transposed) and values are widened once for all rows, then tiles of CKV_TILE rows are multiplied, masked, exponentiated, multiplied.

typedef struct {
    float *keys;      // [head_dim][CKV_KEYS]
    float *values;    // [CKV_KEYS][padded]
    float *queries;   // [rows][head_dim], scaled
    float *scores;    // [CKV_TILE][CKV_KEYS]
    float *products;  // [CKV_TILE][padded]
    float *states;    // [rows][padded + 2]: a, then m and l at padded
    size_t padded;    // head_dim to whole pairs of vectors
} unit_scratch;

static unit_scratch unit_layout(const ckv_attention *p) {
    unit_scratch s;
    size_t rows = p->tokens * p->group;
    s.padded = (p->head_dim + 2 * CKV_LANES - 1) / (2 * CKV_LANES) * (2 * CKV_LANES);
    s.keys = p->scratch;
    s.values = s.keys + p->head_dim * CKV_KEYS;
    s.scores = s.values + CKV_KEYS * s.padded;
    s.products = s.scores + CKV_TILE * CKV_KEYS;
    s.queries = s.products + CKV_TILE * s.padded;
    s.states = s.queries + rows * p->head_dim;
    return s;
}

CKV_INLINE float cached(const ckv_attention *p, const void *rows, size_t index) {
    return p->half ? ckv_half_float(((const uint16_t *)rows)[index]) : ((const float *)rows)[index];
}

CKV_INLINE vec cached_vec(const ckv_attention *p, const void *rows, size_t index) {
    return p->half ? load_f16((const uint16_t *)rows + index) : load_f32((const float *)rows + index);
}

// Keys [first, first + count) to [head_dim][CKV_KEYS]; missing keys up to whole pairs of vectors become zeros.
static void widen_keys(const ckv_attention *p, size_t first, size_t count, float *out) {
    size_t end = (count + 2 * CKV_LANES - 1) / (2 * CKV_LANES) * (2 * CKV_LANES), k = 0;
    for (; k + 8 <= count; k += 8) {
        size_t d = 0;
        for (; d + 8 <= p->head_dim; d += 8) {
            transpose_8x8(p->key, p->half, (first + k) * p->kv_stride + d, p->kv_stride, out + d * CKV_KEYS + k);
        }
        for (; d < p->head_dim; d++) {
            for (size_t i = 0; i < 8; i++) out[d * CKV_KEYS + k + i] = cached(p, p->key, (first + k + i) * p->kv_stride + d);
        }
    }
    for (; k < end; k++) {
        for (size_t d = 0; d < p->head_dim; d++) {
            out[d * CKV_KEYS + k] = k < count ? cached(p, p->key, (first + k) * p->kv_stride + d) : 0;
        }
    }
}

// Values [first, first + count) to [count][padded].
static void widen_values(const ckv_attention *p, size_t first, size_t count, size_t padded, float *out) {
    for (size_t k = 0; k < count; k++) {
        size_t row = (first + k) * p->kv_stride, d = 0;
        for (; d + CKV_LANES <= p->head_dim; d += CKV_LANES) vec_store(out + k * padded + d, cached_vec(p, p->value, row + d));
        for (; d < padded; d++) out[k * padded + d] = d < p->head_dim ? cached(p, p->value, row + d) : 0;
    }
}

// Keys of the block that the query of `row` sees.
CKV_INLINE size_t visible(const ckv_attention *p, size_t row, size_t first) {
    size_t last = p->position + row / p->group;
    return last < first ? 0 : last - first < CKV_KEYS ? last - first + 1 : CKV_KEYS;
}

// scores[0 ... count) to exponentials; those up to `width` (whole pairs of vectors) to zeros. Leaves m and l.
CKV_INLINE void exponentiate(float *scores, size_t count, size_t width, float *m, float *l) {
    for (size_t k = count; k < width; k++) scores[k] = -__builtin_inff();
    vec largest = vec_load(scores);
    for (size_t k = CKV_LANES; k < width; k += CKV_LANES) {
        largest = __builtin_elementwise_max(largest, vec_load(scores + k));
    }
    float lanes[CKV_LANES], top = -__builtin_inff();
    vec_store(lanes, largest);
    for (int i = 0; i < CKV_LANES; i++) top = lanes[i] > top ? lanes[i] : top;
    float part[8] = {0};
    for (size_t k = 0; k < width; k += 8) {
        for (int i = 0; i < 8; i++) {
            scores[k + i] = ckv_exp_inline(scores[k + i] - top);
            part[i] = part[i] + scores[k + i];
        }
    }
    *m = top;
    *l = ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]));
}

// (a, m, l) of the state and of a block's part become the state's. The first block starts it.
CKV_INLINE void join(float *a, const float *part, size_t width, bool first, float *m, float *l, float mb, float lb) {
    if (first) {
        memcpy(a, part, width * sizeof(float));
        *m = mb;
        *l = lb;
        return;
    }
    float n = *m > mb ? *m : mb;
    float c = ckv_exp_inline(*m - n), cb = ckv_exp_inline(mb - n);
    for (size_t d = 0; d < width; d++) {
        float scaled = part[d] * cb;
        a[d] = __builtin_fmaf(a[d], c, scaled);
    }
    float scaled = lb * cb;
    *l = __builtin_fmaf(*l, c, scaled);
    *m = n;
}

// Products and exponentials of `rows` query rows from `row` on with one block. Leaves a in s.products, m and l per row.
CKV_INLINE void block_tile(
    const int rows, const ckv_attention *p, const unit_scratch *s, size_t row, size_t first, float *m, float *l
) {
    // Rows ascend in position, so the last one sees the most keys.
    size_t most = visible(p, row + rows - 1, first);
    size_t width = (most + 2 * CKV_LANES - 1) / (2 * CKV_LANES) * (2 * CKV_LANES);
    vec c[CKV_TILE][2];
    for (size_t k = 0; k < width; k += 2 * CKV_LANES) {
        const char *keys = (const char *)(s->keys + k);
        tile_product(
            rows, s->queries + row * p->head_dim, p->head_dim, load_f32, keys, keys + CKV_LANES * 4, CKV_KEYS * 4, p->head_dim, c);
        for (int i = 0; i < rows; i++) {
            vec_store(s->scores + i * CKV_KEYS + k, c[i][0]);
            vec_store(s->scores + i * CKV_KEYS + k + CKV_LANES, c[i][1]);
        }
    }
    for (int i = 0; i < rows; i++) {
        size_t count = visible(p, row + i, first);
        // A row that sees nothing of this block: zeros, and its state stays (see the callers).
        if (count) exponentiate(s->scores + i * CKV_KEYS, count, width, m + i, l + i);
        else memset(s->scores + i * CKV_KEYS, 0, width * sizeof(float));
    }
    for (size_t d = 0; d < s->padded; d += 2 * CKV_LANES) {
        const char *values = (const char *)(s->values + d);
        tile_product(rows, s->scores, CKV_KEYS, load_f32, values, values + CKV_LANES * 4, s->padded * 4, most, c);
        for (int i = 0; i < rows; i++) {
            vec_store(s->products + i * s->padded + d, c[i][0]);
            vec_store(s->products + i * s->padded + d + CKV_LANES, c[i][1]);
        }
    }
}

CKV_INLINE void block_rows(const int rows, const ckv_attention *p, const unit_scratch *s, size_t row, size_t first) {
    if (!visible(p, row + rows - 1, first)) return;
    float m[CKV_TILE], l[CKV_TILE];
    block_tile(rows, p, s, row, first, m, l);
    for (int i = 0; i < rows; i++) {
        if (!visible(p, row + i, first)) continue;
        float *state = s->states + (row + i) * (s->padded + 2);
        join(state, s->products + i * s->padded, s->padded, first == 0, state + s->padded, state + s->padded + 1, m[i], l[i]);
    }
}

static void scale_queries(const ckv_attention *p, const unit_scratch *s) {
    for (size_t t = 0; t < p->tokens; t++) {
        const float *query = p->query + t * p->query_stride;
        float *out = s->queries + t * p->group * p->head_dim;
        for (size_t i = 0; i < p->group * p->head_dim; i++) out[i] = query[i] * p->scale;
    }
}

static void widen_block(const ckv_attention *p, const unit_scratch *s, size_t first) {
    size_t last = p->position + p->tokens - 1;
    size_t count = last - first < CKV_KEYS ? last - first + 1 : CKV_KEYS;
    widen_keys(p, first, count, s->keys);
    widen_values(p, first, count, s->padded, s->values);
}

static void attention(const ckv_attention *p) {
    const unit_scratch s = unit_layout(p);
    const size_t rows = p->tokens * p->group;
    scale_queries(p, &s);
    for (size_t first = 0; first < p->position + p->tokens; first += CKV_KEYS) {
        widen_block(p, &s, first);
        size_t row = 0;
        for (; row + CKV_TILE <= rows; row += CKV_TILE) block_rows(CKV_TILE, p, &s, row, first);
        for (; row + 4 <= rows; row += 4) block_rows(4, p, &s, row, first);
        for (; row < rows; row++) block_rows(1, p, &s, row, first);
    }
    for (size_t row = 0; row < rows; row++) {
        const float *state = s.states + row * (s.padded + 2);
        float *out = p->out + row / p->group * p->out_stride + row % p->group * p->head_dim, l = state[s.padded + 1];
        for (size_t d = 0; d < p->head_dim; d++) out[d] = state[d] / l;
    }
}

CKV_INLINE void partial_rows(
    const int rows, const ckv_attention *p, const unit_scratch *s, size_t row, size_t first, float *out
) {
    float m[CKV_TILE], l[CKV_TILE];
    block_tile(rows, p, s, row, first, m, l);
    for (int i = 0; i < rows; i++) {
        float *part = out + (row + i) * (p->head_dim + 2);
        memcpy(part, s->products + i * s->padded, p->head_dim * sizeof(float));
        part[p->head_dim] = m[i];
        part[p->head_dim + 1] = l[i];
    }
}

static void attention_partial(const ckv_attention *p, size_t begin, size_t end, float *partials) {
    const unit_scratch s = unit_layout(p);
    scale_queries(p, &s);
    for (size_t b = begin; b < end; b++) {
        widen_block(p, &s, b * CKV_KEYS);
        float *out = partials + b * p->group * (p->head_dim + 2);
        size_t row = 0;
        for (; row + CKV_TILE <= p->group; row += CKV_TILE) partial_rows(CKV_TILE, p, &s, row, b * CKV_KEYS, out);
        for (; row + 3 <= p->group; row += 3) partial_rows(3, p, &s, row, b * CKV_KEYS, out);
        for (; row < p->group; row++) partial_rows(1, p, &s, row, b * CKV_KEYS, out);
    }
}

static void attention_merge(const float *partials, size_t blocks, size_t stride, size_t head_dim, float *out) {
    float a[256], m, l;
    for (size_t b = 0; b < blocks; b++) {
        const float *part = partials + b * stride;
        join(a, part, head_dim, b == 0, &m, &l, part[head_dim], part[head_dim + 1]);
    }
    for (size_t d = 0; d < head_dim; d++) out[d] = a[d] / l;
}
