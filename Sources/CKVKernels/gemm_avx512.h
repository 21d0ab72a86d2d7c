// AVX-512 VNNI kernels of int8 products: a vector holds four columns of 16 rows.

// Blocks whose starts (below) a panel keeps: 64 KiB of stack.
#define INT8_STARTS 512

CKV_INLINE __m512i int8_activations(const int8_t *p) { return _mm512_set1_epi32(int8_four(p)); }

// 4-bit weights: nibbles are the unsigned operand.
CKV_INLINE void int8_dot_nibbles(
    const int tokens, const int groups, const uint8_t *quants, size_t group_bytes, const int8_t *values, size_t columns,
    __m512i sum[][2]
) {
    const __m512i low = _mm512_set1_epi8(15);
    for (int j = 0; j < 4; j++) {
        __m512i w0[2], w1[2];
        for (int g = 0; g < groups; g++) {
            const __m512i both = _mm512_loadu_si512(quants + g * group_bytes + 64 * j);
            w0[g] = _mm512_and_si512(both, low);
            w1[g] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
        }
        for (int t = 0; t < tokens; t++) {
            const int8_t *x = values + t * columns + 4 * j;
            const __m512i x0 = int8_activations(x), x1 = int8_activations(x + 16);
            for (int g = 0; g < groups; g++) {
                sum[t][g] = _mm512_dpbusd_epi32(sum[t][g], w0[g], x0);
                sum[t][g] = _mm512_dpbusd_epi32(sum[t][g], w1[g], x1);
            }
        }
    }
}

// 8-bit weights: the activations plus 128 are the unsigned operand. `started`: the sums start from int8_start;
// otherwise what is too much is taken off here.
CKV_INLINE void int8_dot_bytes(
    const bool started, const int tokens, const int groups, const uint8_t *quants, size_t group_bytes,
    const int8_t *values, size_t columns, __m512i sum[][2]
) {
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    __m512i excess[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    for (int j = 0; j < 8; j++) {
        __m512i w[2];
        for (int g = 0; g < groups; g++) {
            w[g] = _mm512_loadu_si512(quants + g * group_bytes + 64 * j);
            if (!started) excess[g] = _mm512_dpbusd_epi32(excess[g], flip, w[g]);
        }
        for (int t = 0; t < tokens; t++) {
            const __m512i x = _mm512_xor_si512(int8_activations(values + t * columns + 4 * j), flip);
            for (int g = 0; g < groups; g++) sum[t][g] = _mm512_dpbusd_epi32(sum[t][g], x, w[g]);
        }
    }
    for (int t = 0; t < tokens && !started; t++) {
        for (int g = 0; g < groups; g++) sum[t][g] = _mm512_sub_epi32(sum[t][g], excess[g]);
    }
}

// -128 times the sums of a block's signed weights: where the sums with activations plus 128 start from.
CKV_INLINE __m512i int8_start(const uint8_t *quants) {
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    __m512i even = _mm512_setzero_si512(), odd = even;
    for (int j = 0; j < 8; j += 2) {
        even = _mm512_dpbusd_epi32(even, flip, _mm512_loadu_si512(quants + 64 * j));
        odd = _mm512_dpbusd_epi32(odd, flip, _mm512_loadu_si512(quants + 64 * (j + 1)));
    }
    return _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_add_epi32(even, odd));
}

// The sums of the minima times the activations' offsets.
CKV_INLINE void int8_offsets(
    const int tokens, const int groups, const uint8_t *block, size_t group_bytes, const float *offsets, size_t blocks,
    __m512 off[][2]
) {
    for (int g = 0; g < groups; g++) {
        const __m512 m = vec_f16(block + g * group_bytes + 2 * CKV_GROUP);
        for (int t = 0; t < tokens; t++) off[t][g] = _mm512_fmadd_ps(m, _mm512_set1_ps(offsets[t * blocks]), off[t][g]);
    }
}

// A panel by `tokens` tokens from `token` on, accumulators in registers. `starts`: [block][group] of Q8_0, or NULL.
CKV_INLINE void int8_tile(
    const int tokens, const int groups, const int kind, const ckv_product *p, const uint8_t *weights,
    size_t group_bytes, size_t row, size_t token, const __m512i (*starts)[2]
) {
    const size_t blocks = p->columns / CKV_BLOCK, block_bytes = int8_block_bytes(kind), head = int8_head_bytes(kind);
    const int8_t *values = p->values + token * p->columns;
    const float *scales = p->scales + token * blocks;
    __m512 acc[CKV_INT8_TILE][2], off[CKV_INT8_TILE][2];
    for (int t = 0; t < tokens; t++) {
        for (int g = 0; g < groups; g++) acc[t][g] = off[t][g] = _mm512_setzero_ps();
    }
    // Many tokens leave no registers for a second set of accumulators; few must not pass over the weights twice.
    const bool together = tokens <= 3;
    for (size_t b = 0; kind == kind_q4_1 && !together && b < blocks; b++) {
        const float *offsets = p->offsets + token * blocks + b;
        int8_offsets(tokens, groups, weights + b * block_bytes, group_bytes, offsets, blocks, off);
    }
    for (size_t b = 0; b < blocks; b++) {
        const uint8_t *block = weights + b * block_bytes, *quants = block + head;
        __m512i sum[CKV_INT8_TILE][2];
        for (int t = 0; t < tokens; t++) {
            for (int g = 0; g < groups; g++) {
                sum[t][g] = starts != NULL ? starts[b][g] : _mm512_setzero_si512();
                // Q4_0's zero is at 8.
                if (kind == kind_q4_0) sum[t][g] = _mm512_set1_epi32(-8 * p->sums[(token + t) * blocks + b]);
            }
        }
        const int8_t *x = values + b * CKV_BLOCK;
        if (kind == kind_q8_0) int8_dot_bytes(starts != NULL, tokens, groups, quants, group_bytes, x, p->columns, sum);
        else int8_dot_nibbles(tokens, groups, quants, group_bytes, x, p->columns, sum);
        for (int g = 0; g < groups; g++) {
            const __m512 d = vec_f16(block + g * group_bytes);
            for (int t = 0; t < tokens; t++) {
                const __m512 scale = _mm512_mul_ps(d, _mm512_set1_ps(scales[t * blocks + b]));
                acc[t][g] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[t][g]), scale, acc[t][g]);
            }
        }
        if (kind == kind_q4_1 && together) {
            int8_offsets(tokens, groups, block, group_bytes, p->offsets + token * blocks + b, blocks, off);
        }
    }
    for (int t = 0; t < tokens; t++) {
        for (int g = 0; g < groups; g++) {
            const __m512 value = kind == kind_q4_1 ? _mm512_add_ps(acc[t][g], off[t][g]) : acc[t][g];
            product_store(p, token + t, row + g * CKV_GROUP, value);
        }
    }
}

#define INT8_CASE(n) \
    case n: int8_tile(n, groups, kind, p, weights, group_bytes, row, token, starts); break;

// A panel by all tokens, in tiles of like size: 7 tokens are 4 and 3, not 6 and 1.
CKV_INLINE void int8_tiles(
    const int groups, const int kind, const ckv_product *p, const uint8_t *weights, size_t group_bytes, size_t row,
    const __m512i (*starts)[2]
) {
    size_t token = 0;
    for (size_t tiles = (p->tokens + CKV_INT8_TILE - 1) / CKV_INT8_TILE; tiles > 0; tiles--) {
        const size_t count = (p->tokens - token + tiles - 1) / tiles;
        switch (count) { INT8_CASE(1) INT8_CASE(2) INT8_CASE(3) INT8_CASE(4) INT8_CASE(5) INT8_CASE(6) }
        token += count;
    }
}

CKV_INLINE void int8_panel(
    const int groups, const int kind, const ckv_product *p, const uint8_t *weights, size_t group_bytes, size_t row
) {
    const size_t blocks = p->columns / CKV_BLOCK, block_bytes = int8_block_bytes(kind);
    if (kind == kind_q8_0 && p->tokens > CKV_INT8_TILE && blocks <= INT8_STARTS) {
        __m512i starts[INT8_STARTS][2];
        for (size_t b = 0; b < blocks; b++) {
            const uint8_t *quants = weights + b * block_bytes + int8_head_bytes(kind);
            for (int g = 0; g < groups; g++) starts[b][g] = int8_start(quants + g * group_bytes);
        }
        int8_tiles(groups, kind, p, weights, group_bytes, row, (const __m512i(*)[2])starts);
    } else {
        int8_tiles(groups, kind, p, weights, group_bytes, row, NULL);
    }
}
