// MXFP4 (OCP Microscaling): blocks of 32 weights 2^(e - 127) times a 4-bit float (E2M1), here 2^(e - 128) times its double, an integer;
// nibbles as in Q4_0.
#include <math.h>

#include "format_plain.h"

typedef struct {
    uint8_t e, q[16];
} block;
static_assert(sizeof(block) == 17, "MXFP4 block");

static void unpack(const void *in, uint8_t *head, uint8_t *q) {
    block source;
    memcpy(&source, in, sizeof source);
    head[0] = source.e;
    unpack_nibbles(source.q, q);
}

static void dequantise(const void *in, float *out, size_t n) {
    for (size_t b = 0; b < n / CKV_BLOCK; b++) {
        uint8_t e, q[CKV_BLOCK];
        unpack((const char *)in + b * sizeof(block), &e, q);
        for (int i = 0; i < CKV_BLOCK; i++) *out++ = ckv_power(e) * (float)(ckv_mxfp4_values[q[i]] - 12);
    }
}

static void synthesise(void *blocks, size_t n, float deviation) {
    // The values' root mean square is 5.852. Between two powers of two, the random byte chooses so that the weights' is as asked.
    const float scale = deviation / 5.852f;
    int e = 0;
    while (e < 253 && ckv_power((uint8_t)(e + 1)) <= scale) e++;
    const float over = scale / ckv_power((uint8_t)e), part = (over * over - 1) / 3 * 256;
    for (size_t b = 0; b < n / CKV_BLOCK; b++) {
        uint8_t *out = (uint8_t *)blocks + b * sizeof(block);
        *out = (uint8_t)(e + ((float)*out < part));
    }
}

static void quantise(const float *x, void *out, size_t n) {
    for (size_t b = 0; b < n / CKV_BLOCK; b++, x += CKV_BLOCK) {
        float largest = 0;
        for (int i = 0; i < CKV_BLOCK; i++) largest = __builtin_fmaxf(largest, __builtin_fabsf(x[i]));
        // The greatest value is 6: its power of two is 4.
        block made = {.e = largest > 0 ? (uint8_t)(floorf(log2f(largest)) + 125) : 0};
        const float d = ckv_power(made.e);
        uint8_t q[CKV_BLOCK];
        for (int i = 0; i < CKV_BLOCK; i++) {
            q[i] = 0;
            for (uint8_t k = 1; k < 16; k++) {
                const float best = __builtin_fabsf((float)(ckv_mxfp4_values[q[i]] - 12) * d - x[i]);
                if (__builtin_fabsf((float)(ckv_mxfp4_values[k] - 12) * d - x[i]) < best) q[i] = k;
            }
        }
        pack_nibbles(q, made.q);
        memcpy((char *)out + b * sizeof made, &made, sizeof made);
    }
}

CKV_QUANTISED(ckv_format_mxfp4, kind_mxfp4, CKV_MXFP4, "MXFP4", quantise);
