// AVX2 kernels of int8 products: a vector holds four columns of 8 rows, a half of the group.

CKV_INLINE __m256i int8_activations(const int8_t *p) { return _mm256_set1_epi32(int8_four(p)); }
CKV_INLINE __m256i int8_load(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)p); }

// One block of a group by `tokens` tokens: the exact sums of either half.
// 4-bit: the products of a whole block fit int16, as 15 * 128 * 2 * 8 < 32,768.
CKV_INLINE void int8_dot_nibbles(
    const int tokens, const uint8_t *quants, const int8_t *values, size_t columns, __m256i sum[][2]
) {
    const __m256i low = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
    for (int t = 0; t < tokens; t++) sum[t][0] = sum[t][1] = _mm256_setzero_si256();
    for (int j = 0; j < 4; j++) {
        const __m256i both0 = int8_load(quants + 64 * j), both1 = int8_load(quants + 64 * j + 32);
        const __m256i low0 = _mm256_and_si256(both0, low), high0 = _mm256_and_si256(_mm256_srli_epi16(both0, 4), low);
        const __m256i low1 = _mm256_and_si256(both1, low), high1 = _mm256_and_si256(_mm256_srli_epi16(both1, 4), low);
        for (int t = 0; t < tokens; t++) {
            const int8_t *x = values + t * columns + 4 * j;
            const __m256i x0 = int8_activations(x), x1 = int8_activations(x + 16);
            sum[t][0] = _mm256_add_epi16(sum[t][0], _mm256_maddubs_epi16(low0, x0));
            sum[t][1] = _mm256_add_epi16(sum[t][1], _mm256_maddubs_epi16(low1, x0));
            sum[t][0] = _mm256_add_epi16(sum[t][0], _mm256_maddubs_epi16(high0, x1));
            sum[t][1] = _mm256_add_epi16(sum[t][1], _mm256_maddubs_epi16(high1, x1));
        }
    }
    for (int t = 0; t < tokens; t++) {
        for (int half = 0; half < 2; half++) sum[t][half] = _mm256_madd_epi16(sum[t][half], ones);
    }
}

// 8-bit: the weights' magnitudes are the unsigned operand, their signs go to the activations (which are never -128);
// 128 * 127 * 2 fits int16, but only once.
CKV_INLINE void int8_dot_bytes(
    const int tokens, const uint8_t *quants, const int8_t *values, size_t columns, __m256i sum[][2]
) {
    const __m256i ones = _mm256_set1_epi16(1);
    for (int t = 0; t < tokens; t++) sum[t][0] = sum[t][1] = _mm256_setzero_si256();
    for (int j = 0; j < 8; j++) {
        for (int half = 0; half < 2; half++) {
            const __m256i w = int8_load(quants + 64 * j + 32 * half), magnitude = _mm256_abs_epi8(w);
            for (int t = 0; t < tokens; t++) {
                const __m256i x = _mm256_sign_epi8(int8_activations(values + t * columns + 4 * j), w);
                const __m256i pairs = _mm256_maddubs_epi16(magnitude, x);
                sum[t][half] = _mm256_add_epi32(sum[t][half], _mm256_madd_epi16(pairs, ones));
            }
        }
    }
}

// The sums of the minima times the activations' offsets.
CKV_INLINE void int8_offsets(
    const int tokens, const uint8_t *block, const float *offsets, size_t blocks, __m256 off[][2]
) {
    for (int half = 0; half < 2; half++) {
        const __m256 m = vec_f16(block + 2 * CKV_GROUP + 16 * half);
        for (int t = 0; t < tokens; t++) {
            off[t][half] = _mm256_fmadd_ps(m, _mm256_set1_ps(offsets[t * blocks]), off[t][half]);
        }
    }
}

// One group by `tokens` tokens from `token` on, accumulators in registers.
CKV_INLINE void int8_tile(
    const int tokens, const int kind, const ckv_product *p, const uint8_t *weights, size_t row, size_t token
) {
    const size_t blocks = p->columns / CKV_BLOCK, block_bytes = int8_block_bytes(kind), head = int8_head_bytes(kind);
    const int8_t *values = p->values + token * p->columns;
    const float *scales = p->scales + token * blocks;
    __m256 acc[CKV_INT8_TILE][2], off[CKV_INT8_TILE][2];
    for (int t = 0; t < tokens; t++) acc[t][0] = acc[t][1] = off[t][0] = off[t][1] = _mm256_setzero_ps();
    // Many tokens leave no registers for a second set of accumulators; few must not pass over the weights twice.
    const bool together = tokens <= 2;
    for (size_t b = 0; kind == kind_q4_1 && !together && b < blocks; b++) {
        int8_offsets(tokens, weights + b * block_bytes, p->offsets + token * blocks + b, blocks, off);
    }
    for (size_t b = 0; b < blocks; b++) {
        const uint8_t *block = weights + b * block_bytes;
        __m256i sum[CKV_INT8_TILE][2];
        if (kind == kind_q8_0) int8_dot_bytes(tokens, block + head, values + b * CKV_BLOCK, p->columns, sum);
        else int8_dot_nibbles(tokens, block + head, values + b * CKV_BLOCK, p->columns, sum);
        for (int t = 0; t < tokens && kind == kind_q4_0; t++) {
            // Q4_0's zero is at 8.
            const __m256i excess = _mm256_set1_epi32(8 * p->sums[(token + t) * blocks + b]);
            for (int half = 0; half < 2; half++) sum[t][half] = _mm256_sub_epi32(sum[t][half], excess);
        }
        for (int half = 0; half < 2; half++) {
            const __m256 d = vec_f16(block + 16 * half);
            for (int t = 0; t < tokens; t++) {
                const __m256 scale = _mm256_mul_ps(d, _mm256_set1_ps(scales[t * blocks + b]));
                acc[t][half] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[t][half]), scale, acc[t][half]);
            }
        }
        if (kind == kind_q4_1 && together) int8_offsets(tokens, block, p->offsets + token * blocks + b, blocks, off);
    }
    for (int t = 0; t < tokens; t++) {
        for (int half = 0; half < 2; half++) {
            const __m256 value = kind == kind_q4_1 ? _mm256_add_ps(acc[t][half], off[t][half]) : acc[t][half];
            product_store(p, token + t, row + half * CKV_LANES, value);
        }
    }
}

#define INT8_CASE(n) \
    case n: int8_tile(n, kind, p, weights, row, token); break;

// A panel, which is one group, by all tokens.
CKV_INLINE void int8_panel(
    const int groups, const int kind, const ckv_product *p, const uint8_t *weights, size_t group_bytes, size_t row
) {
    (void)groups, (void)group_bytes;
    size_t token = 0;
    for (; token + CKV_INT8_TILE <= p->tokens; token += CKV_INT8_TILE) {
        int8_tile(CKV_INT8_TILE, kind, p, weights, row, token);
    }
    switch (p->tokens - token) { INT8_CASE(1) INT8_CASE(2) INT8_CASE(3) }
}
