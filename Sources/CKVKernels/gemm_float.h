// Products with float weights, for any vector width. A panel is two vectors of rows (AVX-512: two groups; AVX2: the
// halves of one).
//
// Panel after panel, all tokens in register tiles of up to CKV_TILE: a panel's weights come from memory once and stay
// in the second-level cache for the further tiles. Up to three tokens there are too few chains to hide an fma's
// latency, and the weights' way from memory decides: then several panels stream at once.

#define FLOAT_GROUPS (2 * CKV_LANES / CKV_GROUP)
// How far ahead narrow weights are fetched, in bytes: the hardware's own prefetching keeps up with wide ones only.
#define FLOAT_AHEAD 2048

// Where a panel's two vectors begin, and the first of its rows. `second` is false where the worker has no second group.
typedef struct {
    const char *w0, *w1;
    size_t row;
    bool second;
} float_panel;

CKV_INLINE float_panel float_panel_at(const ckv_product *p, size_t size, size_t group) {
    const size_t bytes = (p->columns * CKV_GROUP * size + 63) / 64 * 64;
    const char *w0 = (const char *)p->weights + group * bytes;
    if (CKV_LANES < CKV_GROUP) return (float_panel){w0, w0 + CKV_LANES * size, group * CKV_GROUP, true};
    // Without a second group, the first once more, unused.
    const bool second = group + 1 < p->group_end;
    return (float_panel){w0, second ? w0 + bytes : w0, group * CKV_GROUP, second};
}

// The address may lie behind the weights: it is only hinted at, never read.
CKV_INLINE void float_ahead(const char *p) { __builtin_prefetch((const void *)((uintptr_t)p + FLOAT_AHEAD)); }

// `panels` panels by `tokens` tokens, over all k.
CKV_INLINE void float_tile(
    const int panels, const int tokens, load_fn load, size_t size, const ckv_product *p, size_t group, size_t token
) {
    const size_t step = CKV_GROUP * size;
    const float *x = p->x + token * p->columns;
    float_panel panel[4];
    vec c[4][CKV_TILE][2];
    for (int i = 0; i < panels; i++) {
        panel[i] = float_panel_at(p, size, group + (size_t)i * FLOAT_GROUPS);
        for (int t = 0; t < tokens; t++) c[i][t][0] = c[i][t][1] = (vec){0};
    }
    for (size_t k = 0; k < p->columns; k++) {
        for (int i = 0; i < panels; i++) {
            vec w0 = load(panel[i].w0 + k * step), w1 = load(panel[i].w1 + k * step);
            if (tokens <= 3 && size < sizeof(float)) {
                float_ahead(panel[i].w0 + k * step);
                if (FLOAT_GROUPS == 2) float_ahead(panel[i].w1 + k * step);
            }
            for (int t = 0; t < tokens; t++) {
                vec broadcast = vec_all(x[t * p->columns + k]);
                c[i][t][0] = vec_fma(w0, broadcast, c[i][t][0]);
                c[i][t][1] = vec_fma(w1, broadcast, c[i][t][1]);
            }
        }
    }
    for (int i = 0; i < panels; i++) {
        for (int t = 0; t < tokens; t++) {
            product_store(p, token + t, panel[i].row, c[i][t][0]);
            if (panel[i].second) product_store(p, token + t, panel[i].row + CKV_LANES, c[i][t][1]);
        }
    }
}

CKV_INLINE void float_few(const int tokens, load_fn load, size_t size, const ckv_product *p) {
    // AVX2 has registers for four panels of one token, two of two and one of three.
    const int panels = CKV_LANES == CKV_GROUP ? 2 : 4 / tokens;
    size_t group = p->group_begin;
    for (; group + panels * FLOAT_GROUPS <= p->group_end; group += panels * FLOAT_GROUPS) {
        float_tile(panels, tokens, load, size, p, group, 0);
    }
    for (; group < p->group_end; group += FLOAT_GROUPS) float_tile(1, tokens, load, size, p, group, 0);
}

#define FLOAT_CASE(n) \
    case n: float_tile(1, n, load, size, p, group, token); break;

CKV_INLINE void float_many(load_fn load, size_t size, const ckv_product *p) {
    for (size_t group = p->group_begin; group < p->group_end; group += FLOAT_GROUPS) {
        // Tiles of like size: 13 tokens are 7 and 6, not 12 and 1.
        size_t token = 0;
        for (size_t tiles = (p->tokens + CKV_TILE - 1) / CKV_TILE; tiles > 0; tiles--) {
            const size_t count = (p->tokens - token + tiles - 1) / tiles;
            switch (count) {
                FLOAT_CASE(3) FLOAT_CASE(4) FLOAT_CASE(5) FLOAT_CASE(6)
#if CKV_TILE == 12
                FLOAT_CASE(7) FLOAT_CASE(8) FLOAT_CASE(9) FLOAT_CASE(10) FLOAT_CASE(11) FLOAT_CASE(12)
#endif
            }
            token += count;
        }
    }
}

CKV_INLINE void float_product(load_fn load, size_t size, const ckv_product *p) {
    switch (p->tokens) {
        case 0: break;
        case 1: float_few(1, load, size, p); break;
        case 2: float_few(2, load, size, p); break;
        case 3: float_few(3, load, size, p); break;
        default: float_many(load, size, p);
    }
}

static void product_f32(const ckv_product *p) { float_product(load_f32, 4, p); }
static void product_f16(const ckv_product *p) { float_product(load_f16, 2, p); }
static void product_bf16(const ckv_product *p) { float_product(load_bf16, 2, p); }
