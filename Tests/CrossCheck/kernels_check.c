// Compares every table of kernels that this machine supports with the scalar one, by bits: plain C, so that it also runs where no
// Swift does, under an emulator. Arguments are names of tables that must be among them. Ends with 1 at the first difference.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ckv_kernels.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))
// Behind every output, so that a write too far is a difference.
#define BEHIND 64

static const ckv_table *scalar, *table;
static size_t comparisons;

// ---------------------------------------------------------------------------------------------- material

static uint64_t state = 0x9E3779B97F4A7C15;

static uint32_t random_bits(void) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)(state * 2685821657736338717u >> 32);
}

// -range ..< range.
static float random_float(float range) { return ((float)(random_bits() >> 8) * 0x1p-23f - 1) * range; }

// A float16 of ordinary size: 2^-7 ... 1, of either sign.
static uint16_t random_half(void) {
    const uint32_t bits = random_bits();
    return (uint16_t)((bits & 0x83FF) | (8 + (bits >> 16) % 7) << 10);
}

static void *room(size_t bytes) {
    void *memory = aligned_alloc(128, (bytes + BEHIND + 127) / 128 * 128);
    if (memory == NULL) {
        fprintf(stderr, "no memory: %zu bytes\n", bytes);
        exit(2);
    }
    // Floats of this are no numbers, and of these bytes.
    memset(memory, 0xFF, (bytes + BEHIND + 127) / 128 * 128);
    return memory;
}

// Blocks of 32 of very different size, as activations have.
static float *random_floats(size_t count, float range) {
    float *floats = room(count * sizeof(float));
    for (size_t i = 0; i < count; i++) floats[i] = random_float(i / 32 % 5 == 0 ? 40 * range : range);
    return floats;
}

// Ends if what the two tables have written differs, `bytes` and what is behind.
__attribute__((format(printf, 4, 5)))
static void same(const void *expected, const void *found, size_t bytes, const char *what, ...) {
    comparisons++;
    if (memcmp(expected, found, bytes + BEHIND) == 0) return;
    size_t at = 0;
    while (((const char *)expected)[at] == ((const char *)found)[at]) at++;
    va_list values;
    va_start(values, what);
    printf("%s differs from %s: ", table->name, scalar->name);
    vprintf(what, values);
    va_end(values);
    printf(", byte %zu of %zu\n", at, bytes);
    exit(1);
}

// ---------------------------------------------------------------------------------------------- matrix products

typedef struct {
    size_t rows, columns;
    uint8_t *packed;
    const char *kind;   // of the integers
} matrix;

// `fill` is every byte of the integers, -1 for random ones; scales and float weights are of ordinary size.
static matrix random_matrix(const ckv_format *format, size_t rows, size_t columns, int fill) {
    const size_t blocks = columns / format->block, row_bytes = blocks * format->bytes;
    uint8_t *bytes = room(rows * row_bytes);
    for (size_t i = 0; i < rows * row_bytes; i++) bytes[i] = fill < 0 ? (uint8_t)random_bits() : (uint8_t)fill;
    for (uint8_t *block = bytes; block < bytes + rows * row_bytes; block += format->bytes) {
        const uint16_t d = random_half(), m = random_half();
        const float value = random_float(1);
        switch (format->type) {
            case CKV_F32: memcpy(block, &value, 4); break;
            case CKV_BF16: memcpy(block, (const char *)&value + 2, 2); break;
            case CKV_MXFP4: *block = (uint8_t)(118 + d % 12); break;
            case CKV_Q3_K: case CKV_Q6_K: memcpy(block + format->bytes - 2, &d, 2); break;
            case CKV_Q2_K: memcpy(block + 80, &d, 2); memcpy(block + 82, &m, 2); break;
            case CKV_Q4_1: case CKV_Q5_1: case CKV_Q4_K: case CKV_Q5_K: memcpy(block + 2, &m, 2);   // and d
            default: memcpy(block, &d, 2);
        }
    }
    const size_t group_bytes = format->packed_bytes(columns);
    matrix made = {rows, columns, room((rows + 15) / 16 * group_bytes), fill < 0 ? "random" : "extreme"};
    for (size_t row = 0; row < rows; row += CKV_GROUP) {
        const size_t count = rows - row < CKV_GROUP ? rows - row : CKV_GROUP;
        format->pack(bytes + row * row_bytes, row_bytes, count, columns, made.packed + row / CKV_GROUP * group_bytes);
    }
    free(bytes);
    return made;
}

// Groups begin ..< end of a matrix by `tokens` rows of x.
static void check_product(
    const ckv_format *format, size_t index, const matrix *w, const float *x, size_t tokens, size_t begin, size_t end, bool accumulate
) {
    const size_t count = tokens * w->columns, blocks = count / CKV_BLOCK, out_bytes = tokens * w->rows * sizeof(float);
    int8_t *values = room(count);
    float *scales = room(blocks * sizeof(float)), *offsets = room(blocks * sizeof(float)), *out[2];
    ckv_sums *sums = room(blocks * sizeof *sums);
    if (format->quantised) scalar->quantise(x, count, values, scales, sums, offsets);
    float *start = random_floats(tokens * w->rows, 1);
    for (int i = 0; i < 2; i++) {
        out[i] = room(out_bytes);
        if (accumulate) memcpy(out[i], start, out_bytes);
        const ckv_product product = {
            .weights = w->packed, .rows = w->rows, .columns = w->columns, .group_begin = begin, .group_end = end, .tokens = tokens, .x = x,
            .values = values, .scales = scales, .sums = sums, .offsets = offsets, .out = out[i], .out_stride = w->rows,
            .accumulate = accumulate,
        };
        ckv_product_of(i ? table : scalar, index, format->quantised)(&product);
    }
    same(
        out[0], out[1], out_bytes, "%s, %s, %zu rows, %zu columns, %zu tokens, groups %zu ..< %zu, accumulate %d", format->name, w->kind,
        w->rows, w->columns, tokens, begin, end, accumulate);
    void *all[] = {values, scales, offsets, sums, start, out[0], out[1]};
    for (size_t i = 0; i < COUNT(all); i++) free(all[i]);
}

static void check_shapes(const ckv_format *format, size_t index) {
    const size_t row_counts[] = {1, 7, 16, 33, 80}, widths[] = {1, 96, 576, 1536}, many[] = {15, 16, 33, 64, 65, 131};
    for (size_t i = 0; i < COUNT(row_counts); i++) {
        for (size_t j = 0; j < COUNT(widths); j++) {
            const size_t rows = row_counts[i], columns = (widths[j] + format->block - 1) / format->block * format->block;
            // Long rows in few numbers, and few rows in many.
            if (rows * columns > 80 * 768) continue;
            matrix w = random_matrix(format, rows, columns, -1);
            float *x = random_floats(131 * columns, 1);
            const size_t groups = (rows + CKV_GROUP - 1) / CKV_GROUP;
            for (size_t tokens = 1; tokens <= 13; tokens++) {
                check_product(format, index, &w, x, tokens, 0, groups, false);
                check_product(format, index, &w, x, tokens, groups / 3, groups - groups / 4, true);
            }
            // From some number on, weights are unpacked once for many tokens.
            for (size_t k = 0; k < COUNT(many) && rows == 33 && columns < 800; k++) {
                check_product(format, index, &w, x, many[k], 0, groups, k % 2);
            }
            free(x);
            free(w.packed);
        }
    }
}

// The greatest sums that a block can have.
static void check_extremes(const ckv_format *format, size_t index) {
    const int fills[] = {0x00, 0xFF, 0x7F, 0x80, 0x88};
    const size_t columns = (96 + format->block - 1) / format->block * format->block;
    for (size_t i = 0; i < COUNT(fills); i++) {
        matrix w = random_matrix(format, 17, columns, fills[i]);
        float *x = room(18 * columns * sizeof(float));
        for (size_t pattern = 0; pattern < 4; pattern++) {
            for (size_t k = 0; k < 18 * columns; k++) x[k] = k >> pattern & 1 && pattern < 3 ? -1 : 1;
            check_product(format, index, &w, x, 1, 0, 2, false);
            check_product(format, index, &w, x, 7, 0, 2, false);
            check_product(format, index, &w, x, 18, 0, 2, false);
        }
        free(x);
        free(w.packed);
    }
}

static void check_products(void) {
    size_t count;
    const ckv_format *const *formats = ckv_formats(&count);
    for (size_t i = 0; i < count; i++) {
        check_shapes(formats[i], i);
        if (formats[i]->quantised) check_extremes(formats[i], i);
    }
}

// ---------------------------------------------------------------------------------------------- attention

typedef struct {
    size_t head_dim, group, position, tokens;
    bool half;
} unit;

// Decode in two goes, the later blocks first.
static void decode(const ckv_table *by, const ckv_attention *p, float *partials, float *out) {
    const size_t blocks = p->position / CKV_KEYS + 1, size = p->head_dim + 2;
    by->attention_partial(p, blocks / 2, blocks, partials);
    by->attention_partial(p, 0, blocks / 2, partials);
    for (size_t h = 0; h < p->group; h++) {
        by->attention_merge(partials + h * size, blocks, p->group * size, p->head_dim, out + h * p->head_dim);
    }
}

static void check_unit(unit u) {
    // The second of two heads; and rows behind the last, which must not be read: they are no numbers.
    const size_t width = u.group * u.head_dim, stride = 2 * u.head_dim, rows = u.position + u.tokens, size = u.half ? 2 : 4;
    char *kv[2];
    for (int i = 0; i < 2; i++) {
        kv[i] = room((rows + 40) * stride * size);
        for (size_t k = 0; k < rows * stride; k++) {
            const uint16_t narrow = random_half();
            const float wide = random_float(2);
            memcpy(kv[i] + k * size, u.half ? (const void *)&narrow : (const void *)&wide, size);
        }
    }
    const size_t out_bytes = u.tokens * width * sizeof(float);
    const size_t partial_bytes = (u.position / CKV_KEYS + 1) * u.group * (u.head_dim + 2) * sizeof(float);
    float *query = random_floats(u.tokens * width, 0.2f), *out[2], *merged[2], *partials[2];
    for (int i = 0; i < 2; i++) {
        void *scratch = room(ckv_attention_scratch(u.head_dim, u.group, u.tokens));
        out[i] = room(out_bytes);
        merged[i] = room(out_bytes);
        partials[i] = room(partial_bytes);
        const ckv_attention p = {
            .head_dim = u.head_dim, .group = u.group, .query = query, .query_stride = width, .tokens = u.tokens, .position = u.position,
            .key = kv[0] + u.head_dim * size, .value = kv[1] + u.head_dim * size, .kv_stride = stride, .half = u.half, .scale = 0.25f,
            .out = out[i], .out_stride = width, .scratch = scratch,
        };
        const ckv_table *by = i ? table : scalar;
        by->attention(&p);
        if (u.tokens == 1) decode(by, &p, partials[i], merged[i]);
        free(scratch);
    }
    const char *what = "%s, head_dim %zu, group %zu, position %zu, %zu tokens, half %d";
    same(out[0], out[1], out_bytes, what, "attention", u.head_dim, u.group, u.position, u.tokens, u.half);
    same(partials[0], partials[1], partial_bytes, what, "attention_partial", u.head_dim, u.group, u.position, u.tokens, u.half);
    same(merged[0], merged[1], out_bytes, what, "attention_merge", u.head_dim, u.group, u.position, u.tokens, u.half);
    if (u.tokens == 1) same(out[0], merged[1], out_bytes, what, "decode", u.head_dim, u.group, u.position, u.tokens, u.half);
    void *all[] = {kv[0], kv[1], query, out[0], out[1], merged[0], merged[1], partials[0], partials[1]};
    for (size_t i = 0; i < COUNT(all); i++) free(all[i]);
}

static void check_attention(void) {
    const size_t dims[] = {1, 7, 16, 64, 80, 128, 256}, groups[] = {1, 3, 9}, positions[] = {0, 60, 127, 128, 129, 300};
    const size_t token_counts[] = {1, 2, 17};
    for (int half = 0; half < 2; half++) {
        for (size_t d = 0; d < COUNT(dims); d++) {
            for (size_t g = 0; g < COUNT(groups); g++) {
                for (size_t p = 0; p < COUNT(positions); p++) {
                    for (size_t t = 0; t < COUNT(token_counts); t++) {
                        if (dims[d] > 128 && groups[g] > 1) continue;
                        check_unit((unit){dims[d], groups[g], positions[p], token_counts[t], half});
                    }
                }
            }
            // More blocks than a vector has lanes; a prompt of more than a block.
            check_unit((unit){dims[d], 3, 20 * CKV_KEYS, 1, half});
            check_unit((unit){dims[d], 1, 5, CKV_KEYS + 7, half});
        }
    }
}

// ---------------------------------------------------------------------------------------------- the rest

static void check_quantise(void) {
    const size_t blocks = 64, count = blocks * CKV_BLOCK;
    float *x = random_floats(count, 1);
    const float filled[] = {0, -0.0f, 1e-38f, 1e-45f, 9.9e-31f, 1.1e-30f, 3e38f, -3e38f, 5};
    for (size_t i = 0; i < COUNT(filled) * CKV_BLOCK; i++) x[i] = i % 3 == 0 ? -filled[i / CKV_BLOCK] : filled[i / CKV_BLOCK];
    // Halves of the steps, which round to even.
    for (size_t i = 0; i < CKV_BLOCK; i++) x[20 * CKV_BLOCK + i] = i ? (float)i * 0.5f / CKV_LEVELS : 1;
    x[30 * CKV_BLOCK + 5] = __builtin_inff();
    x[31 * CKV_BLOCK + 31] = -__builtin_inff();
    x[32 * CKV_BLOCK + 8] = __builtin_nanf("0x155");
    int8_t *values[2];
    float *scales[2], *offsets[2];
    ckv_sums *sums[2];
    for (int i = 0; i < 2; i++) {
        values[i] = room(count);
        scales[i] = room(blocks * sizeof(float));
        offsets[i] = room(blocks * sizeof(float));
        sums[i] = room(blocks * sizeof(ckv_sums));
        (i ? table : scalar)->quantise(x, count, values[i], scales[i], sums[i], offsets[i]);
    }
    same(values[0], values[1], count, "quantise, values");
    same(scales[0], scales[1], blocks * sizeof(float), "quantise, scales");
    same(sums[0], sums[1], blocks * sizeof(ckv_sums), "quantise, sums");
    same(offsets[0], offsets[1], blocks * sizeof(float), "quantise, offsets");
    void *all[] = {x, values[0], values[1], scales[0], scales[1], offsets[0], offsets[1], sums[0], sums[1]};
    for (size_t i = 0; i < COUNT(all); i++) free(all[i]);
}

// Every float16, and floats of every kind with the neighbours of all float16 values and of the midpoints between them.
static void check_halves(void) {
    const size_t count = 65536 * 8 + 5;
    uint16_t *halves = room(65541 * 2), *narrow[2];
    float *floats = room(count * sizeof(float)), *wide[2];
    for (size_t i = 0; i < 65541; i++) halves[i] = (uint16_t)i;
    for (size_t i = 0; i < 2; i++) {
        wide[i] = room(65541 * sizeof(float));
        (i ? table : scalar)->from_half(halves, 65541, wide[i]);
    }
    same(wide[0], wide[1], 65541 * sizeof(float), "from_half");
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = random_bits();
        if (i / 65536 < 6) {
            memcpy(&bits, &wide[0][i % 65536], 4);
            bits += (uint32_t[]){0, 1, -1u, 0x0FFF, 0x1000, 0x1001}[i / 65536];
        }
        memcpy(&floats[i], &bits, 4);
    }
    for (size_t i = 0; i < 2; i++) {
        narrow[i] = room(count * 2);
        (i ? table : scalar)->to_half(floats, count, narrow[i]);
    }
    same(narrow[0], narrow[1], count * 2, "to_half");
    void *all[] = {halves, floats, wide[0], wide[1], narrow[0], narrow[1]};
    for (size_t i = 0; i < COUNT(all); i++) free(all[i]);
}

static void check_elements(void) {
    const size_t counts[] = {1, 2, 7, 8, 14, 15, 16, 17, 64, 80, 96, 128, 576, 1000};
    for (size_t i = 0; i < COUNT(counts); i++) {
        const size_t n = counts[i], bytes = n * sizeof(float);
        // Up to e^200 and down to e^-200.
        float *a = random_floats(n, 5), *b = random_floats(n, 1), *out[11][2];
        for (int k = 0; k < 2; k++) {
            const ckv_table *by = k ? table : scalar;
            for (int f = 0; f < 11; f++) memcpy(out[f][k] = room(bytes), a, bytes);
            by->rms_norm(a, b, 1e-5f, n, out[0][k]);
            by->silu_product(out[1][k], b, n, out[1][k]);
            by->add(a, b, n, out[2][k]);
            by->rotate_pairs(out[3][k], b, n / 2);
            by->rotate_halves(out[4][k], b, n / 2);
            by->layer_norm(a, b, b, 1e-5f, n, out[5][k]);
            by->gelu(out[6][k], n, out[6][k]);
            by->gelu_tanh(out[7][k], n, out[7][k]);
            by->gelu_tanh_product(out[8][k], b, n, out[8][k]);
            by->soft_cap(out[9][k], 30, n, out[9][k]);
            by->add_scaled(b, 0.7f, n, out[10][k]);
        }
        const char *names[] = {"rms_norm", "silu_product", "add", "rotate_pairs", "rotate_halves", "layer_norm", "gelu", "gelu_tanh",
                               "gelu_tanh_product", "soft_cap", "add_scaled"};
        for (int f = 0; f < 11; f++) {
            same(out[f][0], out[f][1], bytes, "%s of %zu", names[f], n);
            free(out[f][0]);
            free(out[f][1]);
        }
        free(a);
        free(b);
    }
}

// Floats of every kind, all exponents among them.
static void check_gelu(void) {
    const size_t count = 1 << 20;
    float *x = room(count * sizeof(float)), *out[2];
    for (size_t i = 0; i < count; i++) {
        const uint32_t bits = random_bits();
        memcpy(&x[i], &bits, 4);
        // No numbers are left to the hardware's choice of their bits.
        if (x[i] != x[i]) x[i] = random_float(6);
    }
    for (int i = 0; i < 2; i++) {
        out[i] = room(count * sizeof(float));
        (i ? table : scalar)->gelu(x, count, out[i]);
        for (size_t k = 0; k < count; k++) {
            if (out[i][k] != out[i][k]) out[i][k] = 0;
        }
    }
    same(out[0], out[1], count * sizeof(float), "gelu of any float");
    void *all[] = {x, out[0], out[1]};
    for (size_t i = 0; i < COUNT(all); i++) free(all[i]);
}

int main(int count, char **names) {
    size_t tables;
    const ckv_table *const *list = ckv_tables(&tables);
    scalar = list[tables - 1];
    for (int i = 1; i < count; i++) {
        bool found = false;
        for (size_t k = 0; k < tables; k++) found = found || (strcmp(list[k]->name, names[i]) == 0 && list[k]->supported());
        if (found) continue;
        printf("no table %s here\n", names[i]);
        return 1;
    }
    for (size_t i = 0; i + 1 < tables; i++) {
        table = list[i];
        if (!table->supported()) continue;
        comparisons = 0;
        check_quantise();
        check_halves();
        check_elements();
        check_gelu();
        check_attention();
        check_products();
        printf("%s equals %s in %zu comparisons\n", table->name, scalar->name, comparisons);
    }
    return 0;
}
