// Elementwise kernels in plain C: each table compiles them for its own instruction set. Every operation is correctly rounded and no sum is
// reordered, so all give the same bits.
#include <math.h>

#include "ckv_kernels.h"
#include "exp.h"

static void rms_norm(const float *x, const float *weight, float eps, size_t n, float *out) {
    float part[16] = {0};
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (int j = 0; j < 16; j++) part[j] = __builtin_fmaf(x[i + j], x[i + j], part[j]);
    }
    for (int j = 0; i < n; i++, j++) part[j] = __builtin_fmaf(x[i], x[i], part[j]);
    for (int half = 8; half; half /= 2) {
        for (int j = 0; j < half; j++) part[j] = part[j] + part[j + half];
    }
    float s = 1.0f / sqrtf(part[0] / (float)n + eps);
    for (i = 0; i < n; i++) out[i] = (x[i] * s) * weight[i];
}

static void rotate_pairs(float *x, const float *angles, size_t pairs) {
    for (size_t i = 0; i < pairs; i++) {
        float a = x[2 * i], b = x[2 * i + 1], c = angles[2 * i], s = angles[2 * i + 1];
        float bs = b * s, bc = b * c;
        x[2 * i] = __builtin_fmaf(a, c, -bs);
        x[2 * i + 1] = __builtin_fmaf(a, s, bc);
    }
}

static void rotate_halves(float *x, const float *angles, size_t pairs) {
    for (size_t i = 0; i < pairs; i++) {
        float a = x[i], b = x[i + pairs], c = angles[2 * i], s = angles[2 * i + 1];
        float bs = b * s, bc = b * c;
        x[i] = __builtin_fmaf(a, c, -bs);
        x[i + pairs] = __builtin_fmaf(a, s, bc);
    }
}

// `out` may be `gate`.
static void silu_product(const float *gate, const float *up, size_t n, float *out) {
    for (size_t i = 0; i < n; i++) out[i] = (gate[i] / (1.0f + ckv_exp_inline(-gate[i]))) * up[i];
}

static void add(const float *a, const float *b, size_t n, float *out) {
    for (size_t i = 0; i < n; i++) out[i] = a[i] + b[i];
}
