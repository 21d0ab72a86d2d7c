// erf x in operations that every instruction set has: all tables take the same steps, so all give the same bits.
#ifndef CKV_ERF_H
#define CKV_ERF_H

#include "half.h"

// From here on erf is 1 in float.
#define CKV_ERF_TOP 3.93f
// erf x = x * P(x^2) / Q(x^2) on 0 ... CKV_ERF_TOP: the fit with the least relative error (2e-8, a third of a float's rounding) of this degree.
#define CKV_ERF_P0 1.128379145f
#define CKV_ERF_P1 1.907711288e-1f
#define CKV_ERF_P2 5.278835279e-2f
#define CKV_ERF_P3 3.778979397e-3f
#define CKV_ERF_P4 2.847804796e-4f
#define CKV_ERF_P5 2.041894384e-6f
#define CKV_ERF_Q1 5.023992346e-1f
#define CKV_ERF_Q2 1.142520389e-1f
#define CKV_ERF_Q3 1.499620723e-2f
#define CKV_ERF_Q4 1.165032787e-3f
#define CKV_ERF_Q5 3.800179548e-5f

// A NaN stays: it compares false.
static inline float ckv_erf_inline(float x) {
    const uint32_t sign = ckv_float_bits(x) & 0x80000000u;
    float a = ckv_bits_float(ckv_float_bits(x) ^ sign);
    a = CKV_ERF_TOP < a ? CKV_ERF_TOP : a;
    const float u = a * a;
    float p = CKV_ERF_P5, q = CKV_ERF_Q5;
    p = __builtin_fmaf(p, u, CKV_ERF_P4);
    q = __builtin_fmaf(q, u, CKV_ERF_Q4);
    p = __builtin_fmaf(p, u, CKV_ERF_P3);
    q = __builtin_fmaf(q, u, CKV_ERF_Q3);
    p = __builtin_fmaf(p, u, CKV_ERF_P2);
    q = __builtin_fmaf(q, u, CKV_ERF_Q2);
    p = __builtin_fmaf(p, u, CKV_ERF_P1);
    q = __builtin_fmaf(q, u, CKV_ERF_Q1);
    p = __builtin_fmaf(p, u, CKV_ERF_P0);
    q = __builtin_fmaf(q, u, 1.0f);
    float y = a * p / q;
    y = 1.0f < y ? 1.0f : y;
    return ckv_bits_float((ckv_float_bits(y) & 0x7FFFFFFFu) | sign);
}

#endif
