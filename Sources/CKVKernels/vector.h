// Vectors of CKV_LANES floats (defined by the including file), for kernels that are written once for every width.
#ifndef CKV_VECTOR_H
#define CKV_VECTOR_H

#include <string.h>

#include "ckv_kernels.h"
#include "erf.h"
#include "exp.h"

#define CKV_INLINE static inline __attribute__((always_inline))
typedef float vec __attribute__((vector_size(CKV_LANES * 4)));
typedef int32_t vec_i32 __attribute__((vector_size(CKV_LANES * 4)));
typedef uint32_t vec_u32 __attribute__((vector_size(CKV_LANES * 4)));
typedef uint16_t vec_u16 __attribute__((vector_size(CKV_LANES * 2)));
typedef _Float16 vec_half __attribute__((vector_size(CKV_LANES * 2)));
typedef float vec8 __attribute__((vector_size(32)));
typedef float vec4 __attribute__((vector_size(16)));
typedef int32_t vec4_i32 __attribute__((vector_size(16)));

CKV_INLINE vec vec_load(const float *p) {
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}
CKV_INLINE void vec_store(float *p, vec v) { memcpy(p, &v, sizeof v); }
CKV_INLINE vec8 vec8_load(const float *p) {
    vec8 v;
    memcpy(&v, p, sizeof v);
    return v;
}
CKV_INLINE vec vec_all(float x) { return x - (vec){0}; }
CKV_INLINE vec vec_fma(vec a, vec b, vec c) { return __builtin_elementwise_fma(a, b, c); }
// a > b ? a : b in every lane: where one is no number, b. (One instruction on x86.)
CKV_INLINE vec vec_max(vec a, vec b) {
    const vec_i32 first = a > b;
    return (vec)(((vec_i32)a & first) | ((vec_i32)b & ~first));
}
// a < b ? a : b in every lane: where one is no number, b.
CKV_INLINE vec vec_min(vec a, vec b) {
    const vec_i32 first = a < b;
    return (vec)(((vec_i32)a & first) | ((vec_i32)b & ~first));
}
CKV_INLINE vec4 vec4_max(vec4 a, vec4 b) {
    const vec4_i32 first = a > b;
    return (vec4)(((vec4_i32)a & first) | ((vec4_i32)b & ~first));
}
// CKV_LANES float16 elements, anywhere in memory.
CKV_INLINE vec vec_f16(const void *p) {
    vec_half half;
    memcpy(&half, p, sizeof half);
    return __builtin_convertvector(half, vec);
}

// The first `count` lanes only; `count` may be more than there are.
CKV_INLINE void vec_store_some(float *p, vec v, size_t count) {
    if (count >= CKV_LANES) vec_store(p, v);
    else memcpy(p, &v, count * sizeof(float));
}

#if CKV_LANES == 16
CKV_INLINE vec8 vec_low(vec v) { return __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7); }
CKV_INLINE vec8 vec_high(vec v) { return __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15); }
#else
CKV_INLINE vec8 vec_low(vec v) { return v; }
#endif
CKV_INLINE vec4 vec8_low(vec8 v) { return __builtin_shufflevector(v, v, 0, 1, 2, 3); }
CKV_INLINE vec4 vec8_high(vec8 v) { return __builtin_shufflevector(v, v, 4, 5, 6, 7); }

// The largest lane.
CKV_INLINE float vec_top(vec v) {
    vec4 a = vec8_low(vec_low(v)), b = vec8_high(vec_low(v));
#if CKV_LANES == 16
    a = vec4_max(a, vec8_low(vec_high(v)));
    b = vec4_max(b, vec8_high(vec_high(v)));
#endif
    a = vec4_max(a, b);
    a = vec4_max(a, __builtin_shufflevector(a, a, 2, 3, 2, 3));
    return a[0] > a[1] ? a[0] : a[1];
}

// ((0+4)+(2+6))+((1+5)+(3+7)).
CKV_INLINE float vec8_fold(vec8 v) {
    vec4 a = vec8_low(v) + vec8_high(v);
    a = a + __builtin_shufflevector(a, a, 2, 3, 2, 3);
    return a[0] + a[1];
}

// e^x = 2^n * (1 + r * p) in every lane, operation by operation as in exp.h.
typedef struct {
    vec power, r, p;
} vec_exp_parts;

CKV_INLINE vec_exp_parts vec_exp_split(vec x) {
    const vec magic = vec_all(CKV_EXP_MAGIC);
    vec shifted = vec_fma(x, vec_all(CKV_EXP_LOG2E), magic);
    vec n = shifted - magic;
    vec r = vec_fma(n, vec_all(-CKV_EXP_LN2_HIGH), x);
    r = vec_fma(n, vec_all(-CKV_EXP_LN2_LOW), r);
    vec p = vec_all(CKV_EXP_C7);
    p = vec_fma(p, r, vec_all(CKV_EXP_C6));
    p = vec_fma(p, r, vec_all(CKV_EXP_C5));
    p = vec_fma(p, r, vec_all(CKV_EXP_C4));
    p = vec_fma(p, r, vec_all(CKV_EXP_C3));
    p = vec_fma(p, r, vec_all(CKV_EXP_C2));
    p = vec_fma(p, r, vec_all(1));
    return (vec_exp_parts){(vec)(((vec_u32)shifted << 23) + 0x3F800000u), r, p};
}

// ckv_exp in every lane, for lanes that are at most 0 or no numbers (then a NaN comes out).
CKV_INLINE vec vec_exp_negative(vec x) {
    const vec_exp_parts e = vec_exp_split(x);
    vec y = vec_fma(e.p, e.r, vec_all(1)) * e.power;
    // What lies below is nonsense: zero. NaN compares false and stays.
    return (vec)((vec_i32)y & ~(vec_i32)(x < vec_all(CKV_EXP_LOW)));
}

// ckv_exp in every lane.
CKV_INLINE vec vec_exp(vec x) {
    const vec_i32 over = x > vec_all(CKV_EXP_HIGH);
    return (vec)(((vec_i32)vec_exp_negative(x) & ~over) | ((vec_i32)vec_all(__builtin_inff()) & over));
}

// ckv_tanh in every lane.
CKV_INLINE vec vec_tanh(vec x) {
    const vec_u32 sign = (vec_u32)x & 0x80000000u;
    const vec_exp_parts e = vec_exp_split(vec_max(vec_all(CKV_TANH_LOW), (vec)((vec_u32)x ^ sign) * -2.0f));
    const vec scaled = e.power * e.r, less = vec_fma(scaled, e.p, e.power - 1.0f);
    const vec t = less / (-2.0f - less);
    return (vec)(((vec_u32)t & 0x7FFFFFFFu) | sign);
}

// ckv_erf in every lane, operation by operation as in erf.h.
CKV_INLINE vec vec_erf(vec x) {
    const vec_u32 sign = (vec_u32)x & 0x80000000u;
    const vec a = vec_min(vec_all(CKV_ERF_TOP), (vec)((vec_u32)x ^ sign)), u = a * a;
    vec p = vec_all(CKV_ERF_P5), q = vec_all(CKV_ERF_Q5);
    p = vec_fma(p, u, vec_all(CKV_ERF_P4));
    q = vec_fma(q, u, vec_all(CKV_ERF_Q4));
    p = vec_fma(p, u, vec_all(CKV_ERF_P3));
    q = vec_fma(q, u, vec_all(CKV_ERF_Q3));
    p = vec_fma(p, u, vec_all(CKV_ERF_P2));
    q = vec_fma(q, u, vec_all(CKV_ERF_Q2));
    p = vec_fma(p, u, vec_all(CKV_ERF_P1));
    q = vec_fma(q, u, vec_all(CKV_ERF_Q1));
    p = vec_fma(p, u, vec_all(CKV_ERF_P0));
    q = vec_fma(q, u, vec_all(1));
    const vec y = vec_min(vec_all(1), a * p / q);
    return (vec)(((vec_u32)y & 0x7FFFFFFFu) | sign);
}

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

#endif
