// What both x86 tables share: conversions and activation quantisation on 256-bit vectors.
#include "quantise.h"

CKV_INLINE void transpose_8x8(const void *rows, bool half, size_t index, size_t stride, float *out) {
    __m256 r[8], t[8];
    for (int i = 0; i < 8; i++) {
        r[i] = half ? _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)((const uint16_t *)rows + index + i * stride)))
                    : _mm256_loadu_ps((const float *)rows + index + i * stride);
    }
    for (int i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        r[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        r[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xEE);
        r[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        r[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xEE);
    }
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(out + i * CKV_KEYS, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(out + (i + 4) * CKV_KEYS, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}

CKV_INLINE int32_t fold_lanes(__m256i lanes) {
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xB1)));
}

static void quantise(const float *x, size_t n, int8_t *values, float *scales, ckv_sums *sums, float *offsets) {
    const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);
    for (size_t b = 0; b < n / CKV_BLOCK; b++) {
        __m256 v[4], matched = _mm256_setzero_ps();
        __m256i q[4], top = _mm256_setzero_si256(), squares = top;
        for (int i = 0; i < 4; i++) {
            v[i] = _mm256_loadu_ps(x + b * CKV_BLOCK + 8 * i);
            top = _mm256_max_epi32(top, _mm256_and_si256(_mm256_castps_si256(v[i]), magnitude));
        }
        __m128i m = _mm_max_epi32(_mm256_castsi256_si128(top), _mm256_extracti128_si256(top, 1));
        m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4E));
        const uint32_t largest = (uint32_t)_mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, 0xB1)));
        const float factor = quantise_factor(largest);
        // An infinity times zero would be no number: the mask makes such a block's values zeros.
        const __m256i keep = _mm256_set1_epi32(factor == 0 ? 0 : -1);
        for (int i = 0; i < 4; i++) {
            q[i] = _mm256_and_si256(_mm256_cvtps_epi32(_mm256_mul_ps(v[i], _mm256_set1_ps(factor))), keep);
            squares = _mm256_add_epi32(squares, _mm256_mullo_epi32(q[i], q[i]));
            matched = _mm256_fmadd_ps(v[i], _mm256_cvtepi32_ps(q[i]), matched);
        }
        // Packing works within 128-bit halves: the permutation puts the groups of four back in order.
        __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
        packed = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        _mm256_storeu_si256((__m256i *)(values + b * CKV_BLOCK), packed);
        __m128 dot = _mm_add_ps(_mm256_castps256_ps128(matched), _mm256_extractf128_ps(matched, 1));
        dot = _mm_add_ps(dot, _mm_movehl_ps(dot, dot));
        dot = _mm_add_ss(dot, _mm_movehdup_ps(dot));
        scales[b] = quantise_scale(largest, _mm_cvtss_f32(dot), fold_lanes(squares));
        const int32_t first = fold_lanes(_mm256_add_epi32(q[0], q[1])), second = fold_lanes(_mm256_add_epi32(q[2], q[3]));
        sums[b] = (ckv_sums){(int16_t)first, (int16_t)second};
        offsets[b] = scales[b] * (float)(first + second);
    }
}

static void to_half(const float *x, size_t n, uint16_t *out) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        _mm_storeu_si128((__m128i *)(out + i), half);
    }
    for (; i < n; i++) out[i] = ckv_float_half(x[i]);
}

static void from_half(const uint16_t *x, size_t n, float *out) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(x + i))));
    for (; i < n; i++) out[i] = ckv_half_float(x[i]);
}
