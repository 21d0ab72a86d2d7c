// int8 products with AVX2: products of unsigned and signed bytes are summed in 16 bits, in pairs, and added up there as long as they
// fit: 15 * 127 * 2 * 8, 31 * 127 * 2 * 4 and 63 * 127 * 2 * 2 are below 32,768.

CKV_INLINE __m256i int8_pairs(__m256i sum, vec_i32 w, vec_i32 x) {
    sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16((__m256i)w, (__m256i)x));
    // Compilers regroup sums of integers into trees, which need more registers than there are.
    __asm__("" : "+x"(sum));
    return sum;
}

// Products summed in 16 bits, added to `sum` times `factor`, whose 16-bit pairs are what multiplies them.
CKV_INLINE void int8_settle(const int tokens, const int streams, __m256i pairs[][2], const __m256i factor[2], vec_i32 sum[][2]) {
    for (int t = 0; t < tokens; t++) {
        for (int i = 0; i < streams; i++) sum[t][i] += (vec_i32)_mm256_madd_epi16(pairs[t][i], factor[i]);
    }
}

// `vectors` weight vectors from step `begin` on by a tile's tokens.
CKV_INLINE void int8_dot_pairs(
    const int tokens, const int streams, const int bits, const int begin, const int vectors, const uint8_t *const quants[2],
    const int8_t *values, size_t columns, __m256i pairs[][2]
) {
    for (int t = 0; t < tokens; t++) pairs[t][0] = pairs[t][1] = _mm256_setzero_si256();
#pragma unroll
    for (int step = begin; step < begin + vectors; step++) {
        // Nibbles of the same bytes follow each other, but where the halves have scales of their own.
        const int n = bits == 6 ? step : step / 2 + step % 2 * 4;
        vec_i32 w[2];
        for (int i = 0; i < streams; i++) w[i] = int8_weights(bits, quants[i], n);
        for (int t = 0; t < tokens; t++) {
            const vec_i32 x = int8_all(values + t * columns + 4 * n);
            for (int i = 0; i < streams; i++) pairs[t][i] = int8_pairs(pairs[t][i], w[i], x);
        }
    }
}

// 8 bits: one half of every byte, `left` its shift.
CKV_INLINE void int8_dot_nibbles(
    const int tokens, const int streams, const int right, const uint8_t *const quants[2], const int8_t *values,
    size_t columns, __m256i pairs[][2]
) {
    for (int t = 0; t < tokens; t++) pairs[t][0] = pairs[t][1] = _mm256_setzero_si256();
#pragma unroll
    for (int n = 0; n < 8; n++) {
        vec_i32 w[2];
        for (int i = 0; i < streams; i++) w[i] = (vec_i32)(int8_shifted(int8_load(quants[i] + 64 * n), -right) & 0x0F0F);
        for (int t = 0; t < tokens; t++) {
            const vec_i32 x = int8_all(values + t * columns + 4 * n);
            for (int i = 0; i < streams; i++) pairs[t][i] = int8_pairs(pairs[t][i], w[i], x);
        }
    }
}

// The exact dot products of block k of the span `start` bytes into the streams' groups, as floats.
CKV_INLINE void int8_dot(
    const int tokens, const int streams, const int kind, const int8_streams *s, size_t start, size_t k, const int8_t *values,
    size_t columns, const ckv_sums *sums, size_t blocks, vec dot[][2]
) {
    const ckv_layout *const layout = &ckv_layouts[kind];
    const int bits = layout->bits, width = bits == 4 ? 8 : bits == 5 ? 4 : 2;
    const uint8_t *quants[2];
    // What the halves' sums of products, and of activations, are multiplied by.
    __m256i factor[2][2], zero[2];
    for (int i = 0; i < streams; i++) {
        const uint8_t *span = s->group[i] + start;
        quants[i] = span + ckv_head_bytes(layout) + k * ckv_quant_bytes(layout) + 4 * s->lane[i];
        zero[i] = _mm256_set1_epi16((short)-layout->zero);
        factor[0][i] = factor[1][i] = _mm256_set1_epi16(1);
        if (kind == kind_q6_k) {
            const uint8_t *bytes = span + ckv_head_offset(layout, k) + s->lane[i];
            const vec_i32 first = int8_signed(bytes) & 0xFFFF, second = int8_signed(bytes + CKV_GROUP) & 0xFFFF;
            factor[0][i] = (__m256i)(first | first << 16);
            factor[1][i] = (__m256i)(second | second << 16);
            zero[i] = _mm256_mullo_epi16(zero[i], (__m256i)(first | second << 16));
        }
    }
    vec_i32 sum[CKV_INT8_TILE][2];
    for (int t = 0; t < tokens; t++) {
        for (int i = 0; i < streams; i++) {
            sum[t][i] = (vec_i32){0};
            if (layout->zero) sum[t][i] = (vec_i32)_mm256_madd_epi16((__m256i)int8_all(sums + t * blocks), zero[i]);
        }
    }
    __m256i pairs[CKV_INT8_TILE][2];
    if (bits == 8) {
        const __m256i sixteen[2] = {_mm256_set1_epi16(16), _mm256_set1_epi16(16)};
        int8_dot_nibbles(tokens, streams, 0, quants, values, columns, pairs);
        int8_settle(tokens, streams, pairs, factor[0], sum);
        int8_dot_nibbles(tokens, streams, 4, quants, values, columns, pairs);
        int8_settle(tokens, streams, pairs, sixteen, sum);
    }
#pragma unroll
    for (int step = 0; step < 8 && bits != 8; step += width) {
        int8_dot_pairs(tokens, streams, bits, step, width, quants, values, columns, pairs);
        int8_settle(tokens, streams, pairs, factor[step / 4], sum);
    }
    for (int t = 0; t < tokens; t++) {
        for (int i = 0; i < streams; i++) dot[t][i] = __builtin_convertvector(sum[t][i], vec);
    }
}
