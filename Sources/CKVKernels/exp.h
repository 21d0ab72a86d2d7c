// e^x in operations that every instruction set has: all tables take the same steps, so all give the same bits.
#ifndef CKV_EXP_H
#define CKV_EXP_H

#include "half.h"

// Where 2^n is the smallest normal, and where n becomes 128.
#define CKV_EXP_LOW -87.336544f
#define CKV_EXP_HIGH 88.376259f
#define CKV_EXP_LOG2E 1.44269504f
// Adding 1.5 * 2^23 rounds to an integer, whose bits are then the low ones of the sum.
#define CKV_EXP_MAGIC 12582912.0f
// ln 2 in two parts; the first has trailing zeros, so that n times it is exact.
#define CKV_EXP_LN2_HIGH 0.693145752f
#define CKV_EXP_LN2_LOW 1.42860677e-6f
// Taylor's coefficients 1/2! ... 1/7!: on |r| <= ln(2) / 2 the rest is below a tenth of an ulp.
#define CKV_EXP_C2 0.5f
#define CKV_EXP_C3 1.66666667e-1f
#define CKV_EXP_C4 4.16666667e-2f
#define CKV_EXP_C5 8.33333333e-3f
#define CKV_EXP_C6 1.38888889e-3f
#define CKV_EXP_C7 1.98412698e-4f

// tanh is 1 long before 2 x is this.
#define CKV_TANH_LOW -40.0f

// e^x = 2^n * (1 + r * p)
typedef struct {
    float power, r, p;
} ckv_exp_parts;

// For x where 2^n is a normal number.
static inline ckv_exp_parts ckv_exp_split(float x) {
    float shifted = __builtin_fmaf(x, CKV_EXP_LOG2E, CKV_EXP_MAGIC);
    float n = shifted - CKV_EXP_MAGIC;
    float r = __builtin_fmaf(n, -CKV_EXP_LN2_HIGH, x);
    r = __builtin_fmaf(n, -CKV_EXP_LN2_LOW, r);
    float p = CKV_EXP_C7;
    p = __builtin_fmaf(p, r, CKV_EXP_C6);
    p = __builtin_fmaf(p, r, CKV_EXP_C5);
    p = __builtin_fmaf(p, r, CKV_EXP_C4);
    p = __builtin_fmaf(p, r, CKV_EXP_C3);
    p = __builtin_fmaf(p, r, CKV_EXP_C2);
    p = __builtin_fmaf(p, r, 1.0f);
    // 2^n through the exponent bits (the magic number's own are shifted out); n is -126 ... 127.
    return (ckv_exp_parts){ckv_bits_float((ckv_float_bits(shifted) << 23) + 0x3F800000u), r, p};
}

static inline float ckv_exp_inline(float x) {
    if (x != x) return x;
    if (x < CKV_EXP_LOW) return 0;
    if (x > CKV_EXP_HIGH) return __builtin_inff();
    const ckv_exp_parts e = ckv_exp_split(x);
    return __builtin_fmaf(e.p, e.r, 1.0f) * e.power;
}

// With e = e^(-2|x|) - 1, which loses nothing where it is small: tanh |x| = -e / (2 + e).
static inline float ckv_tanh_inline(float x) {
    const uint32_t sign = ckv_float_bits(x) & 0x80000000u;
    float y = -2.0f * ckv_bits_float(ckv_float_bits(x) ^ sign);
    // A NaN stays.
    y = CKV_TANH_LOW > y ? CKV_TANH_LOW : y;
    const ckv_exp_parts e = ckv_exp_split(y);
    const float scaled = e.power * e.r, less = __builtin_fmaf(scaled, e.p, e.power - 1.0f);
    const float t = less / (-2.0f - less);
    return ckv_bits_float((ckv_float_bits(t) & 0x7FFFFFFFu) | sign);
}

#endif
