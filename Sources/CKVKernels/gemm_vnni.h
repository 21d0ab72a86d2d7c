// int8 products with VNNI, of any width: vec_dpbusd adds to each lane four products of unsigned and signed bytes.

// The exact dot products of block k of the span `start` bytes into the streams' groups, as floats.
CKV_INLINE void int8_dot(
    const int tokens, const int streams, const int kind, const int8_streams *s, size_t start, size_t k, const int8_t *values,
    size_t columns, const ckv_sums *sums, size_t blocks, vec dot[][2]
) {
    const ckv_layout *const layout = &ckv_layouts[kind];
    const int bits = layout->bits, parts = kind == kind_q6_k ? 2 : 1;
    const uint8_t *quants[2];
    for (int i = 0; i < streams; i++) {
        quants[i] = s->group[i] + start + ckv_head_bytes(layout) + k * ckv_quant_bytes(layout) + 4 * s->lane[i];
    }
#pragma unroll
    for (int part = 0; part < parts; part++) {
        // What the integers are too great by: both halves' sums times it, or this half's.
        const int32_t pair = (-layout->zero & 0xFFFF) | -layout->zero * 65536;
        const vec_i32 zero = (parts == 1 ? pair : part == 0 ? pair & 0xFFFF : pair & ~0xFFFF) - (vec_i32){0};
        vec_i32 sum[CKV_INT8_TILE][2];
        for (int t = 0; t < tokens; t++) {
            sum[t][0] = (vec_i32){0};
            if (layout->zero) sum[t][0] = vec_dpwssd(sum[t][0], int8_all(sums + t * blocks), zero);
            sum[t][1] = sum[t][0];
        }
#pragma unroll
        for (int step = 0; step < 8 / parts; step++) {
            // Nibbles of the same bytes follow each other.
            const int n = parts == 2 ? 4 * part + step : bits == 8 ? step : step / 2 + step % 2 * 4;
            vec_i32 w[2];
            for (int i = 0; i < streams; i++) w[i] = int8_weights(bits, quants[i], n);
            for (int t = 0; t < tokens; t++) {
                const vec_i32 x = int8_all(values + t * columns + 4 * n);
                for (int i = 0; i < streams; i++) sum[t][i] = vec_dpbusd(sum[t][i], w[i], x);
            }
        }
        for (int i = 0; i < streams; i++) {
            if (parts == 1) {
                for (int t = 0; t < tokens; t++) dot[t][i] = __builtin_convertvector(sum[t][i], vec);
                continue;
            }
            // All integers here are below 2^24, so floats hold them; an addition of zero has no negative zero.
            const uint8_t *bytes = s->group[i] + start + ckv_head_offset(layout, k) + s->lane[i] + part * CKV_GROUP;
            const vec scale = __builtin_convertvector(int8_signed(bytes), vec);
            for (int t = 0; t < tokens; t++) {
                dot[t][i] = vec_fma(scale, __builtin_convertvector(sum[t][i], vec), part == 0 ? vec_all(0) : dot[t][i]);
            }
        }
    }
}
