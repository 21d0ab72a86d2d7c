// AVX2 with FMA and F16C: 8 rows a vector, a group of 16 is two.
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>

#pragma STDC FP_CONTRACT OFF
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)

#define CKV_LANES 8
#define CKV_TILE 6
#include "vector.h"
#include "elementwise.h"
#include "gemm_float.h"
#include "quantise_vector.h"
#include "attention.h"

#define CKV_INT8_TILE 4
#define CKV_INT8_CHUNKED(layout) ((layout)->bits != 8)
#define CKV_INT8_TOGETHER 2
#define CKV_INT8_KERNELS "gemm_avx2.h"
CKV_INLINE vec_i32 vec_lookup(const uint8_t *table, vec_i32 numbers) {
    const __m128i sixteen = _mm_loadu_si128((const __m128i *)table);
    return (vec_i32)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(sixteen), (__m256i)numbers);
}
#include "gemm_int8.h"

static bool supported(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

#pragma clang attribute pop
#include "table.h"
CKV_TABLE(ckv_table_avx2, "avx2", supported);
#endif
