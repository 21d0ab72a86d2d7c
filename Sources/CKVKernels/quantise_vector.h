// Activation quantisation, on vectors of 8 of any table's width, and conversions.
#include "quantise.h"

typedef int32_t vec8_i32 __attribute__((vector_size(32)));
typedef int32_t vec32_i32 __attribute__((vector_size(128)));
typedef int8_t vec32_i8 __attribute__((vector_size(32)));

static void quantise(const float *x, size_t n, int8_t *values, float *scales, ckv_sums *sums, float *offsets) {
    // As in ckv_exp: adding this rounds to nearest even, and the low bits are then the integer.
    const float magic = CKV_EXP_MAGIC;
    for (size_t b = 0; b < n / CKV_BLOCK; b++) {
        vec8 v[4], matched = {0};
        vec8_i32 q[4], top = {0}, squares = {0};
        for (int i = 0; i < 4; i++) {
            v[i] = vec8_load(x + b * CKV_BLOCK + 8 * i);
            top = __builtin_elementwise_max(top, (vec8_i32)v[i] & 0x7FFFFFFF);
        }
        const uint32_t largest = (uint32_t)__builtin_reduce_max(top);
        const float factor = quantise_factor(largest);
        // An infinity times zero would be no number: such a block's values are zeros.
        if (factor == 0) {
            memset(values + b * CKV_BLOCK, 0, CKV_BLOCK);
            scales[b] = offsets[b] = quantise_scale(largest, 0, 0);
            sums[b] = (ckv_sums){0, 0};
            continue;
        }
        for (int i = 0; i < 4; i++) {
            const vec8 scaled = v[i] * factor;
            q[i] = (vec8_i32)(scaled + magic) - (int32_t)ckv_float_bits(magic);
            squares += q[i] * q[i];
            matched = __builtin_elementwise_fma(v[i], __builtin_convertvector(q[i], vec8), matched);
        }
        vec32_i32 all;
        memcpy(&all, q, sizeof all);
        const vec32_i8 bytes = __builtin_convertvector(all, vec32_i8);
        memcpy(values + b * CKV_BLOCK, &bytes, sizeof bytes);
        scales[b] = quantise_scale(largest, vec8_fold(matched), __builtin_reduce_add(squares));
        const int32_t first = __builtin_reduce_add(q[0] + q[1]), second = __builtin_reduce_add(q[2] + q[3]);
        sums[b] = (ckv_sums){(int16_t)first, (int16_t)second};
        offsets[b] = scales[b] * (float)(first + second);
    }
}

static void to_half(const float *x, size_t n, uint16_t *out) {
    size_t i = 0;
    for (; i + CKV_LANES <= n; i += CKV_LANES) {
        const vec_half half = __builtin_convertvector(vec_load(x + i), vec_half);
        memcpy(out + i, &half, sizeof half);
    }
    for (; i < n; i++) out[i] = ckv_float_half(x[i]);
}

static void from_half(const uint16_t *x, size_t n, float *out) {
    size_t i = 0;
    for (; i + CKV_LANES <= n; i += CKV_LANES) vec_store(out + i, vec_f16(x + i));
    for (; i < n; i++) out[i] = ckv_half_float(x[i]);
}
