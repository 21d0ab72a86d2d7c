// Elementwise kernels: one element (or pair) in plain C, and loops over them, plain or on vectors. Every operation is correctly rounded
// and no sum is reordered, so all give the same bits.
#include <math.h>

#include "ckv_kernels.h"
#include "exp.h"

static inline float silu_product_one(float gate, float up) { return (gate / (1.0f + ckv_exp_inline(-gate))) * up; }

static inline void rotate_one(float *x, float *y, float c, float s) {
    float a = *x, b = *y, bs = b * s, bc = b * c;
    *x = __builtin_fmaf(a, c, -bs);
    *y = __builtin_fmaf(a, s, bc);
}

static inline float norm_scale(float sum, size_t n, float eps) { return 1.0f / sqrtf(sum / (float)n + eps); }

#ifdef CKV_LANES
#include "elementwise_vector.h"
#else

static void rms_norm(const float *x, const float *weight, float eps, size_t n, float *out) {
    float part[16] = {0};
    for (size_t i = 0; i < n; i++) part[i % 16] = __builtin_fmaf(x[i], x[i], part[i % 16]);
    for (int half = 8; half; half /= 2) {
        for (int j = 0; j < half; j++) part[j] = part[j] + part[j + half];
    }
    float s = norm_scale(part[0], n, eps);
    for (size_t i = 0; i < n; i++) out[i] = (x[i] * s) * weight[i];
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

static void add(const float *a, const float *b, size_t n, float *out) {
    for (size_t i = 0; i < n; i++) out[i] = a[i] + b[i];
}

#endif
