// Elementwise kernels: one element (or pair) in plain C, and loops over them, plain or on vectors. Every operation is correctly rounded
// and no sum is reordered, so all give the same bits.
#include <math.h>

#include "ckv_kernels.h"
#include "erf.h"
#include "exp.h"

#define CKV_SQRT_HALF 0.707106781f

static inline float silu_product_one(float gate, float up) { return (gate / (1.0f + ckv_exp_inline(-gate))) * up; }

static inline float gelu_one(float x) {
    const float half = 0.5f * x;
    return __builtin_fmaf(half, ckv_erf_inline(x * CKV_SQRT_HALF), half);
}

// sqrt(2 / pi), and that times 0.044715.
#define CKV_GELU_LINE 0.797884561f
#define CKV_GELU_CUBE 0.0356774081f

static inline float gelu_tanh_one(float x) {
    const float half = 0.5f * x, square = x * x;
    return __builtin_fmaf(half, ckv_tanh_inline(x * __builtin_fmaf(square, CKV_GELU_CUBE, CKV_GELU_LINE)), half);
}

static inline void rotate_one(float *x, float *y, float c, float s) {
    float a = *x, b = *y, bs = b * s, bc = b * c;
    *x = __builtin_fmaf(a, c, -bs);
    *y = __builtin_fmaf(a, s, bc);
}

static inline float norm_scale(float sum, size_t n, float eps) { return 1.0f / sqrtf(sum / (float)n + eps); }

#ifdef CKV_LANES
#include "elementwise_vector.h"
#else

static float norm_fold(float *part) {
    for (int half = 8; half; half /= 2) {
        for (int j = 0; j < half; j++) part[j] = part[j] + part[j + half];
    }
    return part[0];
}

static void rms_norm(const float *x, const float *weight, float eps, size_t n, float *out) {
    float part[16] = {0};
    for (size_t i = 0; i < n; i++) part[i % 16] = __builtin_fmaf(x[i], x[i], part[i % 16]);
    float s = norm_scale(norm_fold(part), n, eps);
    for (size_t i = 0; i < n; i++) out[i] = (x[i] * s) * weight[i];
}

static void layer_norm(const float *x, const float *weight, const float *bias, float eps, size_t n, float *out) {
    float sums[16] = {0}, squares[16] = {0};
    for (size_t i = 0; i < n; i++) sums[i % 16] = sums[i % 16] + x[i];
    const float mean = norm_fold(sums) / (float)n;
    for (size_t i = 0; i < n; i++) {
        const float d = x[i] - mean;
        squares[i % 16] = __builtin_fmaf(d, d, squares[i % 16]);
    }
    const float s = norm_scale(norm_fold(squares), n, eps);
    for (size_t i = 0; i < n; i++) out[i] = __builtin_fmaf((x[i] - mean) * s, weight[i], bias[i]);
}

static void rotate_pairs(float *x, const float *angles, size_t pairs) {
    for (size_t i = 0; i < pairs; i++) rotate_one(x + 2 * i, x + 2 * i + 1, angles[2 * i], angles[2 * i + 1]);
}

static void rotate_halves(float *x, const float *angles, size_t pairs) {
    for (size_t i = 0; i < pairs; i++) rotate_one(x + i, x + i + pairs, angles[2 * i], angles[2 * i + 1]);
}

// `out` may be `gate`.
static void silu_product(const float *gate, const float *up, size_t n, float *out) {
    for (size_t i = 0; i < n; i++) out[i] = silu_product_one(gate[i], up[i]);
}

// `out` may be `x`.
static void gelu(const float *x, size_t n, float *out) {
    for (size_t i = 0; i < n; i++) out[i] = gelu_one(x[i]);
}

// `out` may be `x`.
static void gelu_tanh(const float *x, size_t n, float *out) {
    for (size_t i = 0; i < n; i++) out[i] = gelu_tanh_one(x[i]);
}

// `out` may be `gate`.
static void gelu_tanh_product(const float *gate, const float *up, size_t n, float *out) {
    for (size_t i = 0; i < n; i++) out[i] = gelu_tanh_one(gate[i]) * up[i];
}

// `out` may be `x`.
static void soft_cap(const float *x, float cap, size_t n, float *out) {
    const float inverse = 1.0f / cap;
    for (size_t i = 0; i < n; i++) out[i] = cap * ckv_tanh_inline(x[i] * inverse);
}

static void add_scaled(const float *x, float factor, size_t n, float *out) {
    for (size_t i = 0; i < n; i++) out[i] = __builtin_fmaf(x[i], factor, out[i]);
}

static void add(const float *a, const float *b, size_t n, float *out) {
    for (size_t i = 0; i < n; i++) out[i] = a[i] + b[i];
}

#endif
