// int8 products with AVX2: products of unsigned and signed bytes are summed in 16 bits, in pairs, and added up there as long as
// they fit: 15 * 127 * 2 * 8, 31 * 127 * 2 * 4 and 63 * 127 * 2 * 2 are below 32,768. Greater integers go by their signs and magnitudes.
#define INT8_WIDTH(top) ((top) <= 15 ? 8 : (top) <= 31 ? 4 : 2)
#define INT8_SIGNS(kind) (ckv_layouts[kind].zero == 128)

// As pairs of 16 bits.
CKV_INLINE vec_i32 int8_factor(vec_i32 scales) { return (scales & 0xFFFF) | scales << 16; }

CKV_INLINE vec_i32 int8_pair(vec_i32 a, vec_i32 b) { return (vec_i32)_mm256_madd_epi16((__m256i)a, (__m256i)b); }

// Compilers regroup sums of integers into trees, which need more registers than there are: this keeps a sum as it stands.
#define CKV_KEEP(sum) __asm__("" : "+x"(sum))

CKV_INLINE __m256i int8_pairs(__m256i sum, vec_i32 w, vec_i32 x) {
    sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16((__m256i)w, (__m256i)x));
    CKV_KEEP(sum);
    return sum;
}

// Weight vectors begin ..< end of a block's order by a tile's tokens, in 16 bits; then times `factor`, added to `sum`.
CKV_INLINE void int8_dot_part(
    const int tokens, const int streams, const int kind, const int begin, const int end, const int8_streams *s, size_t b,
    const int8_t *values, size_t columns, const vec_i32 factor[2], vec_i32 sum[][2]
) {
    __m256i pairs[CKV_INT8_TILE][2];
    for (int t = 0; t < tokens; t++) pairs[t][0] = pairs[t][1] = _mm256_setzero_si256();
#pragma unroll
    for (int step = begin; step < end; step++) {
        const int n = INT8_ORDER(kind, step);
        vec_i32 w[2];
        for (int i = 0; i < streams; i++) w[i] = int8_weights(kind, s, i, b, n);
        for (int t = 0; t < tokens; t++) {
            const vec_i32 x = int8_all(values + t * columns + b * CKV_BLOCK + 4 * n);
            for (int i = 0; i < streams; i++) pairs[t][i] = int8_pairs(pairs[t][i], w[i], x);
        }
    }
    for (int t = 0; t < tokens; t++) {
        for (int i = 0; i < streams; i++) sum[t][i] += int8_pair((vec_i32)pairs[t][i], factor[i]);
    }
}

// 8 bits: the weights' magnitudes are the unsigned operand, their signs go to the activations (which are never -128);
// 128 * 127 * 2 fits 16 bits, but only once.
CKV_INLINE void int8_dot_bytes(
    const int tokens, const int streams, const int kind, const int8_streams *s, size_t b, const int8_t *values, size_t columns, vec_i32 sum[][2]
) {
    const __m256i ones = _mm256_set1_epi16(1), flip = _mm256_set1_epi8((char)0x80);
#pragma unroll
    for (int step = 0; step < 8; step++) {
        const int n = INT8_ORDER(kind, step);
        __m256i w[2], magnitude[2];
        for (int i = 0; i < streams; i++) {
            w[i] = _mm256_xor_si256((__m256i)int8_weights(kind, s, i, b, n), flip);
            magnitude[i] = _mm256_abs_epi8(w[i]);
        }
        for (int t = 0; t < tokens; t++) {
            const __m256i x = (__m256i)int8_all(values + t * columns + b * CKV_BLOCK + 4 * n);
            for (int i = 0; i < streams; i++) {
                const __m256i pairs = _mm256_maddubs_epi16(magnitude[i], _mm256_sign_epi8(x, w[i]));
                sum[t][i] += (vec_i32)_mm256_madd_epi16(pairs, ones);
                CKV_KEEP(sum[t][i]);
            }
        }
    }
}

// The exact dot products of block b with a tile's tokens, as floats.
CKV_INLINE void int8_dot(
    const int tokens, const int streams, const int kind, const int8_streams *s, size_t b, const int8_t *values, size_t columns,
    const ckv_sums *sums, vec dot[][2]
) {
    const bool halves = ckv_layouts[kind].scaling == scaling_halves;
    const int most = INT8_WIDTH(ckv_layouts[kind].top), width = halves && most > 4 ? 4 : most;
    // What the halves' sums of products, and of activations, are multiplied by.
    const vec_i32 one = 0x00010001 - (vec_i32){0};
    vec_i32 factor[2][2] = {{one, one}, {one, one}}, zero[2], sum[CKV_INT8_TILE][2];
    for (int i = 0; i < streams; i++) {
        zero[i] = (vec_i32)_mm256_set1_epi16((short)-ckv_layouts[kind].zero);
        if (!halves) continue;
        factor[0][i] = int8_factors(kind, s, i, b, 0);
        factor[1][i] = int8_factors(kind, s, i, b, 1);
        const __m256i both = _mm256_blend_epi16((__m256i)factor[0][i], (__m256i)factor[1][i], 0xAA);
        zero[i] = (vec_i32)_mm256_mullo_epi16((__m256i)zero[i], both);
    }
    for (int t = 0; t < tokens; t++) {
        for (int i = 0; i < streams; i++) {
            sum[t][i] = (vec_i32){0};
            if (ckv_layouts[kind].zero && !INT8_SIGNS(kind)) sum[t][i] = int8_pair(int8_all(sums + t * (columns / CKV_BLOCK) + b), zero[i]);
        }
    }
    if (INT8_SIGNS(kind)) {
        int8_dot_bytes(tokens, streams, kind, s, b, values, columns, sum);
    } else {
#pragma unroll
        for (int step = 0; step < 8; step += width) {
            int8_dot_part(tokens, streams, kind, step, step + width, s, b, values, columns, factor[step / 4], sum);
        }
    }
    for (int t = 0; t < tokens; t++) {
        for (int i = 0; i < streams; i++) dot[t][i] = __builtin_convertvector(sum[t][i], vec);
    }
}
