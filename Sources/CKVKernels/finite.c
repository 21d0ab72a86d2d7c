// Whether floats are numbers: exponents alone are looked at, so that a compiler may assume what it likes of arithmetic.
#include "ckv_kernels.h"

#include <string.h>

bool ckv_all_finite(const float *x, size_t count) {
    const uint32_t exponent = 0x7f800000;
    uint32_t found = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        found |= (bits & exponent) == exponent;
    }
    return !found;
}
