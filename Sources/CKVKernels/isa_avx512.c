// AVX-512 with VNNI: 16 rows a vector.
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>

#pragma STDC FP_CONTRACT OFF
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c"))), apply_to = function)

#define CKV_LANES 16
#define CKV_TILE 12
static inline __attribute__((always_inline)) __m512 vec_f16(const void *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
#include "vector.h"
#include "elementwise.h"
#include "gemm_float.h"
#include "x86.h"
#include "attention.h"

#define CKV_INT8_TILE 6
#define CKV_INT8_GROUPS 2

CKV_INLINE __m512i activation_4(const int8_t *p) {
    int32_t four;
    memcpy(&four, p, 4);
    return _mm512_set1_epi32(four);
}

CKV_INLINE void int8_tile(
    const int tokens, const int groups, const int kind, const ckv_product *p, const uint8_t *weights, size_t group_bytes, size_t row,
    size_t token
);
#include "product_int8.h"

// 4-bit weights: nibbles are the unsigned operand. Q4_0's offset of 8 is taken from the exact sum.
CKV_INLINE void dot_4bit(
    const int tokens, const int groups, const uint8_t *block, size_t group_bytes, const int8_t *values, size_t columns, __m512i sum[][2]
) {
    const __m512i low = _mm512_set1_epi8(15);
    for (int j = 0; j < 4; j++) {
        __m512i w0[2], w1[2];
        for (int g = 0; g < groups; g++) {
            __m512i both = _mm512_loadu_si512(block + g * group_bytes + 64 * j);
            w0[g] = _mm512_and_si512(both, low);
            w1[g] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
        }
        for (int t = 0; t < tokens; t++) {
            __m512i a0 = activation_4(values + t * columns + 4 * j), a1 = activation_4(values + t * columns + 16 + 4 * j);
            for (int g = 0; g < groups; g++) {
                sum[t][g] = _mm512_dpbusd_epi32(sum[t][g], w0[g], a0);
                sum[t][g] = _mm512_dpbusd_epi32(sum[t][g], w1[g], a1);
            }
        }
    }
}

// 8-bit weights: activations + 128 are the unsigned operand, and 128 times the weights' sum is taken off again.
CKV_INLINE void dot_8bit(
    const int tokens, const int groups, const uint8_t *block, size_t group_bytes, const int8_t *values, size_t columns, __m512i sum[][2]
) {
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    __m512i excess[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    for (int j = 0; j < 8; j++) {
        __m512i w[2];
        for (int g = 0; g < groups; g++) {
            w[g] = _mm512_loadu_si512(block + g * group_bytes + 64 * j);
            excess[g] = _mm512_dpbusd_epi32(excess[g], flip, w[g]);
        }
        for (int t = 0; t < tokens; t++) {
            __m512i a = _mm512_xor_si512(activation_4(values + t * columns + 4 * j), flip);
            for (int g = 0; g < groups; g++) sum[t][g] = _mm512_dpbusd_epi32(sum[t][g], a, w[g]);
        }
    }
    for (int t = 0; t < tokens; t++) {
        for (int g = 0; g < groups; g++) sum[t][g] = _mm512_sub_epi32(sum[t][g], excess[g]);
    }
}

CKV_INLINE void int8_tile(
    const int tokens, const int groups, const int kind, const ckv_product *p, const uint8_t *weights, size_t group_bytes, size_t row,
    size_t token
) {
    const size_t blocks = p->columns / CKV_BLOCK, block_bytes = int8_block_bytes(kind), head = int8_head_bytes(kind);
    const int8_t *values = p->values + token * p->columns;
    const float *scales = p->scales + token * blocks, *offsets = p->offsets + token * blocks;
    const int32_t *sums = p->sums + token * blocks;
    __m512 acc[CKV_INT8_TILE][2], off[CKV_INT8_TILE][2];
    for (int t = 0; t < tokens; t++) {
        for (int g = 0; g < groups; g++) acc[t][g] = off[t][g] = _mm512_setzero_ps();
    }
    if (kind == kind_q4_1) {
        for (size_t b = 0; b < blocks; b++) {
            for (int g = 0; g < groups; g++) {
                __m512 m = vec_f16(weights + g * group_bytes + b * block_bytes + 2 * CKV_GROUP);
                for (int t = 0; t < tokens; t++) {
                    off[t][g] = _mm512_fmadd_ps(m, _mm512_set1_ps(offsets[t * blocks + b]), off[t][g]);
                }
            }
        }
    }
    for (size_t b = 0; b < blocks; b++) {
        const uint8_t *block = weights + b * block_bytes;
        __m512i sum[CKV_INT8_TILE][2];
        for (int t = 0; t < tokens; t++) {
            __m512i start = kind == kind_q4_0 ? _mm512_set1_epi32(-8 * sums[t * blocks + b]) : _mm512_setzero_si512();
            for (int g = 0; g < groups; g++) sum[t][g] = start;
        }
        if (kind == kind_q8_0) {
            dot_8bit(tokens, groups, block + head, group_bytes, values + b * CKV_BLOCK, p->columns, sum);
        } else {
            dot_4bit(tokens, groups, block + head, group_bytes, values + b * CKV_BLOCK, p->columns, sum);
        }
        for (int g = 0; g < groups; g++) {
            __m512 d = vec_f16(block + g * group_bytes);
            for (int t = 0; t < tokens; t++) {
                __m512 scale = _mm512_mul_ps(d, _mm512_set1_ps(scales[t * blocks + b]));
                acc[t][g] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[t][g]), scale, acc[t][g]);
            }
        }
    }
    for (int t = 0; t < tokens; t++) {
        for (int g = 0; g < groups; g++) {
            __m512 value = kind == kind_q4_1 ? _mm512_add_ps(acc[t][g], off[t][g]) : acc[t][g];
            product_store(p, token + t, row + g * CKV_GROUP, value);
        }
    }
}

static bool supported(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")
        && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("f16c");
}

#pragma clang attribute pop
#include "table.h"
CKV_TABLE(ckv_table_avx512, "avx512", supported);
#endif
