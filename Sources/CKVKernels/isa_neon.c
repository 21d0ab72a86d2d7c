// AArch64 with products of bytes (FEAT_DotProd: Armv8.2, most servers): 8 rows a vector, which is two registers.
#if defined(__aarch64__)
#include <arm_neon.h>
#include <math.h>
#include <sys/auxv.h>

#pragma STDC FP_CONTRACT OFF
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)

#define CKV_LANES 8
#define CKV_TILE 6
#include "vector.h"
#include "elementwise.h"
#include "gemm_float.h"
#include "quantise_vector.h"
#include "attention.h"

CKV_INLINE int8x16_t vec_bytes(vec_i32 v, const int half) {
    int32x4_t four = half ? __builtin_shufflevector(v, v, 4, 5, 6, 7) : __builtin_shufflevector(v, v, 0, 1, 2, 3);
    return vreinterpretq_s8_s32(four);
}
// Both signed, which the weights can be (CKV_INT8_SIGNED).
CKV_INLINE vec_i32 vec_dpbusd(vec_i32 sum, vec_i32 a, vec_i32 b) {
    const int32x4_t low = vdotq_s32(vreinterpretq_s32_s8(vec_bytes(sum, 0)), vec_bytes(a, 0), vec_bytes(b, 0));
    const int32x4_t high = vdotq_s32(vreinterpretq_s32_s8(vec_bytes(sum, 1)), vec_bytes(a, 1), vec_bytes(b, 1));
    return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
}
CKV_INLINE vec_i32 vec_dpwssd(vec_i32 sum, vec_i32 a, vec_i32 b) {
    return sum + (a << 16 >> 16) * (b << 16 >> 16) + (a >> 16) * (b >> 16);
}
// A product with one lane of a register needs no copies of it.
#define FOUR_LANE(k) __builtin_shufflevector(four, four, k, k, k, k, k, k, k, k)
CKV_INLINE vec_i32 int8_four(const int8_t *values, const int n) {
    vec4_i32 four;
    memcpy(&four, values + n / 4 * 16, sizeof four);
    switch (n % 4) {
        case 0: return FOUR_LANE(0);
        case 1: return FOUR_LANE(1);
        case 2: return FOUR_LANE(2);
        default: return FOUR_LANE(3);
    }
}
CKV_INLINE vec_i32 vec_lookup(const uint8_t *table, vec_i32 numbers) {
    const uint8x16_t sixteen = vld1q_u8(table);
    const int32x4_t low = vreinterpretq_s32_u8(vqtbl1q_u8(sixteen, vreinterpretq_u8_s8(vec_bytes(numbers, 0))));
    const int32x4_t high = vreinterpretq_s32_u8(vqtbl1q_u8(sixteen, vreinterpretq_u8_s8(vec_bytes(numbers, 1))));
    return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
}
#define CKV_INT8_TILE 4
#define CKV_INT8_CHUNKED(layout) ((layout)->bits != 8 && ((layout)->bits != 4 || (layout)->values != NULL))
#define CKV_INT8_TOGETHER 2
#define CKV_INT8_SIGNED
#define CKV_INT8_KERNELS "gemm_vnni.h"
#include "gemm_int8.h"

static bool supported(void) { return getauxval(AT_HWCAP) & HWCAP_ASIMDDP; }

#pragma clang attribute pop
#include "table.h"
CKV_TABLE(ckv_table_neon, "neon", supported);
#endif
