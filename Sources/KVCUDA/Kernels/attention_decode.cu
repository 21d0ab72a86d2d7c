// Attention of one token: the memory's speed is all, so keys and values are read once for several heads of a group, 16 bytes a lane, four keys
// at a time. The keys seen are cut in `splits` parts whatever their number, so that the grid is always the same; a merge follows.

// Heads of a group that a block takes.
constexpr int DECODE_HEADS = 4;
constexpr int DECODE_WARPS = 4;
// Keys that a lane has in flight.
constexpr int AHEAD = 4;
// Lanes that share a key, eight elements each.
constexpr int KEY_LANES = HEAD_DIM <= 8 ? 1 : HEAD_DIM <= 16 ? 2 : HEAD_DIM <= 32 ? 4 : HEAD_DIM <= 64 ? 8 : HEAD_DIM <= 128 ? 16 : 32;
constexpr int WARP_KEYS = WARP / KEY_LANES;
constexpr int PARTIAL = HEAD_DIM + 2;

template <typename T> static __device__ __forceinline__ void load_unit(const T *row, int unit, float (&x)[8]) {
    if (unit * 8 >= HEAD_DIM) {
#pragma unroll
        for (int j = 0; j < 8; j++) x[j] = 0;
    } else {
        widen<T>(HEAD_DIM % 8 == 0 ? load16(row + unit * 8) : row_unit(row, unit), x);
    }
}

// One head's softmax so far: the highest score (times log2 e), the sum of weights, and a lane's part of the sum of values.
struct Softmax {
    float highest, sum, out[8];

    __device__ __forceinline__ void clear() {
        highest = -INFINITE, sum = 0;
#pragma unroll
        for (int j = 0; j < 8; j++) out[j] = 0;
    }
    // Takes in another one's.
    __device__ __forceinline__ void merge(float other_highest, float other_sum, const float (&other)[8]) {
        const float most = fmaxf(highest, other_highest), base = most == -INFINITE ? 0.0f : most;
        const float own_by = exp2_fast(highest - base), by = exp2_fast(other_highest - base);
        highest = most;
        sum = sum * own_by + other_sum * by;
#pragma unroll
        for (int j = 0; j < 8; j++) out[j] = out[j] * own_by + other[j] * by;
    }
};

// Grid: key/value heads, splits, groups of DECODE_HEADS heads of a key/value head. A partial: the sum of values, then the highest score (in
// powers of two; minus infinity where the split has no keys) and the sum of weights.
KERNEL(attention_decode, 128,
       (float *partials, const element *query, const cached *keys, const cached *values, const int *first, int heads, int kv_heads,
        int splits, float scale, float softcap, int window)) {
    __shared__ float shared[DECODE_WARPS][DECODE_HEADS][KEY_LANES * 8 + 2];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, unit = lane % KEY_LANES;
    const int group = heads / kv_heads;
    const int head = blockIdx.x * group + blockIdx.z * DECODE_HEADS;
    const int count = min(DECODE_HEADS, group - (int)blockIdx.z * DECODE_HEADS);
    // The split's keys.
    const int seen = *first + 1, start = window ? max(0, seen - window) : 0;
    const int part = (seen - start + splits - 1) / splits;
    const int begin = start + min(seen - start, (int)blockIdx.y * part), end = min(seen, begin + part);
    const long long stride = (long long)kv_heads * HEAD_DIM;
    keys += blockIdx.x * HEAD_DIM;
    values += blockIdx.x * HEAD_DIM;

    float q[DECODE_HEADS][8];
    Softmax softmax[DECODE_HEADS];
#pragma unroll
    for (int h = 0; h < DECODE_HEADS; h++) {
        load_unit(query + (head + min(h, count - 1)) * HEAD_DIM, unit, q[h]);
        softmax[h].clear();
    }
    constexpr int STEP = DECODE_WARPS * WARP_KEYS;
    const int own = warp * WARP_KEYS + lane / KEY_LANES;
    // All lanes go through the same rounds: they exchange sums.
    for (int round = begin; round < end; round += STEP * AHEAD) {
        float k[AHEAD][8], v[AHEAD][8];
#pragma unroll
        for (int a = 0; a < AHEAD; a++) {
            const long long at = min(round + a * STEP + own, end - 1) * stride;
            load_unit(keys + at, unit, k[a]);
            load_unit(values + at, unit, v[a]);
        }
#pragma unroll
        for (int h = 0; h < DECODE_HEADS; h++) {
            float s[AHEAD], most = softmax[h].highest;
#pragma unroll
            for (int a = 0; a < AHEAD; a++) {
                s[a] = 0;
#pragma unroll
                for (int j = 0; j < 8; j++) s[a] += q[h][j] * k[a][j];
#pragma unroll
                for (int step = KEY_LANES / 2; step > 0; step /= 2) s[a] += __shfl_xor_sync(ALL_LANES, s[a], step);
                s[a] *= scale;
                if (softcap != 0) s[a] = softcap * tanhf(s[a] / softcap);
                s[a] = round + a * STEP + own < end ? s[a] * LOG2_E : -INFINITE;
                most = fmaxf(most, s[a]);
            }
            const float base = most == -INFINITE ? 0.0f : most, keep = exp2_fast(softmax[h].highest - base);
            softmax[h].highest = most;
            softmax[h].sum *= keep;
#pragma unroll
            for (int j = 0; j < 8; j++) softmax[h].out[j] *= keep;
#pragma unroll
            for (int a = 0; a < AHEAD; a++) {
                const float weight = exp2_fast(s[a] - base);
                softmax[h].sum += weight;
#pragma unroll
                for (int j = 0; j < 8; j++) softmax[h].out[j] += weight * v[a][j];
            }
        }
    }
    // Lanes with the same unit, then warps.
#pragma unroll
    for (int h = 0; h < DECODE_HEADS; h++) {
#pragma unroll
        for (int step = KEY_LANES; step < WARP; step *= 2) {
            float other[8];
            const float highest = __shfl_xor_sync(ALL_LANES, softmax[h].highest, step);
            const float sum = __shfl_xor_sync(ALL_LANES, softmax[h].sum, step);
#pragma unroll
            for (int j = 0; j < 8; j++) other[j] = __shfl_xor_sync(ALL_LANES, softmax[h].out[j], step);
            softmax[h].merge(highest, sum, other);
        }
        if (lane < KEY_LANES) {
            float *to = shared[warp][h];
#pragma unroll
            for (int j = 0; j < 8; j++) to[unit * 8 + j] = softmax[h].out[j];
            if (lane == 0) to[KEY_LANES * 8] = softmax[h].highest, to[KEY_LANES * 8 + 1] = softmax[h].sum;
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < count * PARTIAL; i += DECODE_WARPS * WARP) {
        const int h = i / PARTIAL, d = i % PARTIAL;
        float most = -INFINITE;
        for (int w = 0; w < DECODE_WARPS; w++) most = fmaxf(most, shared[w][h][KEY_LANES * 8]);
        const float base = most == -INFINITE ? 0.0f : most;
        float sum = 0;
        for (int w = 0; w < DECODE_WARPS; w++) {
            const float *from = shared[w][h];
            sum += from[d < HEAD_DIM ? d : KEY_LANES * 8 + 1] * exp2_fast(from[KEY_LANES * 8] - base);
        }
        partials[((long long)(head + h) * splits + blockIdx.y) * PARTIAL + d] = d == HEAD_DIM ? most : sum;
    }
}

// Grid: heads.
KERNEL(attention_merge, 256, (element *out, const float *partials, int, int splits)) {
    const float *own = partials + (long long)blockIdx.x * splits * PARTIAL;
    for (int d = threadIdx.x; d < HEAD_DIM; d += blockDim.x) {
        float most = -INFINITE, sum = 0, value = 0;
        for (int i = 0; i < splits; i++) most = fmaxf(most, own[i * PARTIAL + HEAD_DIM]);
        for (int i = 0; i < splits; i++) {
            const float *part = own + i * PARTIAL;
            const float by = exp2_fast(part[HEAD_DIM] - most);
            sum += part[HEAD_DIM + 1] * by;
            value += part[d] * by;
        }
        out[blockIdx.x * HEAD_DIM + d] = element_of(value / sum);
    }
}
