// What every table's quantise shares.
#ifndef CKV_QUANTISE_H
#define CKV_QUANTISE_H

#include "ckv_kernels.h"
#include "half.h"

// The factor that makes int8 values of a block's floats; 0 where every value is to be 0. `largest` is the greatest of the block's bit
// patterns without their signs: these order as the magnitudes do, and a NaN, which a maximum of floats may lose, comes out on top.
static inline float quantise_factor(uint32_t largest) {
    float a = ckv_bits_float(largest);
    return largest >= 0x7F800000 || a < 1e-30f ? 0 : CKV_LEVELS / a;
}

// The scale with the least squared error; NaN for a block with an infinity or NaN, so that a fault stays one.
static inline float quantise_scale(uint32_t largest, float matched, int32_t square) {
    if (largest >= 0x7F800000) return ckv_bits_float(0x7FC00000);
    return square == 0 ? 0 : matched / (float)square;
}

#endif
