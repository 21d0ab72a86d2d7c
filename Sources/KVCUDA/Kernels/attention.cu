// Causal attention of many tokens on tensor cores, after FlashAttention-2 (Dao, arXiv 2307.08691): a block takes QUERIES tokens of a head,
// its warps 16 or 32 of them each, and goes through the keys in blocks of KEYS with an online softmax. While scores are made of the keys, the
// values come in, and the next keys while the values are summed.
//
// Key blocks are aligned to absolute position 0 and taken in ascending order, and a block that a token does not see changes none of its bits
// (a factor of 1, a sum of 0): so a token's result does not depend on the chunk that it is computed in, nor on its place there.

// The head, padded by zeros.
constexpr int DEPTH = (HEAD_DIM + 15) / 16 * 16;
constexpr int KEYS = 64;
constexpr int ATTENTION_WARPS = 4;
// Tiles of 16 tokens of a warp: with two, what is read of keys and values is used twice; deeper heads have no registers for that.
constexpr int TILES = DEPTH <= 128 ? 2 : 1;
constexpr int QUERIES = ATTENTION_WARPS * TILES * 16;
// A row's units of 16 bytes, and how far apart rows are in shared memory. Eight rows' same unit must lie in eight different groups of banks
// (units modulo 8): by an exclusive or with the row where rows are whole multiples of eight units, and by an odd distance otherwise.
constexpr int UNITS = DEPTH / 8;
constexpr bool SWIZZLED = UNITS % 8 == 0;
constexpr int ROW_UNITS = SWIZZLED ? UNITS : UNITS | 1;
// Of shared memory (DeviceKernels.swift has the same): (QUERIES + 2 * KEYS) * ROW_UNITS * 16 bytes, 96 KiB at most.

static __device__ __forceinline__ uint4 *unit_at(uint4 *tile, int row, int unit) {
    return tile + row * ROW_UNITS + (SWIZZLED ? unit ^ (row & 7) : unit);
}

// Eight elements of a row of HEAD_DIM from `unit` on, zeros after its end.
template <typename T> static __device__ __forceinline__ uint4 row_unit(const T *row, int unit) {
    unsigned pairs[4];
#pragma unroll
    for (int j = 0; j < 4; j++) {
        const int i = unit * 8 + j * 2;
        pairs[j] = (i < HEAD_DIM ? row[i].bits : 0u) | (i + 1 < HEAD_DIM ? (unsigned)row[i + 1].bits << 16 : 0u);
    }
    return make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
}

// Rows first ..< limit of a head's keys or values, KEYS at most, to shared memory; zeros for the others. Not yet there at return.
static __device__ __forceinline__ void fetch(uint4 *tile, const cached *base, long long stride, int first, int limit) {
#pragma unroll 4
    for (int i = threadIdx.x; i < KEYS * UNITS; i += ATTENTION_WARPS * WARP) {
        const int row = i / UNITS, unit = i % UNITS;
        const bool is_there = first + row < limit;
        const cached *from = base + (is_there ? first + row : 0) * stride;
        uint4 *to = unit_at(tile, row, unit);
        if (HEAD_DIM % 8 == 0) {
            const bool is_whole = unit * 8 < HEAD_DIM;
            copy_async(to, from + (is_whole ? unit * 8 : 0), is_there && is_whole);
        } else {
            *to = is_there ? row_unit(from, unit) : make_uint4(0, 0, 0, 0);
        }
    }
}

// The tokens' queries, in the type of the keys.
static __device__ __forceinline__ void fetch_queries(uint4 *tile, const element *base, long long stride, int first, int limit) {
    for (int i = threadIdx.x; i < QUERIES * UNITS; i += ATTENTION_WARPS * WARP) {
        const int row = i / UNITS, unit = i % UNITS;
        uint4 bits = make_uint4(0, 0, 0, 0);
        if (first + row < limit) {
            const element *from = base + (first + row) * stride;
            if (HEAD_DIM % 8 != 0) bits = row_unit(from, unit);
            else if (unit * 8 < HEAD_DIM) bits = load16(from + unit * 8);
        }
        *unit_at(tile, row, unit) = recoded(bits);
    }
}

// What a warp keeps: of tile i, this thread's rows are lane / 4 and that plus 8 (h = 0, 1), its columns lane % 4 * 2 and the next of every
// eight: fragment [..][n][2 * h + c].
struct Rows {
    float out[TILES][DEPTH / 8][4];
    float highest[TILES][2], sum[TILES][2];
};

// scores = queries * keys^T.
static __device__ __forceinline__ void score(float (&s)[TILES][KEYS / 8][4], uint4 *queries, uint4 *keys, int row) {
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int i = 0; i < TILES; i++)
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++) s[i][n][0] = s[i][n][1] = s[i][n][2] = s[i][n][3] = 0;
#pragma unroll
    for (int k = 0; k < DEPTH / 16; k++) {
        unsigned a[TILES][4];
#pragma unroll
        for (int i = 0; i < TILES; i++) load_matrices(a[i], unit_at(queries, row + i * 16 + lane % 16, k * 2 + lane / 16));
#pragma unroll
        for (int n = 0; n < KEYS / 8; n += 2) {
            unsigned b[4];
            load_matrices(b, unit_at(keys, n * 8 + lane / 16 * 8 + lane % 8, k * 2 + lane / 8 % 2));
#pragma unroll
            for (int i = 0; i < TILES; i++) {
                mma(s[i][n], a[i], b[0], b[1]);
                mma(s[i][n + 1], a[i], b[2], b[3]);
            }
        }
    }
}

// Takes a block's scores into the rows' softmax: they become the keys' weights, relative to the highest score so far. `factor` brings
// scores to powers of two.
static __device__ __forceinline__ void soften(Rows &rows, float (&s)[TILES][KEYS / 8][4], float factor) {
#pragma unroll
    for (int i = 0; i < TILES; i++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float highest = rows.highest[i][h];
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++) highest = fmaxf(highest, fmaxf(s[i][n][2 * h], s[i][n][2 * h + 1]));
            highest = fmaxf(highest, __shfl_xor_sync(ALL_LANES, highest, 1));
            highest = fmaxf(highest, __shfl_xor_sync(ALL_LANES, highest, 2));
            // A row that has seen no key yet must not become infinity minus infinity.
            const float finite = highest == -INFINITE ? 0.0f : highest, base = finite * factor;
            // Exactly 1 where the highest stays: the difference before the product.
            const float keep = exp2_fast((rows.highest[i][h] - finite) * factor);
            rows.highest[i][h] = highest;
            float sum = 0;
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                for (int c = 0; c < 2; c++) {
                    float &x = s[i][n][2 * h + c];
                    x = exp2_fast(fmaf(x, factor, -base));
                    sum += x;
                }
            // The quad's parts are added at the end.
            rows.sum[i][h] = rows.sum[i][h] * keep + sum;
#pragma unroll
            for (int d = 0; d < DEPTH / 8; d++) {
                rows.out[i][d][2 * h] *= keep;
                rows.out[i][d][2 * h + 1] *= keep;
            }
        }
}

// out += weights * values.
static __device__ __forceinline__ void sum_values(Rows &rows, const float (&s)[TILES][KEYS / 8][4], uint4 *values) {
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int k = 0; k < KEYS / 16; k++) {
        unsigned a[TILES][4];
#pragma unroll
        for (int i = 0; i < TILES; i++) {
            a[i][0] = cached_pair(s[i][2 * k][0], s[i][2 * k][1]);
            a[i][1] = cached_pair(s[i][2 * k][2], s[i][2 * k][3]);
            a[i][2] = cached_pair(s[i][2 * k + 1][0], s[i][2 * k + 1][1]);
            a[i][3] = cached_pair(s[i][2 * k + 1][2], s[i][2 * k + 1][3]);
        }
#pragma unroll
        for (int d = 0; d < DEPTH / 8; d += 2) {
            unsigned b[4];
            load_matrices_transposed(b, unit_at(values, k * 16 + lane % 16, d + lane / 16));
#pragma unroll
            for (int i = 0; i < TILES; i++) {
                mma(rows.out[i][d], a[i], b[0], b[1]);
                mma(rows.out[i][d + 1], a[i], b[2], b[3]);
            }
        }
    }
}

static __device__ __forceinline__ float capped(float x, float by) { return 1.0f - __fdividef(2.0f, 1.0f + exp2_fast(x * by)); }

// Scores that a token does not see become minus infinity. `position` is that of the warp's first row, `key` that of the block's first key.
static __device__ __forceinline__ void mask(float (&s)[TILES][KEYS / 8][4], int position, int key, int window) {
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int i = 0; i < TILES; i++)
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const int own = position + i * 16 + lane / 4 + j / 2 * 8, other = key + n * 8 + lane % 4 * 2 + j % 2;
                if (other > own || (window && own - other >= window)) s[i][n][j] = -INFINITE;
            }
}

// The warp's rows, divided by their sums, to `out`: by way of their queries' place in shared memory, so that whole units are written. (The
// last read of the queries lies before a barrier.)
static __device__ __forceinline__ void finish(
    Rows &rows, uint4 *tile, element *out, long long stride, int row, int first, int tokens) {
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int i = 0; i < TILES; i++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float sum = rows.sum[i][h];
            sum += __shfl_xor_sync(ALL_LANES, sum, 1);
            sum += __shfl_xor_sync(ALL_LANES, sum, 2);
            const float by = 1.0f / sum;
#pragma unroll
            for (int d = 0; d < DEPTH / 8; d++) {
                unsigned *unit = (unsigned *)unit_at(tile, row + i * 16 + h * 8 + lane / 4, d);
                unit[lane % 4] = elements_of(rows.out[i][d][2 * h] * by, rows.out[i][d][2 * h + 1] * by);
            }
        }
    __syncwarp();
    for (int i = lane; i < TILES * 16 * UNITS; i += WARP) {
        const int own = row + i / UNITS, unit = i % UNITS;
        if (first + own >= tokens || unit * 8 >= HEAD_DIM) continue;
        const uint4 bits = *unit_at(tile, own, unit);
        element *to = out + (first + own) * stride + unit * 8;
        if (HEAD_DIM % 8 == 0) {
            store16(to, bits);
        } else {
            const unsigned pairs[4] = {bits.x, bits.y, bits.z, bits.w};
            for (int j = 0; j < 8 && unit * 8 + j < HEAD_DIM; j++) to[j].bits = (unsigned short)(pairs[j / 2] >> j % 2 * 16);
        }
    }
}

// Grid: heads, tiles of QUERIES tokens. All addresses 16-aligned where HEAD_DIM is a multiple of 8. The scale must be positive.
KERNEL(attention, 128,
       (element *out, const element *query, const cached *keys, const cached *values, const int *first_position, int tokens, int heads,
        int kv_heads, float scale, float softcap, int window)) {
    uint4 *query_tile = (uint4 *)dynamic_shared();
    uint4 *key_tile = query_tile + QUERIES * ROW_UNITS, *value_tile = key_tile + KEYS * ROW_UNITS;
    // Later tokens see more keys: they go first.
    const int head = blockIdx.x, first = (gridDim.y - 1 - blockIdx.y) * QUERIES;
    const long long stride = (long long)heads * HEAD_DIM, kv_stride = (long long)kv_heads * HEAD_DIM;
    keys += head / (heads / kv_heads) * HEAD_DIM;
    values += head / (heads / kv_heads) * HEAD_DIM;
    const int position = *first_position + first;
    const int last = position + min(QUERIES, tokens - first) - 1;
    const int begin = window ? max(0, position - window + 1) / KEYS * KEYS : 0;
    const int row = threadIdx.x / WARP * TILES * 16;

    fetch(key_tile, keys, kv_stride, begin, last + 1);
    copy_commit();
    fetch_queries(query_tile, query + head * HEAD_DIM, stride, first, tokens);
    Rows rows;
#pragma unroll
    for (int i = 0; i < TILES; i++) {
        rows.highest[i][0] = rows.highest[i][1] = -INFINITE;
        rows.sum[i][0] = rows.sum[i][1] = 0;
#pragma unroll
        for (int d = 0; d < DEPTH / 8; d++) rows.out[i][d][0] = rows.out[i][d][1] = rows.out[i][d][2] = rows.out[i][d][3] = 0;
    }
    const float factor = (softcap != 0 ? softcap : scale) * LOG2_E;
    const float inner = softcap != 0 ? scale / softcap * 2 * LOG2_E : 0.0f;
    // The warp's rows are at these positions.
    const int warp_first = position + row, warp_last = warp_first + TILES * 16 - 1;
    for (int key = begin; key <= last; key += KEYS) {
        float s[TILES][KEYS / 8][4];
        // Some of the warp's rows (where there are any) see some of these keys; all see all.
        const bool sees = first + row < tokens && key <= warp_last && (!window || warp_first - (key + KEYS - 1) < window);
        const bool is_full = key + KEYS - 1 <= warp_first && (!window || warp_last - key < window);
        copy_wait<0>();
        __syncthreads();
        fetch(value_tile, values, kv_stride, key, last + 1);
        copy_commit();
        if (sees) {
            score(s, query_tile, key_tile, row);
            if (softcap != 0) {
#pragma unroll
                for (int i = 0; i < TILES; i++)
#pragma unroll
                    for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                        for (int j = 0; j < 4; j++) s[i][n][j] = capped(s[i][n][j], inner);
            }
            if (!is_full) mask(s, warp_first, key, window);
            soften(rows, s, factor);
        }
        copy_wait<0>();
        __syncthreads();
        if (key + KEYS <= last) fetch(key_tile, keys, kv_stride, key + KEYS, last + 1);
        copy_commit();
        if (sees) sum_values(rows, s, value_tile);
    }
    copy_wait<0>();
    finish(rows, query_tile, out + head * HEAD_DIM, stride, row, first, tokens);
}
