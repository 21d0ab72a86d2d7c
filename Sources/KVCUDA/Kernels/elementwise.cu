// Kernels of single elements, any grid of 256 threads a block: each thread goes through eights, 16-byte accesses where all addresses allow,
// and single elements otherwise.

// body(i, x): eight elements from i on are x[8]; calls `one(i)` instead where there are no eight.
template <typename Eight, typename One>
static __device__ __forceinline__ void for_elements(long long n, bool aligned, Eight eight, One one) {
    const long long eights = aligned ? n / 8 : 0;
    for (long long i = grid_thread(); i < eights; i += grid_threads()) eight(i * 8);
    for (long long i = eights * 8 + grid_thread(); i < n; i += grid_threads()) one(i);
}

// x[i] = f(x[i], i) for n elements of x.
template <typename T, typename F> static __device__ __forceinline__ void map(T *x, long long n, F f) {
    for_elements(
        n, is_aligned(x),
        [&](long long i) {
            float v[8];
            load8(x + i, v);
#pragma unroll
            for (int j = 0; j < 8; j++) v[j] = f(v[j], i + j);
            store8(x + i, v);
        },
        [&](long long i) { store1(x + i, f(load1(x + i), i)); });
}

// x[i] = f(x[i], y[i]).
template <typename X, typename Y, typename F> static __device__ __forceinline__ void combine(X *x, const Y *y, long long n, F f) {
    for_elements(
        n, is_aligned(x) && is_aligned(y),
        [&](long long i) {
            float a[8], b[8];
            load8(x + i, a);
            load8(y + i, b);
#pragma unroll
            for (int j = 0; j < 8; j++) a[j] = f(a[j], b[j]);
            store8(x + i, a);
        },
        [&](long long i) { store1(x + i, f(load1(x + i), load1(y + i))); });
}

static __device__ __forceinline__ float gelu_tanh_of(float x) {
    const float cube = 0.7978845608f * 0.044715f;
    return 0.5f * x * (1.0f + tanhf(x * (0.7978845608f + cube * x * x)));
}

KERNEL(embed, 256, (float *hidden, const element *table, const int *ids, int tokens, int columns, float scale)) {
    const bool aligned = columns % 8 == 0 && is_aligned(hidden) && is_aligned(table);
    for_elements(
        (long long)tokens * columns, aligned,
        [&](long long i) {
            float x[8];
            load8(table + (long long)ids[i / columns] * columns + i % columns, x);
#pragma unroll
            for (int j = 0; j < 8; j++) x[j] *= scale;
            store8(hidden + i, x);
        },
        [&](long long i) { hidden[i] = scale * to_float(table[(long long)ids[i / columns] * columns + i % columns]); });
}

KERNEL(to_element, 256, (element *out, const float *in, long n)) {
    for_elements(
        n, is_aligned(out) && is_aligned(in),
        [&](long long i) {
            float x[8];
            load8(in + i, x);
            store8(out + i, x);
        },
        [&](long long i) { out[i] = element_of(in[i]); });
}

KERNEL(add_float, 256, (float *out, const float *in, long n)) {
    combine(out, in, n, [](float a, float b) { return a + b; });
}

KERNEL(silu_product, 256, (element *gate, const element *up, long n)) {
    combine(gate, up, n, [](float g, float u) { return g / (1.0f + expf(-g)) * u; });
}

KERNEL(gelu_tanh_product, 256, (element *gate, const element *up, long n)) {
    combine(gate, up, n, [](float g, float u) { return gelu_tanh_of(g) * u; });
}

KERNEL(gelu, 256, (element *x, long n)) {
    map(x, n, [](float v, long long) { return 0.5f * v * (1.0f + erff(v * 0.7071067812f)); });
}

KERNEL(gelu_tanh, 256, (element *x, long n)) {
    map(x, n, [](float v, long long) { return gelu_tanh_of(v); });
}

KERNEL(soft_cap, 256, (float *x, float cap, long n)) {
    const float inverse = 1.0f / cap;
    map(x, n, [=](float v, long long) { return cap * tanhf(v * inverse); });
}

KERNEL(add_bias_element, 256, (element *x, const float *bias, int tokens, int width)) {
    map(x, (long long)tokens * width, [=](float v, long long i) { return v + bias[i % width]; });
}

KERNEL(add_bias_float, 256, (float *x, const float *bias, float scale, int tokens, int width)) {
    map(x, (long long)tokens * width, [=](float v, long long i) { return v + scale * bias[i % width]; });
}

// out += scale * sigmoid(the token's weight) * x.
KERNEL(add_weighted, 256, (float *out, const float *x, const float *weight, float scale, int tokens, int width)) {
    const auto factor = [=](long long i) { return scale / (1.0f + expf(-weight[i / width])); };
    for_elements(
        (long long)tokens * width, width % 8 == 0 && is_aligned(out) && is_aligned(x),
        [&](long long i) {
            float a[8], b[8];
            load8(out + i, a);
            load8(x + i, b);
            const float by = factor(i);
#pragma unroll
            for (int j = 0; j < 8; j++) a[j] += by * b[j];
            store8(out + i, a);
        },
        [&](long long i) { out[i] += factor(i) * x[i]; });
}

// ---------------------------------------------------------------------------------------------- positions

static __device__ __forceinline__ void rotate_pair(float &a, float &b, const float *angle) {
    const float cosine = angle[0], sine = angle[1], x = a;
    a = x * cosine - b * sine;
    b = x * sine + b * cosine;
}

// A thread takes one pair, or a unit of 16 bytes: four pairs side by side, or eight and their partners `pairs` on.
KERNEL(rotate, 256, (element *x, const float *angles, const int *first, int tokens, int heads, int pairs, int halves)) {
    const bool aligned = HEAD_DIM % 8 == 0 && pairs % (halves ? 8 : 4) == 0 && is_aligned(x);
    const int step = !aligned ? 1 : halves ? 8 : 4;
    const int units = pairs / step;
    const long long n = (long long)tokens * heads * units;
    const int start = *first;
    for (long long i = grid_thread(); i < n; i += grid_threads()) {
        const int pair = (int)(i % units) * step;
        const long long head = i / units;
        element *row = x + head * HEAD_DIM;
        const float *angle = angles + ((start + head / heads) * pairs + pair) * 2;
        if (!aligned) {
            element *p = halves ? row + pair : row + 2 * pair, *q = halves ? p + pairs : p + 1;
            float a = to_float(*p), b = to_float(*q);
            rotate_pair(a, b, angle);
            *p = element_of(a);
            *q = element_of(b);
        } else if (halves) {
            float a[8], b[8];
            load8(row + pair, a);
            load8(row + pair + pairs, b);
#pragma unroll
            for (int j = 0; j < 8; j++) rotate_pair(a[j], b[j], angle + 2 * j);
            store8(row + pair, a);
            store8(row + pair + pairs, b);
        } else {
            float v[8];
            load8(row + 2 * pair, v);
#pragma unroll
            for (int j = 0; j < 4; j++) rotate_pair(v[2 * j], v[2 * j + 1], angle + 2 * j);
            store8(row + 2 * pair, v);
        }
    }
}

static __device__ __forceinline__ uint4 recoded(uint4 bits) {
#if ELEMENT_BF16 == CACHE_BF16
    return bits;
#else
    float x[8];
    widen<element>(bits, x);
    unsigned out[4];
#pragma unroll
    for (int j = 0; j < 4; j++) out[j] = cached_of(x[2 * j]).bits | (unsigned)cached_of(x[2 * j + 1]).bits << 16;
    return make_uint4(out[0], out[1], out[2], out[3]);
#endif
}

KERNEL(append, 256,
       (cached *keys, cached *values, const element *key, const element *value, const int *first, int tokens, int width)) {
    const long long start = (long long)*first * width;
    const bool aligned =
        width % 8 == 0 && is_aligned(keys) && is_aligned(values) && is_aligned(key) && is_aligned(value);
    for_elements(
        (long long)tokens * width, aligned,
        [&](long long i) {
            store16(keys + start + i, recoded(load16(key + i)));
            store16(values + start + i, recoded(load16(value + i)));
        },
        [&](long long i) {
            keys[start + i] = cached_of(to_float(key[i]));
            values[start + i] = cached_of(to_float(value[i]));
        });
}
