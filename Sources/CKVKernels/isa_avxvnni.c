// AVX2 with VNNI of its width: client CPUs without AVX-512, and servers of small cores.
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <math.h>

#pragma STDC FP_CONTRACT OFF
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avxvnni"))), apply_to = function)

#define CKV_LANES 8
#define CKV_TILE 6
#include "vector.h"
#include "elementwise.h"
#include "gemm_float.h"
#include "quantise_vector.h"
#include "attention.h"

CKV_INLINE vec_i32 vec_dpbusd(vec_i32 sum, vec_i32 a, vec_i32 b) {
    return (vec_i32)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)a, (__m256i)b);
}
CKV_INLINE vec_i32 vec_dpwssd(vec_i32 sum, vec_i32 a, vec_i32 b) {
    return (vec_i32)_mm256_dpwssd_avx_epi32((__m256i)sum, (__m256i)a, (__m256i)b);
}
CKV_INLINE vec_i32 vec_lookup(const uint8_t *table, vec_i32 numbers) {
    const __m128i sixteen = _mm_loadu_si128((const __m128i *)table);
    return (vec_i32)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(sixteen), (__m256i)numbers);
}
#define CKV_INT8_TILE 4
#define CKV_INT8_CHUNKED(layout) ((layout)->bits != 8 && ((layout)->bits != 4 || (layout)->values != NULL))
#define CKV_INT8_TOGETHER 2
#define CKV_INT8_KERNELS "gemm_vnni.h"
#include "gemm_int8.h"

// AVX-VNNI is bit 4 of EAX of CPUID's leaf 7, subleaf 1; AVX2 stands for what the kernel must save.
static bool supported(void) {
    unsigned a, b, c, d;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")
        && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

#pragma clang attribute pop
#include "table.h"
CKV_TABLE(ckv_table_avxvnni, "avxvnni", supported);
#endif
