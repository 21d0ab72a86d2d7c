// The kernels' one header: weight formats, and one table of kernels per instruction set.
//
// The contract that everything above rests on: EVERY TABLE GIVES THE SAME BITS. Each output element is accumulated in an order
// fixed by the format and the absolute position alone, with the float operations spelled out below (fused multiply-adds where
// `fma` is written, never elsewhere), so it does not depend on tile, batch, thread, chunk, rank or vector width. The scalar table is the
// plain reference; tests compare every other table with it by `==`.
#ifndef CKV_KERNELS_H
#define CKV_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// ---------------------------------------------------------------------------------------------- weight formats

// Rows of a weight matrix are packed in groups of this many, interleaved, so that a vector's lanes are rows.
#define CKV_GROUP 16
// Elements of one activation block: each has its own scale.
#define CKV_BLOCK 32
// What a block's largest activation becomes. With a fitted scale the error is nearly the same from 110 to 127 (4 % more here than at
// 127); among these, the default model keeps the reference's first tokens with this one, whose margins are below the int8 error.
#define CKV_LEVELS 123.85f

// GGUF's numbers of the tensor types.
enum ckv_type {
    CKV_F32 = 0,
    CKV_F16 = 1,
    CKV_Q4_0 = 2,
    CKV_Q4_1 = 3,
    CKV_Q5_0 = 6,
    CKV_Q5_1 = 7,
    CKV_Q8_0 = 8,
    CKV_Q2_K = 10,
    CKV_Q3_K = 11,
    CKV_Q4_K = 12,
    CKV_Q5_K = 13,
    CKV_Q6_K = 14,
    CKV_IQ4_NL = 20,
    CKV_IQ4_XS = 23,
    CKV_BF16 = 30,
    CKV_MXFP4 = 39,
};

// A weight format: one row of the list in formats.c, one C file each.
typedef struct ckv_format {
    uint32_t type;      // GGUF's number
    const char *name;   // "Q4_1"
    uint32_t block;     // elements of a block (1 for float formats)
    uint32_t bytes;     // bytes of a block
    bool quantised;     // takes int8 activations (gemm_int8); float formats take float ones (gemm_float)
    // Plain reference: `elements` (a multiple of `block`) weights to floats, bit for bit as ggml does.
    void (*dequantise)(const void *blocks, float *out, size_t elements);
    // Bytes of one packed group: CKV_GROUP rows of `columns` elements; always a multiple of 64.
    size_t (*packed_bytes)(size_t columns);
    // Packs rows row[0..count) (count <= CKV_GROUP; the missing ones become zeros), `row_bytes` apart, into `out`.
    void (*pack)(const void *rows, size_t row_bytes, size_t count, size_t columns, void *out);
    // Turns `elements` weights' random bits into weights with mean 0 and about this standard deviation: only scales are set (float
    // formats: the values).
    void (*synthesise)(void *blocks, size_t elements, float deviation);
    // `elements` (a multiple of `block`) floats to blocks, rounded as ggml's reference does; NULL: there is none.
    void (*quantise)(const float *x, void *blocks, size_t elements);
} ckv_format;

// The format of a GGUF type number; NULL if there is none.
const ckv_format *ckv_format_of(uint32_t type);
// All formats, for tests and help.
const ckv_format *const *ckv_formats(size_t *count);

// One row of a synthetic matrix in a format's blocks: the same bits for the same key and row, on any machine. The standard deviation is
// 1 / sqrt(columns), so that products keep their input's size.
void ckv_synthesise(const ckv_format *format, uint64_t key, size_t row, size_t columns, void *out);

// ---------------------------------------------------------------------------------------------- matrix products

// The sums of the values of an activation block's halves, of 16 each.
typedef struct ckv_sums {
    int16_t first, second;
} ckv_sums;

// One worker's part of  out[t, r] (+)= sum over k of  W[r, k] * x[t, k].
typedef struct ckv_product {
    const void *weights;   // packed, group after group, from group 0 of the matrix
    size_t rows;           // rows of the matrix (the last group may be partial: only existing rows are written)
    size_t columns;        // k; a multiple of the format's block
    size_t group_begin;    // the worker's groups of CKV_GROUP rows
    size_t group_end;
    size_t tokens;         // t
    // Float activations (gemm_float), [tokens, columns], `columns` apart.
    const float *x;
    // int8 activations (gemm_int8), [tokens, columns] and [tokens, columns / CKV_BLOCK].
    const int8_t *values;
    const float *scales;
    const ckv_sums *sums;  // of each block
    const float *offsets;  // scale * (float)(sum of the block's values)
    float *out;            // [tokens, rows], `out_stride` floats apart
    size_t out_stride;
    bool accumulate;       // out = out + product (one rounded addition) instead of out = product
} ckv_product;

// gemm_float, for each (t, r):  acc = 0;  for k ascending: acc = fma(W[r,k], x[t,k], acc).
// gemm_int8, for each (t, r), with i = the exact int32 dot product of a block's weights (as integers) and values:
//   Q4_0 (integers q-8), Q5_0 (q-16), Q8_0:  acc = 0; for blocks b ascending: acc = fma((float)i, d[r,b] * scale[t,b], acc).
//   Q4_1 (integers q, 0..15), Q5_1 (0..31):  as above, and apart from it off = 0; off = fma(m[r,b], offset[t,b], off);
//                               the product is acc + off.
//   Q4_K (0..15), Q5_K (0..31): as Q4_1, where d[r,b] = d * s and m[r,b] = -(dmin * n), exact in float, with the super-block's
//                               float16 d and dmin and the block's 6-bit scale s and minimum n.
//   Q6_K (integers q-32), Q3_K (q-4): as Q4_0 with the super-block's d, and i = s0 * i0 + s1 * i1 (exact) over the block's halves
//                               of 16 and their signed scales.
//   Q2_K (integers q, 0..3):    acc likewise, with 4-bit scales, and apart from it off = fma((float)(n0 * S0 + n1 * S1), m * scale[t,b],
//                               off) with m = -dmin, the halves' 4-bit minima n and sums S; the product is acc + off.
//   IQ4_NL, MXFP4:              as Q4_0, integers from the format's table (MXFP4's doubled, and d = 2^(e - 128)).
//   IQ4_XS:                     likewise, with d[r,b] = d * s, exact in float, s the block's signed 6-bit scale.
//   d and m are the format's float16 values widened to float; d*scale and the offset are each rounded once.
typedef void (*ckv_product_fn)(const ckv_product *);

// ---------------------------------------------------------------------------------------------- attention

// Keys are handled in blocks of this many, aligned to absolute position 0.
#define CKV_KEYS 128

// Causal attention of the query heads that share one key/value head.
typedef struct ckv_attention {
    size_t head_dim;       // 1 ... 256
    size_t group;          // query heads sharing this key/value head
    const float *query;    // [tokens, group, head_dim]; tokens `query_stride` floats apart, heads `head_dim` apart
    size_t query_stride;
    size_t tokens;
    size_t position;       // absolute position of the first query token; token t sees keys 0 ... position + t
    size_t window;         // the most keys that a token sees, its own the last of them; 0: all. Other keys and values are not read
    size_t keys;           // dense: keys 0 ... keys - 1 are computed for every query, those that it does not see with a mask; 0: left out.
                           // The same bits; only to measure by (ckv_attention_fn alone; keys before a window are left out all the same)
    const void *key;       // position 0's row of this head; float16 if `half`, else float; rows `kv_stride` elements apart
    const void *value;
    size_t kv_stride;
    bool half;
    float scale;           // of the scores; the query is multiplied by it once, rounded, before the dot products
    float softcap;         // scores s become softcap * tanh(s / softcap); 0: they stay. Not negative
    float *out;            // laid out as the query
    size_t out_stride;
    void *scratch;         // ckv_attention_scratch bytes, 64-aligned, the worker's own
} ckv_attention;

// The first key that token `token` sees.
static inline size_t ckv_first_key(const ckv_attention *p, size_t token) {
    const size_t keys = p->position + token + 1;
    return p->window && keys > p->window ? keys - p->window : 0;
}
// The first key block that the first query token meets.
static inline size_t ckv_first_block(const ckv_attention *p) { return ckv_first_key(p, 0) / CKV_KEYS; }

// For each query (token t at absolute position p, head h) with first key f = ckv_first_key, over key blocks
// b = f / CKV_KEYS ... p / CKV_KEYS:
//   s_k = chain: acc = 0; d ascending: acc = fma(q[d] * scale, k[d], acc)              (keys f <= k <= p only)
//   with a softcap, s_k = softcap * ckv_tanh(s_k * (1 / softcap)), each operation rounded
//   m_b = max s_k;  e_k = ckv_exp(s_k - m_b), 0 for masked keys of the block
//   l_b = eight partial sums by k % 8, each ascending in k, folded ((0+4)+(2+6))+((1+5)+(3+7))
//   a_b[d] = chain: acc = 0; k ascending: acc = fma(e_k, v[k,d], acc)
// merged ascending from the first block, whose (m_b, l_b, a_b) are (m, l, a); then for each next block
//   n = max(m, m_b); c = ckv_exp(m - n); c_b = ckv_exp(m_b - n); l = fma(l, c, l_b * c_b); a[d] = fma(a[d], c, a_b[d] * c_b); m = n
// and out[d] = a[d] / l.
typedef void (*ckv_attention_fn)(const ckv_attention *);
// Decode: `tokens` is 1; blocks [begin, end) leave [group, head_dim + 2] floats (a_b, then m_b, l_b) each at
// partials + (b * group) * (head_dim + 2), whatever the window; blocks before ckv_first_block are neither computed nor written.
// Once blocks ckv_first_block ... position / CKV_KEYS are there, ckv_merge_fn gives the same bits as ckv_attention_fn.
typedef void (*ckv_partial_fn)(const ckv_attention *, size_t begin, size_t end, float *partials);
// Merges `blocks` blocks (>= 1) of one head, `stride` floats apart, into out[head_dim]. The caller passes the partials from block
// ckv_first_block on, and how many blocks these are.
typedef void (*ckv_merge_fn)(const float *partials, size_t blocks, size_t stride, size_t head_dim, float *out);
// Reads `count` rows of `bytes` bytes, `step` bytes apart, one after another and to no end but to have them in the caches: what is read in
// the order of its addresses comes at the memory's speed, one head's rows among all heads' do not.
void ckv_read_rows(const void *rows, size_t count, size_t bytes, size_t step);
// Bytes of scratch for up to `tokens` query tokens.
size_t ckv_attention_scratch(size_t head_dim, size_t group, size_t tokens);

// ---------------------------------------------------------------------------------------------- tables

typedef struct ckv_table {
    const char *name;           // "scalar", "avx2", "avxvnni", "avx512", "neon"
    bool (*supported)(void);    // by this machine (CPU and kernel)
    // One entry per format, in the order of ckv_formats(); NULL where the format does not take that kind of activation.
    ckv_product_fn gemm_int8[24];
    ckv_product_fn gemm_float[24];
    // n values (a multiple of CKV_BLOCK) to int8. Per block: a = max |x| (all zero below 1e-30); value q = round to nearest even of
    // x * (CKV_LEVELS / a); scale = (sum of x * q) / (sum of q * q), which has the least squared error for these values: eight partial sums by
    // index % 8 (fma, ascending), folded as l_b above; offset = scale * (float)sum.
    // A block with an infinity or NaN has values 0 and the scale NaN.
    void (*quantise)(const float *x, size_t n, int8_t *values, float *scales, ckv_sums *sums, float *offsets);
    // out = x * s * weight with s = 1 / sqrt(mean + eps): sixteen partial sums by index % 16 (fma, ascending), folded by halves
    // (8, 4, 2, 1), mean = sum / n;  out[i] = (x[i] * s) * weight[i].
    void (*rms_norm)(const float *x, const float *weight, float eps, size_t n, float *out);
    // out = (x - mean) * s * weight + bias with mean = sum / n and s = 1 / sqrt(variance + eps): sixteen partial sums by index % 16 (ascending)
    // folded as above; likewise (fma) for the squares of d = x - mean, variance = sum / n;  out[i] = fma((x[i] - mean) * s, weight[i], bias[i]).
    void (*layer_norm)(const float *x, const float *weight, const float *bias, float eps, size_t n, float *out);
    // Rotates adjacent pairs of one head's first 2*pairs elements, in place; `angles` holds cos, sin alternating [pairs, 2]:
    // (a, b) -> (fma(a, cos, -(b * sin)), fma(a, sin, b * cos)), the inner product rounded.
    void (*rotate_pairs)(float *x, const float *angles, size_t pairs);
    // The same for halves: element i with i + pairs.
    void (*rotate_halves)(float *x, const float *angles, size_t pairs);
    // out = (gate / (1 + ckv_exp(-gate))) * up.
    void (*silu_product)(const float *gate, const float *up, size_t n, float *out);
    // out = fma(h, ckv_erf(x * sqrt(1/2)), h) with h = x / 2: the exact GELU, not its tanh form. Within 2e-7 * max(1, |x|); NaN for NaN and for
    // minus infinity.
    void (*gelu)(const float *x, size_t n, float *out);
    // out = fma(h, ckv_tanh(x * fma(x * x, CKV_GELU_CUBE, CKV_GELU_LINE)), h) with h = x / 2: GELU's tanh form (gelu_pytorch_tanh, gelu_new).
    // Within 4e-7 * max(1, |x|); NaN for NaN and for minus infinity.
    void (*gelu_tanh)(const float *x, size_t n, float *out);
    // out = gelu_tanh(gate) * up.
    void (*gelu_tanh_product)(const float *gate, const float *up, size_t n, float *out);
    // out = cap * ckv_tanh(x * (1 / cap)), each operation rounded; the inner factor once for all.
    void (*soft_cap)(const float *x, float cap, size_t n, float *out);
    // out = fma(x, factor, out).
    void (*add_scaled)(const float *x, float factor, size_t n, float *out);
    // out = a + b.
    void (*add)(const float *a, const float *b, size_t n, float *out);
    void (*to_half)(const float *x, size_t n, uint16_t *out);   // round to nearest even; NaN stays NaN
    void (*from_half)(const uint16_t *x, size_t n, float *out);
    ckv_attention_fn attention;
    ckv_partial_fn attention_partial;
    ckv_merge_fn attention_merge;
} ckv_table;

// All tables of this build, best first, the scalar one last; not all need be supported by this machine.
const ckv_table *const *ckv_tables(size_t *count);

// The matrix product of format number `format`; NULL if it does not take that kind of activation. (C arrays are tuples in Swift.)
static inline ckv_product_fn ckv_product_of(const ckv_table *table, size_t format, bool int8) {
    return int8 ? table->gemm_int8[format] : table->gemm_float[format];
}

// e^x: the polynomial every table uses; within 2 ulp, exactly 1 at 0, 0 below the smallest normal (x < -87.33), infinity above
// x = 88.37, NaN for NaN.
float ckv_exp(float x);
// tanh x from the same polynomial; within 3 ulp, never above 1, the sign of zero kept, NaN for NaN.
float ckv_tanh(float x);
// erf x, a rational function of x^2 times x; within 6 ulp (4e-7), never above 1, the sign of zero kept, NaN for NaN.
float ckv_erf(float x);

/// False if any of `count` floats is NaN or infinite. Cost: one pass.
bool ckv_all_finite(const float *x, size_t count);

#endif
