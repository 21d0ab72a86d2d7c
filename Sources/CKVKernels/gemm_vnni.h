// int8 products with VNNI or the like, of any width: vec_dpbusd adds to each lane four products of unsigned and signed bytes. Where it
// takes signed ones only (CKV_INT8_SIGNED), weights below 128 are these as well, and greater ones become so by their top bit.
#ifdef CKV_INT8_SIGNED
#define INT8_FLIPPED(kind) (ckv_layouts[kind].zero == 128)
#else
#define INT8_FLIPPED(kind) (false)
// Columns 4n ... 4n+3 of a block's activations, in every lane.
CKV_INLINE vec_i32 int8_four(const int8_t *values, const int n) { return int8_all(values + 4 * n); }
#endif

CKV_INLINE vec_i32 int8_pair(vec_i32 a, vec_i32 b) { return vec_dpwssd((vec_i32){0}, a, b); }

// As floats.
CKV_INLINE vec_i32 int8_factor(vec_i32 scales) { return (vec_i32)__builtin_convertvector(scales, vec); }

// The exact dot products of block b with a tile's tokens, as floats.
CKV_INLINE void int8_dot(
    const int tokens, const int streams, const int kind, const int8_streams *s, size_t b, const int8_t *values, size_t columns,
    const ckv_sums *sums, vec dot[][2]
) {
    const size_t blocks = columns / CKV_BLOCK;
    // Without its top bit, the byte is the weight less 128: the zero.
    const int32_t bias = INT8_FLIPPED(kind) ? 0 : -ckv_layouts[kind].zero;
    const int parts = ckv_layouts[kind].scaling == scaling_halves ? 2 : 1;
#pragma unroll
    for (int part = 0; part < parts; part++) {
        // What the integers are too great by: both halves' sums times it, or this half's.
        const vec_i32 zero = ((part == 0 ? bias & 0xFFFF : 0) | (part == parts - 1 ? bias * 65536 : 0)) - (vec_i32){0};
        vec_i32 sum[CKV_INT8_TILE][2];
        for (int t = 0; t < tokens; t++) {
            sum[t][0] = (vec_i32){0};
            if (bias) sum[t][0] = vec_dpwssd(sum[t][0], int8_all(sums + t * blocks + b), zero);
            sum[t][1] = sum[t][0];
        }
#pragma unroll
        for (int step = 0; step < 8 / parts; step++) {
            const int n = INT8_ORDER(kind, 4 * part + step);
            vec_i32 w[2];
            for (int i = 0; i < streams; i++) w[i] = int8_weights(kind, s, i, b, n) ^ (INT8_FLIPPED(kind) ? (int32_t)0x80808080 : 0);
            for (int t = 0; t < tokens; t++) {
                const vec_i32 x = int8_four(values + t * columns + b * CKV_BLOCK, n);
                for (int i = 0; i < streams; i++) sum[t][i] = vec_dpbusd(sum[t][i], w[i], x);
            }
        }
        for (int i = 0; i < streams; i++) {
            if (parts == 1) {
                for (int t = 0; t < tokens; t++) dot[t][i] = __builtin_convertvector(sum[t][i], vec);
                continue;
            }
            // All integers here are below 2^24, so floats hold them; an addition of zero has no negative zero.
            const vec scale = (vec)int8_factors(kind, s, i, b, part);
            for (int t = 0; t < tokens; t++) {
                dot[t][i] = vec_fma(scale, __builtin_convertvector(sum[t][i], vec), part == 0 ? vec_all(0) : dot[t][i]);
            }
        }
    }
}
