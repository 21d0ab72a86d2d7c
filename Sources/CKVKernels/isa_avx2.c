// AVX2 with FMA and F16C: 8 rows a vector, a group of 16 is two.
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>

#pragma STDC FP_CONTRACT OFF
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)

#define CKV_LANES 8
#define CKV_TILE 6
static inline __attribute__((always_inline)) __m256 vec_f16(const void *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}
#include "vector.h"
#include "elementwise.h"
#include "gemm_float.h"
#include "x86.h"
#include "attention.h"

#define CKV_INT8_TILE 4
#define CKV_INT8_GROUPS 1

CKV_INLINE __m256i activation_4(const int8_t *p) {
    int32_t four;
    memcpy(&four, p, 4);
    return _mm256_set1_epi32(four);
}

CKV_INLINE void int8_tile(
    const int tokens, const int groups, const int kind, const ckv_product *p, const uint8_t *weights, size_t group_bytes, size_t row,
    size_t token
);
#include "product_int8.h"

// 4-bit weights: sums of a whole block fit int16, as 15 * 127 * 2 * 8 < 32,768.
CKV_INLINE void dot_4bit(
    const int tokens, const uint8_t *block, const int8_t *values, size_t columns, __m256i sum[][2]
) {
    const __m256i low = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
    for (int t = 0; t < tokens; t++) sum[t][0] = sum[t][1] = _mm256_setzero_si256();
    for (int j = 0; j < 4; j++) {
        __m256i low0 = _mm256_loadu_si256((const __m256i *)(block + 64 * j));
        __m256i low1 = _mm256_loadu_si256((const __m256i *)(block + 64 * j + 32));
        __m256i high0 = _mm256_and_si256(_mm256_srli_epi16(low0, 4), low);
        __m256i high1 = _mm256_and_si256(_mm256_srli_epi16(low1, 4), low);
        low0 = _mm256_and_si256(low0, low);
        low1 = _mm256_and_si256(low1, low);
        for (int t = 0; t < tokens; t++) {
            __m256i a = activation_4(values + t * columns + 4 * j);
            sum[t][0] = _mm256_add_epi16(sum[t][0], _mm256_maddubs_epi16(low0, a));
            sum[t][1] = _mm256_add_epi16(sum[t][1], _mm256_maddubs_epi16(low1, a));
            a = activation_4(values + t * columns + 16 + 4 * j);
            sum[t][0] = _mm256_add_epi16(sum[t][0], _mm256_maddubs_epi16(high0, a));
            sum[t][1] = _mm256_add_epi16(sum[t][1], _mm256_maddubs_epi16(high1, a));
        }
    }
    for (int t = 0; t < tokens; t++) {
        sum[t][0] = _mm256_madd_epi16(sum[t][0], ones);
        sum[t][1] = _mm256_madd_epi16(sum[t][1], ones);
    }
}

// 8-bit weights: their magnitudes are the unsigned operand, their signs go to the activations; 128 * 127 * 2 fits int16.
CKV_INLINE void dot_8bit(
    const int tokens, const uint8_t *block, const int8_t *values, size_t columns, __m256i sum[][2]
) {
    const __m256i ones = _mm256_set1_epi16(1);
    for (int t = 0; t < tokens; t++) sum[t][0] = sum[t][1] = _mm256_setzero_si256();
    for (int j = 0; j < 8; j++) {
        __m256i w0 = _mm256_loadu_si256((const __m256i *)(block + 64 * j));
        __m256i w1 = _mm256_loadu_si256((const __m256i *)(block + 64 * j + 32));
        __m256i m0 = _mm256_abs_epi8(w0), m1 = _mm256_abs_epi8(w1);
        for (int t = 0; t < tokens; t++) {
            __m256i a = activation_4(values + t * columns + 4 * j);
            __m256i p0 = _mm256_maddubs_epi16(m0, _mm256_sign_epi8(a, w0)), p1 = _mm256_maddubs_epi16(m1, _mm256_sign_epi8(a, w1));
            sum[t][0] = _mm256_add_epi32(sum[t][0], _mm256_madd_epi16(p0, ones));
            sum[t][1] = _mm256_add_epi32(sum[t][1], _mm256_madd_epi16(p1, ones));
        }
    }
}

CKV_INLINE void int8_tile(
    const int tokens, const int groups, const int kind, const ckv_product *p, const uint8_t *weights, size_t group_bytes, size_t row,
    size_t token
) {
    (void)groups, (void)group_bytes;
    const size_t blocks = p->columns / CKV_BLOCK, block_bytes = int8_block_bytes(kind), head = int8_head_bytes(kind);
    const int8_t *values = p->values + token * p->columns;
    const float *scales = p->scales + token * blocks, *offsets = p->offsets + token * blocks;
    const int32_t *sums = p->sums + token * blocks;
    __m256 acc[CKV_INT8_TILE][2], off[CKV_INT8_TILE][2];
    for (int t = 0; t < tokens; t++) acc[t][0] = acc[t][1] = off[t][0] = off[t][1] = _mm256_setzero_ps();
    if (kind == kind_q4_1) {
        for (size_t b = 0; b < blocks; b++) {
            const uint8_t *minima = weights + b * block_bytes + 2 * CKV_GROUP;
            __m256 m0 = vec_f16(minima), m1 = vec_f16(minima + 16);
            for (int t = 0; t < tokens; t++) {
                __m256 offset = _mm256_set1_ps(offsets[t * blocks + b]);
                off[t][0] = _mm256_fmadd_ps(m0, offset, off[t][0]);
                off[t][1] = _mm256_fmadd_ps(m1, offset, off[t][1]);
            }
        }
    }
    for (size_t b = 0; b < blocks; b++) {
        const uint8_t *block = weights + b * block_bytes;
        __m256i sum[CKV_INT8_TILE][2];
        if (kind == kind_q8_0) dot_8bit(tokens, block + head, values + b * CKV_BLOCK, p->columns, sum);
        else dot_4bit(tokens, block + head, values + b * CKV_BLOCK, p->columns, sum);
        __m256 d0 = vec_f16(block), d1 = vec_f16(block + 16);
        for (int t = 0; t < tokens; t++) {
            if (kind == kind_q4_0) {
                // The offset of 8, exact.
                __m256i excess = _mm256_set1_epi32(8 * sums[t * blocks + b]);
                sum[t][0] = _mm256_sub_epi32(sum[t][0], excess);
                sum[t][1] = _mm256_sub_epi32(sum[t][1], excess);
            }
            __m256 scale = _mm256_set1_ps(scales[t * blocks + b]);
            acc[t][0] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[t][0]), _mm256_mul_ps(d0, scale), acc[t][0]);
            acc[t][1] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[t][1]), _mm256_mul_ps(d1, scale), acc[t][1]);
        }
    }
    for (int t = 0; t < tokens; t++) {
        for (int v = 0; v < 2; v++) {
            __m256 value = kind == kind_q4_1 ? _mm256_add_ps(acc[t][v], off[t][v]) : acc[t][v];
            product_store(p, token + t, row + v * CKV_LANES, value);
        }
    }
}

static bool supported(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

#pragma clang attribute pop
#include "table.h"
CKV_TABLE(ckv_table_avx2, "avx2", supported);
#endif
