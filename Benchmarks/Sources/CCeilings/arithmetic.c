// Arithmetic at most: independent accumulators, enough of them that no unit waits for a result.
#include "ceilings.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

// More than latency times throughput (4 * 2) of any x86 so far, and few enough for the sixteen registers of AVX2.
#define CHAINS 12
#define UNROLLED _Pragma("clang loop unroll(full)")
// The compiler must take the value for a new one (no hoisting, no common subexpression); no instruction comes of it.
#define OPAQUE(value) __asm__ volatile("" : "+v"(value))
#define OPAQUE_LOW(value) __asm__ volatile("" : "+x"(value))

#define TARGET_256 __attribute__((target("avx2,fma")))
#define TARGET_VNNI_256 __attribute__((target("avx2,fma,avxvnni")))
#define TARGET_512 __attribute__((target("avx512f,avx512bw,avx512vnni")))

static volatile float float_sink;
static volatile int int_sink;

TARGET_256 static int sum_256(const __m256i *chains, int count) {
    __m256i sum = chains[0];
    for (int i = 1; i < count; i++) sum = _mm256_add_epi32(sum, chains[i]);
    int lanes[8];
    _mm256_storeu_si256((__m256i *)lanes, sum);
    return lanes[0] ^ lanes[1] ^ lanes[2] ^ lanes[3] ^ lanes[4] ^ lanes[5] ^ lanes[6] ^ lanes[7];
}

TARGET_256 static double fma_256(size_t steps) {
    __m256 chains[CHAINS], x = _mm256_set1_ps(0.5f), y = _mm256_set1_ps(0.25f);
    UNROLLED for (int i = 0; i < CHAINS; i++) chains[i] = _mm256_setzero_ps();
    for (size_t step = 0; step < steps; step++) {
        OPAQUE_LOW(x);
        UNROLLED for (int i = 0; i < 2 * CHAINS; i++) chains[i % CHAINS] = _mm256_fmadd_ps(x, y, chains[i % CHAINS]);
    }
    __m256 sum = chains[0];
    for (int i = 1; i < CHAINS; i++) sum = _mm256_add_ps(sum, chains[i]);
    float_sink = _mm256_cvtss_f32(sum);
    return (double)steps * 2 * CHAINS * 8;
}

// Bytes of any size: products of pairs fit int16 once, so each is widened before it is added.
TARGET_256 static double maddubs_add32(size_t steps) {
    __m256i chains[CHAINS], w = _mm256_set1_epi8(3), x = _mm256_set1_epi8(-5);
    const __m256i ones = _mm256_set1_epi16(1);
    UNROLLED for (int i = 0; i < CHAINS; i++) chains[i] = _mm256_setzero_si256();
    for (size_t step = 0; step < steps; step++) {
        UNROLLED for (int i = 0; i < CHAINS; i++) {
            OPAQUE_LOW(w);
            chains[i] = _mm256_add_epi32(chains[i], _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), ones));
        }
    }
    int_sink = sum_256(chains, CHAINS);
    return (double)steps * CHAINS * 32;
}

// Small weights: the eight products of a block of 32 columns are added in int16, then widened once.
TARGET_256 static double maddubs_add16(size_t steps) {
    // Sums, their totals and the operands share sixteen registers. Fewer than CHAINS do: the sums begin anew with each block,
    // so that one block's need not wait for another's.
    enum { SUMS = 5 };
    __m256i totals[SUMS], w = _mm256_set1_epi8(3), x = _mm256_set1_epi8(-5);
    const __m256i ones = _mm256_set1_epi16(1);
    UNROLLED for (int i = 0; i < SUMS; i++) totals[i] = _mm256_setzero_si256();
    for (size_t step = 0; step < steps; step++) {
        __m256i sums[SUMS];
        UNROLLED for (int i = 0; i < 8 * SUMS; i++) {
            OPAQUE_LOW(w);
            const __m256i pairs = _mm256_maddubs_epi16(w, x);
            sums[i % SUMS] = i < SUMS ? pairs : _mm256_add_epi16(sums[i % SUMS], pairs);
        }
        UNROLLED for (int i = 0; i < SUMS; i++) {
            totals[i] = _mm256_add_epi32(totals[i], _mm256_madd_epi16(sums[i], ones));
        }
    }
    int_sink = sum_256(totals, SUMS);
    return (double)steps * SUMS * 8 * 32;
}

TARGET_VNNI_256 static double vnni_256(size_t steps) {
    __m256i chains[CHAINS], w = _mm256_set1_epi8(3), x = _mm256_set1_epi8(-5);
    UNROLLED for (int i = 0; i < CHAINS; i++) chains[i] = _mm256_setzero_si256();
    for (size_t step = 0; step < steps; step++) {
        OPAQUE_LOW(w);
        UNROLLED for (int i = 0; i < 2 * CHAINS; i++) {
            chains[i % CHAINS] = _mm256_dpbusd_avx_epi32(chains[i % CHAINS], w, x);
        }
    }
    int_sink = sum_256(chains, CHAINS);
    return (double)steps * 2 * CHAINS * 32;
}

TARGET_512 static double fma_512(size_t steps) {
    __m512 chains[CHAINS], x = _mm512_set1_ps(0.5f), y = _mm512_set1_ps(0.25f);
    UNROLLED for (int i = 0; i < CHAINS; i++) chains[i] = _mm512_setzero_ps();
    for (size_t step = 0; step < steps; step++) {
        OPAQUE(x);
        UNROLLED for (int i = 0; i < 2 * CHAINS; i++) chains[i % CHAINS] = _mm512_fmadd_ps(x, y, chains[i % CHAINS]);
    }
    __m512 sum = chains[0];
    for (int i = 1; i < CHAINS; i++) sum = _mm512_add_ps(sum, chains[i]);
    float_sink = _mm512_cvtss_f32(sum);
    return (double)steps * 2 * CHAINS * 16;
}

TARGET_512 static double vnni_512(size_t steps) {
    __m512i chains[CHAINS], w = _mm512_set1_epi8(3), x = _mm512_set1_epi8(-5);
    UNROLLED for (int i = 0; i < CHAINS; i++) chains[i] = _mm512_setzero_si512();
    for (size_t step = 0; step < steps; step++) {
        OPAQUE(w);
        UNROLLED for (int i = 0; i < 2 * CHAINS; i++) {
            chains[i % CHAINS] = _mm512_dpbusd_epi32(chains[i % CHAINS], w, x);
        }
    }
    __m512i sum = chains[0];
    for (int i = 1; i < CHAINS; i++) sum = _mm512_add_epi32(sum, chains[i]);
    int_sink = _mm512_reduce_add_epi32(sum);
    return (double)steps * 2 * CHAINS * 64;
}

static bool has_256(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
static bool has_512(void) { return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"); }
static bool has_vnni_512(void) { return has_512() && __builtin_cpu_supports("avx512vnni"); }
static bool has_vnni_256(void) {
    // Asked of the CPU itself: older compiler runtimes do not know the name.
    unsigned a, b, c, d;
    return has_256() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

static const ceiling list[] = {
    {"fma256", "f32 fused multiply-add, 256 bit", has_256, fma_256},
    {"fma512", "f32 fused multiply-add, 512 bit", has_512, fma_512},
    {"maddubs32", "int8 maddubs, madd and add each time, 256 bit", has_256, maddubs_add32},
    {"maddubs16", "int8 maddubs summed in int16, one madd per 32 columns, 256 bit", has_256, maddubs_add16},
    {"vnni256", "int8 vpdpbusd, 256 bit (AVX-VNNI)", has_vnni_256, vnni_256},
    {"vnni512", "int8 vpdpbusd, 512 bit (AVX-512 VNNI)", has_vnni_512, vnni_512},
};

const ceiling *ceilings(size_t *count) {
    *count = sizeof list / sizeof *list;
    return list;
}
#else
const ceiling *ceilings(size_t *count) {
    *count = 0;
    return NULL;
}
#endif
