// Rows of synthetic matrices: random bits, made weights by the format.
#include <math.h>

#include "format.h"

// SplitMix64 (Steele, Lea, Flood 2014).
static uint64_t mix(uint64_t x) {
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9;
    x = (x ^ x >> 27) * 0x94D049BB133111EB;
    return x ^ x >> 31;
}

void ckv_synthesise(const ckv_format *format, uint64_t key, size_t row, size_t columns, void *out) {
    // Two mixes, so that rows' streams are not shifts of each other.
    uint64_t state = mix(key ^ mix(row + 1));
    size_t bytes = columns / format->block * format->bytes;
    for (char *next = out; bytes > 0;) {
        const uint64_t word = mix(state += 0x9E3779B97F4A7C15);
        const size_t count = bytes < 8 ? bytes : 8;
        memcpy(next, &word, count);
        next += count;
        bytes -= count;
    }
    format->synthesise(out, columns, 1 / sqrtf((float)columns));
}
