// Norms. Rows of hidden state have a block of 256 each, heads a warp each (eight a block): a row's sum goes by its width alone, never by how
// many rows there are. Rows are read again rather than kept: the second time they come from the first-level cache.

// Goes through a row by the `threads` threads that share it, this one being `thread`: f(i, x) for each element, x = load(i), in eights where
// `aligned`.
template <typename Eight, typename One>
static __device__ __forceinline__ void for_row(int width, bool aligned, int thread, int threads, Eight eight, One one) {
    const int eights = aligned ? width / 8 : 0;
    for (int i = thread; i < eights; i += threads) eight(i * 8);
    for (int i = eights * 8 + thread; i < width; i += threads) one(i);
}

template <typename T, typename F>
static __device__ __forceinline__ float row_sum(const T *row, int width, bool aligned, int thread, int threads, F f) {
    float sum = 0;
    for_row(
        width, aligned, thread, threads,
        [&](int i) {
            float x[8];
            load8(row + i, x);
#pragma unroll
            for (int j = 0; j < 8; j++) sum += f(x[j]);
        },
        [&](int i) { sum += f(load1(row + i)); });
    return sum;
}

// out (+)= norm(in) of one row; `total` sums over the threads that share it. With `bias` (layer norm) the mean is taken off.
template <bool adds, typename Out, typename In, typename Total>
static __device__ __forceinline__ void norm_row(
    Out *out, const In *in, const float *weight, const float *bias, float eps, int width, int thread, int threads, Total total) {
    const bool aligned = is_aligned(out) && is_aligned(in) && is_aligned(weight) && is_aligned(bias);
    float mean = 0;
    if (bias) mean = total(row_sum(in, width, aligned, thread, threads, [](float x) { return x; })) / width;
    const float squares =
        total(row_sum(in, width, aligned, thread, threads, [=](float x) { return (x - mean) * (x - mean); }));
    const float scale = 1.0f / sqrtf(squares / width + eps);
    for_row(
        width, aligned, thread, threads,
        [&](int i) {
            float x[8], w[8], b[8] = {0, 0, 0, 0, 0, 0, 0, 0}, y[8] = {0, 0, 0, 0, 0, 0, 0, 0};
            load8(in + i, x);
            load8(weight + i, w);
            if (bias) load8(bias + i, b);
            if (adds) load8(out + i, y);
#pragma unroll
            for (int j = 0; j < 8; j++) x[j] = y[j] + ((x[j] - mean) * scale * w[j] + b[j]);
            store8(out + i, x);
        },
        [&](int i) {
            const float y = adds ? load1(out + i) : 0.0f;
            store1(out + i, y + ((load1(in + i) - mean) * scale * weight[i] + (bias ? bias[i] : 0.0f)));
        });
}

template <bool adds, typename Out>
static __device__ __forceinline__ void norm_hidden(
    Out *out, const float *in, const float *weight, const float *bias, float eps, int rows, int width) {
    for (int row = blockIdx.x; row < rows; row += gridDim.x)
        norm_row<adds>(out + (long long)row * width, in + (long long)row * width, weight, bias, eps, width, threadIdx.x, blockDim.x,
                       [](float x) { return block_sum(x); });
}

static __device__ __forceinline__ void norm_heads(
    element *x, const float *weight, const float *bias, int weight_rows, float eps, int rows, int width) {
    const int lane = threadIdx.x % WARP, warps = blockDim.x / WARP;
    for (int row = blockIdx.x * warps + threadIdx.x / WARP; row < rows; row += gridDim.x * warps) {
        const long long at = (long long)(row % weight_rows) * width;
        element *own = x + (long long)row * width;
        norm_row<false>(own, own, weight + at, bias ? bias + at : bias, eps, width, lane, WARP,
                        [](float v) { return warp_sum(v); });
    }
}

KERNEL(rms_norm_hidden, 256, (element *out, const float *in, const float *weight, float eps, int rows, int width)) {
    norm_hidden<false>(out, in, weight, nullptr, eps, rows, width);
}
KERNEL(rms_norm_add, 256, (float *out, const float *in, const float *weight, float eps, int rows, int width)) {
    norm_hidden<true>(out, in, weight, nullptr, eps, rows, width);
}
KERNEL(rms_norm_element, 256, (element *x, const float *weight, int weight_rows, float eps, int rows, int width)) {
    norm_heads(x, weight, nullptr, weight_rows, eps, rows, width);
}
KERNEL(layer_norm_hidden, 256,
       (element *out, const float *in, const float *weight, const float *bias, float eps, int rows, int width)) {
    norm_hidden<false>(out, in, weight, bias, eps, rows, width);
}
KERNEL(layer_norm_add, 256,
       (float *out, const float *in, const float *weight, const float *bias, float eps, int rows, int width)) {
    norm_hidden<true>(out, in, weight, bias, eps, rows, width);
}
KERNEL(layer_norm_element, 256,
       (element *x, const float *weight, const float *bias, int weight_rows, float eps, int rows, int width)) {
    norm_heads(x, weight, bias, weight_rows, eps, rows, width);
}
