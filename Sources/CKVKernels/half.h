// float16 and bfloat16 in plain C, bit for bit what the hardware conversions give.
#ifndef CKV_HALF_H
#define CKV_HALF_H

#include <stdint.h>
#include <string.h>

static inline float ckv_bits_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static inline uint32_t ckv_float_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

static inline float ckv_half_float(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = (half >> 10) & 31, mantissa = half & 0x3FF;
    if (exponent == 31) return ckv_bits_float(sign | 0x7F800000 | mantissa << 13 | (mantissa ? 0x400000 : 0));
    if (exponent) return ckv_bits_float(sign | (exponent + 112) << 23 | mantissa << 13);
    // Subnormal: mantissa * 2^-24, exact in float.
    float magnitude = (float)mantissa * 0x1p-24f;
    return sign ? -magnitude : magnitude;
}

// Round to nearest even; overflow to infinity; NaN stays NaN.
static inline uint16_t ckv_float_half(float value) {
    uint32_t bits = ckv_float_bits(value);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    bits &= 0x7FFFFFFF;
    if (bits > 0x7F800000) return (uint16_t)(sign | 0x7E00 | (bits >> 13 & 0x3FF));
    if (bits >= 0x477FF000) return sign | 0x7C00;
    if (bits < 0x38800000) {
        // Below the smallest normal: adding 0.5 rounds at 2^-24, float's own rounding doing the work.
        return (uint16_t)(sign | (ckv_float_bits(ckv_bits_float(bits) + 0.5f) - 0x3F000000));
    }
    bits += 0xFFF + (bits >> 13 & 1);
    return (uint16_t)(sign | (bits - 0x38000000) >> 13);
}

static inline float ckv_bf16_float(uint16_t value) { return ckv_bits_float((uint32_t)value << 16); }

// 2^(e - 128), E8M0's value halved; below the smallest normal exact, too. All 256 bytes are numbers, as ggml reads them.
static inline float ckv_power(uint8_t e) { return ckv_bits_float(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23); }

static inline uint16_t ckv_load16(const void *bytes) {
    uint16_t value;
    memcpy(&value, bytes, 2);
    return value;
}

#endif
