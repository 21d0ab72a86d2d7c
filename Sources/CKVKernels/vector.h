// Vectors of CKV_LANES floats (defined by the including file, with vec_f16 below) and the micro-kernel that float products and attention share.
#include <string.h>

#include "ckv_kernels.h"
#include "exp.h"

#define CKV_INLINE static inline __attribute__((always_inline))
typedef float vec __attribute__((vector_size(CKV_LANES * 4)));
typedef uint32_t vec_u32 __attribute__((vector_size(CKV_LANES * 4)));
typedef uint16_t vec_u16 __attribute__((vector_size(CKV_LANES * 2)));

CKV_INLINE vec vec_load(const float *p) {
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}
CKV_INLINE void vec_store(float *p, vec v) { memcpy(p, &v, sizeof v); }
CKV_INLINE vec vec_all(float x) { return x - (vec){0}; }
CKV_INLINE vec vec_fma(vec a, vec b, vec c) { return __builtin_elementwise_fma(a, b, c); }

// Loads CKV_LANES elements from `p`.
typedef vec (*load_fn)(const void *p);
CKV_INLINE vec load_f32(const void *p) { return vec_load(p); }
CKV_INLINE vec load_f16(const void *p) { return vec_f16(p); }
CKV_INLINE vec load_bf16(const void *p) {
    vec_u16 half;
    memcpy(&half, p, sizeof half);
    vec_u32 bits = __builtin_convertvector(half, vec_u32) << 16;
    return (vec)bits;
}

// c[i][j] = sum over k ascending of a[i * lda + k] * bj[k], a row of b being CKV_LANES elements and `ldb` bytes from the next.
CKV_INLINE void tile_product(
    const int rows, const float *a, size_t lda, load_fn load, const char *b0, const char *b1, size_t ldb, size_t depth, vec c[][2]
) {
    for (int i = 0; i < rows; i++) c[i][0] = c[i][1] = (vec){0};
    for (size_t k = 0; k < depth; k++) {
        vec w0 = load(b0 + k * ldb), w1 = load(b1 + k * ldb);
        for (int i = 0; i < rows; i++) {
            vec x = vec_all(a[i * lda + k]);
            c[i][0] = vec_fma(w0, x, c[i][0]);
            c[i][1] = vec_fma(w1, x, c[i][1]);
        }
    }
}

// Writes a token's outputs from `row` on, as far as the matrix has rows.
CKV_INLINE void product_store(const ckv_product *p, size_t token, size_t row, vec value) {
    if (row >= p->rows) return;
    float *out = p->out + token * p->out_stride + row;
    if (p->rows - row >= CKV_LANES) {
        vec_store(out, p->accumulate ? vec_load(out) + value : value);
        return;
    }
    float lanes[CKV_LANES];
    vec_store(lanes, value);
    for (size_t i = 0; i < p->rows - row; i++) out[i] = p->accumulate ? out[i] + lanes[i] : lanes[i];
}
