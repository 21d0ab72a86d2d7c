// e^x in operations that every instruction set has: all tables include this, so all give the same bits.
#ifndef CKV_EXP_H
#define CKV_EXP_H

#include "half.h"

// Branch-free, so that loops over it vectorise.
static inline float ckv_exp_inline(float x) {
    const float low = -87.336544f, high = 88.376259f;
    // Out-of-range and NaN inputs take a harmless way through and are replaced at the end.
    float inside = x > low ? x : low;
    inside = inside < high ? inside : high;
    // Adding 1.5 * 2^23 rounds to an integer, whose bits are then the low ones of the sum.
    float shifted = __builtin_fmaf(inside, 1.44269504f, 12582912.0f);
    float n = shifted - 12582912.0f;
    float r = __builtin_fmaf(n, -0.693145752f, inside);
    r = __builtin_fmaf(n, -1.42860677e-6f, r);
    float p = 1.98412698e-4f;
    p = __builtin_fmaf(p, r, 1.38888889e-3f);
    p = __builtin_fmaf(p, r, 8.33333333e-3f);
    p = __builtin_fmaf(p, r, 4.16666667e-2f);
    p = __builtin_fmaf(p, r, 1.66666667e-1f);
    p = __builtin_fmaf(p, r, 0.5f);
    p = __builtin_fmaf(p, r, 1.0f);
    p = __builtin_fmaf(p, r, 1.0f);
    // 2^n through the exponent bits; n is -126 ... 127.
    float scale = ckv_bits_float((ckv_float_bits(shifted) - 0x4B400000u + 127u) << 23);
    float y = p * scale;
    y = x < low ? 0.0f : y;
    y = x > high ? __builtin_inff() : y;
    return x == x ? y : x;
}

#endif
