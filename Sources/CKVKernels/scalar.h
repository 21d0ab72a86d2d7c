// The plain reference, straight from the contract in ckv_kernels.h; also what runs where no vector table does.
#include "ckv_kernels.h"
#include "exp.h"
#include "packed.h"
#include "quantise.h"

typedef float (*element_fn)(const void *packed, size_t index);

static float element_f32(const void *packed, size_t index) { return ((const float *)packed)[index]; }
static float element_f16(const void *packed, size_t index) { return ckv_half_float(((const uint16_t *)packed)[index]); }
static float element_bf16(const void *packed, size_t index) { return ckv_bf16_float(((const uint16_t *)packed)[index]); }

static void store(const ckv_product *p, size_t token, size_t row, float value) {
    float *out = p->out + token * p->out_stride + row;
    *out = p->accumulate ? *out + value : value;
}

static void product_float(const ckv_product *p, const ckv_format *format, element_fn element) {
    size_t bytes = format->packed_bytes(p->columns);
    for (size_t row = p->group_begin * CKV_GROUP; row < p->group_end * CKV_GROUP && row < p->rows; row++) {
        const char *group = (const char *)p->weights + row / CKV_GROUP * bytes;
        for (size_t t = 0; t < p->tokens; t++) {
            float acc = 0;
            for (size_t k = 0; k < p->columns; k++) {
                acc = __builtin_fmaf(element(group, k * CKV_GROUP + row % CKV_GROUP), p->x[t * p->columns + k], acc);
            }
            store(p, t, row, acc);
        }
    }
}

// Integer weight k of row r in a packed block's integers.
static int quant(const ckv_layout *layout, const uint8_t *quants, size_t r, size_t k) {
    const size_t n = k / 4, byte = r * 4 + k % 4;
    if (layout->bits == 8) return quants[n * 64 + byte] - layout->zero;
    if (layout->bits < 4) {
        const int low = quants[n / 4 * 64 + byte] >> 2 * (n % 4) & 3;
        return (layout->bits == 3 ? low | (quants[2 * 64 + byte] >> n & 1) << 2 : low) - layout->zero;
    }
    int q = quants[n % 4 * 64 + byte] >> (n < 4 ? 0 : 4) & 15;
    if (layout->values != NULL) return layout->values[q] - layout->zero;
    if (layout->bits == 5) q |= (quants[4 * 64 + byte] >> n & 1) << 4;
    if (layout->bits == 6) q |= (quants[(4 + n / 4) * 64 + byte] >> 2 * (n % 4) & 3) << 4;
    return q - layout->zero;
}

// A block's scale and minimum: pieces of row r, the block's bytes at `bytes`.
static float block_scale(const ckv_layout *layout, const uint8_t *span, const uint8_t *bytes, size_t r) {
    if (layout->scaling == scaling_exponent) return ckv_power(bytes[0]);
    const float d = ckv_half_float(ckv_load16(span + 2 * r));
    if (layout->scaling == scaling_block) return d * (float)bytes[0];
    return layout->scaling == scaling_signed ? d * (float)(int8_t)bytes[0] : d;
}

static float block_minimum(const ckv_layout *layout, const uint8_t *span, const uint8_t *bytes, size_t r) {
    const float m = ckv_half_float(ckv_load16(span + 2 * (CKV_GROUP + r)));
    if (layout->scaling == scaling_nibbles) return -m;
    return layout->scaling == scaling_block ? -(m * (float)bytes[CKV_GROUP]) : m;
}

static void product_int8(const ckv_product *p, const int kind) {
    const ckv_layout *layout = &ckv_layouts[kind];
    const size_t blocks = p->columns / CKV_BLOCK, span_blocks = (size_t)layout->blocks;
    const size_t group_bytes = ckv_spans_bytes(layout, p->columns);
    for (size_t row = p->group_begin * CKV_GROUP; row < p->group_end * CKV_GROUP && row < p->rows; row++) {
        const uint8_t *group = (const uint8_t *)p->weights + row / CKV_GROUP * group_bytes;
        const size_t r = row % CKV_GROUP;
        for (size_t t = 0; t < p->tokens; t++) {
            float acc = 0, off = 0;
            for (size_t b = 0; b < blocks; b++) {
                const uint8_t *span = group + b / span_blocks * ckv_span_bytes(layout);
                const uint8_t *bytes = span + ckv_head_offset(layout, b % span_blocks) + r;
                const uint8_t *quants = span + ckv_head_bytes(layout) + b % span_blocks * ckv_quant_bytes(layout);
                const int8_t *values = p->values + t * p->columns + b * CKV_BLOCK;
                int32_t halves[2] = {0, 0};
                for (size_t k = 0; k < CKV_BLOCK; k++) halves[k / 16] += quant(layout, quants, r, k) * values[k];
                int32_t sum = halves[0] + halves[1];
                if (layout->scaling == scaling_halves) {
                    sum = (int8_t)bytes[0] * halves[0] + (int8_t)bytes[CKV_GROUP] * halves[1];
                } else if (layout->scaling == scaling_nibbles) {
                    sum = (bytes[0] & 15) * halves[0] + (bytes[CKV_GROUP] & 15) * halves[1];
                }
                const float scale = block_scale(layout, span, bytes, r) * p->scales[t * blocks + b];
                acc = __builtin_fmaf((float)sum, scale, acc);
                if (!layout->minima) continue;
                const float m = block_minimum(layout, span, bytes, r);
                if (layout->scaling == scaling_nibbles) {
                    const ckv_sums sums = p->sums[t * blocks + b];
                    const int32_t both = (bytes[0] >> 4) * sums.first + (bytes[CKV_GROUP] >> 4) * sums.second;
                    off = __builtin_fmaf((float)both, m * p->scales[t * blocks + b], off);
                } else {
                    off = __builtin_fmaf(m, p->offsets[t * blocks + b], off);
                }
            }
            store(p, t, row, layout->minima ? acc + off : acc);
        }
    }
}

static void product_f32(const ckv_product *p) { product_float(p, ckv_format_of(CKV_F32), element_f32); }
static void product_f16(const ckv_product *p) { product_float(p, ckv_format_of(CKV_F16), element_f16); }
static void product_bf16(const ckv_product *p) { product_float(p, ckv_format_of(CKV_BF16), element_bf16); }
static void product_q4_0(const ckv_product *p) { product_int8(p, kind_q4_0); }
static void product_q4_1(const ckv_product *p) { product_int8(p, kind_q4_1); }
static void product_q5_0(const ckv_product *p) { product_int8(p, kind_q5_0); }
static void product_q5_1(const ckv_product *p) { product_int8(p, kind_q5_1); }
static void product_q8_0(const ckv_product *p) { product_int8(p, kind_q8_0); }
static void product_q4_k(const ckv_product *p) { product_int8(p, kind_q4_k); }
static void product_q5_k(const ckv_product *p) { product_int8(p, kind_q5_k); }
static void product_q6_k(const ckv_product *p) { product_int8(p, kind_q6_k); }
static void product_q2_k(const ckv_product *p) { product_int8(p, kind_q2_k); }
static void product_q3_k(const ckv_product *p) { product_int8(p, kind_q3_k); }
static void product_iq4_nl(const ckv_product *p) { product_int8(p, kind_iq4_nl); }
static void product_iq4_xs(const ckv_product *p) { product_int8(p, kind_iq4_xs); }
static void product_mxfp4(const ckv_product *p) { product_int8(p, kind_mxfp4); }

static void quantise(const float *x, size_t n, int8_t *values, float *scales, ckv_sums *sums, float *offsets) {
    for (size_t b = 0; b < n / CKV_BLOCK; b++) {
        const float *block = x + b * CKV_BLOCK;
        uint32_t largest = 0;
        for (int i = 0; i < CKV_BLOCK; i++) {
            uint32_t magnitude = ckv_float_bits(block[i]) & 0x7FFFFFFF;
            if (magnitude > largest) largest = magnitude;
        }
        float factor = quantise_factor(largest);
        int32_t halves[2] = {0, 0}, square = 0;
        float part[8] = {0};
        for (int i = 0; i < CKV_BLOCK; i++) {
            // Without a factor, zero: an infinity times zero would be no number.
            int8_t value = factor == 0 ? 0 : (int8_t)__builtin_rintf(block[i] * factor);
            values[b * CKV_BLOCK + i] = value;
            halves[i / 16] += value;
            square += value * value;
            part[i % 8] = __builtin_fmaf(block[i], (float)value, part[i % 8]);
        }
        float matched = ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]));
        scales[b] = quantise_scale(largest, matched, square);
        sums[b] = (ckv_sums){(int16_t)halves[0], (int16_t)halves[1]};
        offsets[b] = scales[b] * (float)(halves[0] + halves[1]);
    }
}

static void to_half(const float *x, size_t n, uint16_t *out) {
    for (size_t i = 0; i < n; i++) out[i] = ckv_float_half(x[i]);
}

static void from_half(const uint16_t *x, size_t n, float *out) {
    for (size_t i = 0; i < n; i++) out[i] = ckv_half_float(x[i]);
}

// ------------------------------------------------------------------------------------------------ attention

static float cached(const ckv_attention *p, const void *rows, size_t position, size_t element) {
    size_t index = position * p->kv_stride + element;
    return p->half ? ckv_half_float(((const uint16_t *)rows)[index]) : ((const float *)rows)[index];
}

// One query's part of one key block: a[head_dim], then m and l.
static void attention_block(const ckv_attention *p, size_t token, size_t member, size_t block, float *a) {
    const float *query = p->query + token * p->query_stride + member * p->head_dim;
    size_t first = block * CKV_KEYS, last = p->position + token, seen = ckv_first_key(p, token);
    size_t count = last - first < CKV_KEYS ? last - first + 1 : CKV_KEYS;
    size_t begin = seen > first ? seen - first : 0;
    float scores[CKV_KEYS], largest = -__builtin_inff();
    for (size_t k = begin; k < count; k++) {
        float acc = 0;
        for (size_t d = 0; d < p->head_dim; d++) {
            float q = query[d] * p->scale;
            acc = __builtin_fmaf(q, cached(p, p->key, first + k, d), acc);
        }
        if (p->softcap != 0) acc = p->softcap * ckv_tanh_inline(acc * (1.0f / p->softcap));
        scores[k] = acc;
        if (acc > largest) largest = acc;
    }
    float part[8] = {0};
    for (size_t k = begin; k < count; k++) {
        scores[k] = ckv_exp_inline(scores[k] - largest);
        part[k % 8] = part[k % 8] + scores[k];
    }
    for (size_t d = 0; d < p->head_dim; d++) {
        float acc = 0;
        for (size_t k = begin; k < count; k++) acc = __builtin_fmaf(scores[k], cached(p, p->value, first + k, d), acc);
        a[d] = acc;
    }
    a[p->head_dim] = largest;
    a[p->head_dim + 1] = ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]));
}

// What a dense baseline computes beside: the keys from `begin` on that the query does not see, masked. The sum, of zeros, goes to the
// scratch and not into the result.
static void attention_masked(const ckv_attention *p, size_t token, size_t member, size_t begin) {
    const float *query = p->query + token * p->query_stride + member * p->head_dim;
    float *sum = p->scratch;
    for (size_t d = 0; d < p->head_dim; d++) sum[d] = 0;
    for (size_t k = begin; k < p->keys; k++) {
        float acc = 0;
        for (size_t d = 0; d < p->head_dim; d++) acc = __builtin_fmaf(query[d] * p->scale, cached(p, p->key, k, d), acc);
        if (p->softcap != 0) acc = p->softcap * ckv_tanh_inline(acc * (1.0f / p->softcap));
        const float weight = ckv_exp_inline(acc + -__builtin_inff());
        for (size_t d = 0; d < p->head_dim; d++) sum[d] = __builtin_fmaf(weight, cached(p, p->value, k, d), sum[d]);
    }
}

// Merges the next block's part into (a, m, l).
static void attention_join(float *state, const float *part, size_t head_dim) {
    float m = state[head_dim], mb = part[head_dim], n = m > mb ? m : mb;
    float c = ckv_exp_inline(m - n), cb = ckv_exp_inline(mb - n);
    for (size_t d = 0; d < head_dim; d++) {
        float scaled = part[d] * cb;
        state[d] = __builtin_fmaf(state[d], c, scaled);
    }
    float scaled = part[head_dim + 1] * cb;
    state[head_dim + 1] = __builtin_fmaf(state[head_dim + 1], c, scaled);
    state[head_dim] = n;
}

static void attention(const ckv_attention *p) {
    float state[258], part[258];
    for (size_t t = 0; t < p->tokens; t++) {
        for (size_t h = 0; h < p->group; h++) {
            const size_t first = ckv_first_key(p, t) / CKV_KEYS;
            attention_block(p, t, h, first, state);
            for (size_t b = first + 1; b <= (p->position + t) / CKV_KEYS; b++) {
                attention_block(p, t, h, b, part);
                attention_join(state, part, p->head_dim);
            }
            float *out = p->out + t * p->out_stride + h * p->head_dim;
            for (size_t d = 0; d < p->head_dim; d++) out[d] = state[d] / state[p->head_dim + 1];
            attention_masked(p, t, h, p->position + t + 1);
        }
    }
}

static void attention_partial(const ckv_attention *p, size_t begin, size_t end, float *partials) {
    const size_t first = ckv_first_block(p);
    for (size_t b = begin > first ? begin : first; b < end; b++) {
        for (size_t h = 0; h < p->group; h++) {
            attention_block(p, 0, h, b, partials + (b * p->group + h) * (p->head_dim + 2));
        }
    }
}

static void attention_merge(const float *partials, size_t blocks, size_t stride, size_t head_dim, float *out) {
    float state[258];
    memcpy(state, partials, (head_dim + 2) * sizeof(float));
    for (size_t b = 1; b < blocks; b++) attention_join(state, partials + b * stride, head_dim);
    for (size_t d = 0; d < head_dim; d++) out[d] = state[d] / state[head_dim + 1];
}
