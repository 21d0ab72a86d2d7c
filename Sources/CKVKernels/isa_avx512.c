// AVX-512 with VNNI: 16 rows a vector.
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>

#pragma STDC FP_CONTRACT OFF
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c"))), apply_to = function)

#define CKV_LANES 16
#define CKV_TILE 12
#include "vector.h"
#include "elementwise.h"
#include "gemm_float.h"
#include "quantise_vector.h"
#include "attention.h"

#define CKV_INT8_TILE 6
#define CKV_INT8_CHUNKED(layout) (false)
#define CKV_INT8_TOGETHER 3
#define CKV_INT8_KERNELS "gemm_vnni.h"
CKV_INLINE vec_i32 vec_dpbusd(vec_i32 sum, vec_i32 a, vec_i32 b) {
    return (vec_i32)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
}
CKV_INLINE vec_i32 vec_dpwssd(vec_i32 sum, vec_i32 a, vec_i32 b) {
    return (vec_i32)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
}
CKV_INLINE vec_i32 vec_lookup(const uint8_t *table, vec_i32 numbers) {
    const __m128i sixteen = _mm_loadu_si128((const __m128i *)table);
    return (vec_i32)_mm512_shuffle_epi8(_mm512_broadcast_i32x4(sixteen), (__m512i)numbers);
}
#include "gemm_int8.h"

static bool supported(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")
        && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("f16c");
}

#pragma clang attribute pop
#include "table.h"
CKV_TABLE(ckv_table_avx512, "avx512", supported);
#endif
