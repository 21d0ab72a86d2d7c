// Mixtures of experts: the choice, the rows that go to each, and their sum. The products between are matrix products.

// A warp a token. NaN counts as the lowest score; every token gets `used` different experts whatever the scores.
KERNEL(choose_experts, 256,
       (int *chosen, float *weights, const float *scores, int tokens, int count, int used, int renormalises)) {
    const int lane = threadIdx.x % WARP, warps = blockDim.x / WARP;
    for (int token = blockIdx.x * warps + threadIdx.x / WARP; token < tokens; token += gridDim.x * warps) {
        const float *row = scores + (long long)token * count;
        int *own = chosen + (long long)token * used;
        float *weight = weights + (long long)token * used;
        // Each round takes the next in the order (score descending, index ascending): what comes after the last one taken.
        float last = INFINITE, highest = 0, sum = 0;
        int last_index = -1;
        for (int round = 0; round < used; round++) {
            float best = -INFINITE;
            int index = count;
            for (int i = lane; i < count; i += WARP) {
                const float score = row[i] == row[i] ? row[i] : -INFINITE;
                const bool is_left = score < last || (score == last && i > last_index);
                if (is_left && (score > best || (score == best && i < index))) best = score, index = i;
            }
#pragma unroll
            for (int step = WARP / 2; step > 0; step /= 2) {
                const float other = __shfl_xor_sync(ALL_LANES, best, step);
                const int there = __shfl_xor_sync(ALL_LANES, index, step);
                if (other > best || (other == best && there < index)) best = other, index = there;
            }
            last = best, last_index = index;
            const float score = row[index];
            if (round == 0) highest = score;
            const float part = expf(score - highest);
            sum += part;
            if (lane == 0) own[round] = index, weight[round] = part;
        }
        if (!renormalises) {
            sum = 0;
            for (int i = lane; i < count; i += WARP) sum += expf(row[i] - highest);
            sum = warp_sum(sum);
        }
        if (lane == 0)
            for (int round = 0; round < used; round++) weight[round] /= sum;
    }
}

KERNEL(gather_rows, 256, (element *out, const element *in, const int *source, int rows, int width)) {
    for_elements(
        (long long)rows * width, width % 8 == 0 && is_aligned(out) && is_aligned(in),
        [&](long long i) { store16(out + i, load16(in + (long long)source[i / width] * width + i % width)); },
        [&](long long i) { out[i] = in[(long long)source[i / width] * width + i % width]; });
}

// out += scale * the sum of the token's experts' rows, in the order of their choice, by their weights.
KERNEL(add_experts, 256,
       (float *out, const float *rows, const int *row_of, const float *weights, int tokens, int used, int width, float scale)) {
    for_elements(
        (long long)tokens * width, width % 8 == 0 && is_aligned(out) && is_aligned(rows),
        [&](long long i) {
            const long long token = i / width;
            float sum[8] = {0, 0, 0, 0, 0, 0, 0, 0}, x[8];
            for (int u = 0; u < used; u++) {
                load8(rows + (long long)row_of[token * used + u] * width + i % width, x);
                const float weight = weights[token * used + u];
#pragma unroll
                for (int j = 0; j < 8; j++) sum[j] += weight * x[j];
            }
            load8(out + i, x);
#pragma unroll
            for (int j = 0; j < 8; j++) x[j] += scale * sum[j];
            store8(out + i, x);
        },
        [&](long long i) {
            const long long token = i / width;
            float sum = 0;
            for (int u = 0; u < used; u++)
                sum += weights[token * used + u] * rows[(long long)row_of[token * used + u] * width + i % width];
            out[i] += scale * sum;
        });
}
