// The loops of elementwise.h on vectors; what is left over goes one by one.
#include "vector.h"

// Sixteen partial sums, in one vector or two, folded 8, 4, 2, 1.
CKV_INLINE float norm_fold(const vec *part) {
#if CKV_LANES == 16
    vec8 eight = vec_low(part[0]) + vec_high(part[0]);
#else
    vec8 eight = part[0] + part[1];
#endif
    vec4 four = vec8_low(eight) + vec8_high(eight);
    four = four + __builtin_shufflevector(four, four, 2, 3, 2, 3);
    return four[0] + four[1];
}

static void rms_norm(const float *x, const float *weight, float eps, size_t n, float *out) {
    vec part[16 / CKV_LANES] = {0};
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (size_t j = 0; j < 16 / CKV_LANES; j++) {
            const vec v = vec_load(x + i + j * CKV_LANES);
            part[j] = vec_fma(v, v, part[j]);
        }
    }
    if (i < n) {
        // Zeros leave a sum of squares as it is.
        float last[16] = {0};
        memcpy(last, x + i, (n - i) * sizeof(float));
        for (size_t j = 0; j < 16 / CKV_LANES; j++) {
            const vec v = vec_load(last + j * CKV_LANES);
            part[j] = vec_fma(v, v, part[j]);
        }
    }
    const float s = norm_scale(norm_fold(part), n, eps);
    for (i = 0; i + CKV_LANES <= n; i += CKV_LANES) vec_store(out + i, (vec_load(x + i) * s) * vec_load(weight + i));
    for (; i < n; i++) out[i] = (x[i] * s) * weight[i];
}

static void layer_norm(const float *x, const float *weight, const float *bias, float eps, size_t n, float *out) {
    vec part[16 / CKV_LANES] = {0};
    // What is left over, as a vector with zeros, which change neither sum.
    float last[16] = {0};
    const size_t whole = n / 16 * 16, rest = n % 16;
    for (size_t i = 0; i < whole; i += 16) {
        for (size_t j = 0; j < 16 / CKV_LANES; j++) part[j] = part[j] + vec_load(x + i + j * CKV_LANES);
    }
    if (rest) {
        memcpy(last, x + whole, rest * sizeof(float));
        for (size_t j = 0; j < 16 / CKV_LANES; j++) part[j] = part[j] + vec_load(last + j * CKV_LANES);
    }
    const float mean = norm_fold(part) / (float)n;
    for (size_t j = 0; j < 16 / CKV_LANES; j++) part[j] = vec_all(0);
    for (size_t i = 0; i < whole; i += 16) {
        for (size_t j = 0; j < 16 / CKV_LANES; j++) {
            const vec d = vec_load(x + i + j * CKV_LANES) - mean;
            part[j] = vec_fma(d, d, part[j]);
        }
    }
    if (rest) {
        for (size_t j = 0; j < rest; j++) last[j] = x[whole + j] - mean;
        for (size_t j = 0; j < 16 / CKV_LANES; j++) {
            const vec d = vec_load(last + j * CKV_LANES);
            part[j] = vec_fma(d, d, part[j]);
        }
    }
    const float s = norm_scale(norm_fold(part), n, eps);
    size_t i = 0;
    for (; i + CKV_LANES <= n; i += CKV_LANES) {
        vec_store(out + i, vec_fma((vec_load(x + i) - mean) * s, vec_load(weight + i), vec_load(bias + i)));
    }
    for (; i < n; i++) out[i] = __builtin_fmaf((x[i] - mean) * s, weight[i], bias[i]);
}

static void rotate_pairs(float *x, const float *angles, size_t pairs) {
    size_t i = 0;
    for (; i + 4 <= pairs; i += 4) {
        const vec8 v = vec8_load(x + 2 * i), t = vec8_load(angles + 2 * i);
        const vec8 a = __builtin_shufflevector(v, v, 0, 0, 2, 2, 4, 4, 6, 6), b = __builtin_shufflevector(v, v, 1, 1, 3, 3, 5, 5, 7, 7);
        // b * sin, b * cos; then a * cos minus the one, a * sin plus the other.
        const vec8 product = b * __builtin_shufflevector(t, t, 1, 0, 3, 2, 5, 4, 7, 6);
        const vec8 minus = __builtin_elementwise_fma(a, t, -product), plus = __builtin_elementwise_fma(a, t, product);
        const vec8 rotated = __builtin_shufflevector(minus, plus, 0, 9, 2, 11, 4, 13, 6, 15);
        memcpy(x + 2 * i, &rotated, sizeof rotated);
    }
    for (; i < pairs; i++) rotate_one(x + 2 * i, x + 2 * i + 1, angles[2 * i], angles[2 * i + 1]);
}

CKV_INLINE vec even_lanes(vec a, vec b) {
#if CKV_LANES == 16
    return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
#else
    return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
#endif
}

CKV_INLINE vec odd_lanes(vec a, vec b) {
#if CKV_LANES == 16
    return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
#else
    return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
#endif
}

static void rotate_halves(float *x, const float *angles, size_t pairs) {
    size_t i = 0;
    for (; i + CKV_LANES <= pairs; i += CKV_LANES) {
        const vec a = vec_load(x + i), b = vec_load(x + i + pairs);
        const vec first = vec_load(angles + 2 * i), second = vec_load(angles + 2 * i + CKV_LANES);
        const vec c = even_lanes(first, second), s = odd_lanes(first, second);
        const vec bs = b * s, bc = b * c;
        vec_store(x + i, vec_fma(a, c, -bs));
        vec_store(x + i + pairs, vec_fma(a, s, bc));
    }
    for (; i < pairs; i++) rotate_one(x + i, x + i + pairs, angles[2 * i], angles[2 * i + 1]);
}

// `out` may be `gate`.
static void silu_product(const float *gate, const float *up, size_t n, float *out) {
    size_t i = 0;
    for (; i + CKV_LANES <= n; i += CKV_LANES) {
        const vec g = vec_load(gate + i);
        vec_store(out + i, (g / (vec_all(1) + vec_exp(-g))) * vec_load(up + i));
    }
    for (; i < n; i++) out[i] = silu_product_one(gate[i], up[i]);
}

// `out` may be `x`.
static void gelu(const float *x, size_t n, float *out) {
    size_t i = 0;
    for (; i + CKV_LANES <= n; i += CKV_LANES) {
        const vec v = vec_load(x + i), half = 0.5f * v;
        vec_store(out + i, vec_fma(half, vec_erf(v * CKV_SQRT_HALF), half));
    }
    for (; i < n; i++) out[i] = gelu_one(x[i]);
}

CKV_INLINE vec vec_gelu_tanh(vec x) {
    const vec half = 0.5f * x, square = x * x;
    return vec_fma(half, vec_tanh(x * vec_fma(square, vec_all(CKV_GELU_CUBE), vec_all(CKV_GELU_LINE))), half);
}

// `out` may be `x`.
static void gelu_tanh(const float *x, size_t n, float *out) {
    size_t i = 0;
    for (; i + CKV_LANES <= n; i += CKV_LANES) vec_store(out + i, vec_gelu_tanh(vec_load(x + i)));
    for (; i < n; i++) out[i] = gelu_tanh_one(x[i]);
}

// `out` may be `gate`.
static void gelu_tanh_product(const float *gate, const float *up, size_t n, float *out) {
    size_t i = 0;
    for (; i + CKV_LANES <= n; i += CKV_LANES) vec_store(out + i, vec_gelu_tanh(vec_load(gate + i)) * vec_load(up + i));
    for (; i < n; i++) out[i] = gelu_tanh_one(gate[i]) * up[i];
}

// `out` may be `x`.
static void soft_cap(const float *x, float cap, size_t n, float *out) {
    const float inverse = 1.0f / cap;
    size_t i = 0;
    for (; i + CKV_LANES <= n; i += CKV_LANES) vec_store(out + i, cap * vec_tanh(vec_load(x + i) * inverse));
    for (; i < n; i++) out[i] = cap * ckv_tanh_inline(x[i] * inverse);
}

static void add_scaled(const float *x, float factor, size_t n, float *out) {
    size_t i = 0;
    for (; i + CKV_LANES <= n; i += CKV_LANES) vec_store(out + i, vec_fma(vec_load(x + i), vec_all(factor), vec_load(out + i)));
    for (; i < n; i++) out[i] = __builtin_fmaf(x[i], factor, out[i]);
}

static void add(const float *a, const float *b, size_t n, float *out) {
    size_t i = 0;
    for (; i + CKV_LANES <= n; i += CKV_LANES) vec_store(out + i, vec_load(a + i) + vec_load(b + i));
    for (; i < n; i++) out[i] = a[i] + b[i];
}
