// A block's keys and values as panels of floats, ATTENTION_PANEL lanes wide, so that a tile's product reads them from end to end:
// keys as [panel of keys][head_dim][lane], values as [panel of head_dim][CKV_KEYS][lane].

#define ATTENTION_PANEL (2 * CKV_LANES)
// Keys that are transposed together.
#define ATTENTION_KEYS 16

CKV_INLINE size_t cache_bytes(const ckv_attention *p) { return p->half ? sizeof(uint16_t) : sizeof(float); }

typedef uint16_t half_lanes __attribute__((vector_size(16)));
typedef uint16_t lanes_16 __attribute__((vector_size(32)));
typedef uint32_t lanes_32 __attribute__((vector_size(32)));
typedef uint64_t lanes_64 __attribute__((vector_size(32)));

// Lanes of a and of b by turns, of either 128-bit half the lanes from `i` on: of 16 bits (i is 0 or 4), 32 (0, 2) and 64 (0, 1).
#define INTERLEAVE_16(a, b, i)                                                                                               \
    (lanes_32)__builtin_shufflevector(                                                                                       \
        a, b, i, i + 16, i + 1, i + 17, i + 2, i + 18, i + 3, i + 19, i + 8, i + 24, i + 9, i + 25, i + 10, i + 26, i + 11, i + 27)
#define INTERLEAVE_32(a, b, i) \
    (lanes_64)__builtin_shufflevector(a, b, i, i + 8, i + 1, i + 9, i + 4, i + 12, i + 5, i + 13)
#define INTERLEAVE_64(a, b, i) __builtin_shufflevector(a, b, i, i + 4, i + 2, i + 6)

// 16 keys, `step` bytes apart, by 8 elements to out[element * ATTENTION_PANEL + key].
CKV_INLINE void widen_16x8_half(const char *rows, size_t step, float *out) {
    lanes_16 a[8];
    lanes_32 b[8];
    lanes_64 c[8];
    // The two 128-bit halves transpose side by side: keys 0 ... 7 and 8 ... 15.
    for (int i = 0; i < 8; i++) {
        half_lanes low, high;
        memcpy(&low, rows + (size_t)i * step, sizeof low);
        memcpy(&high, rows + (size_t)(i + 8) * step, sizeof high);
        a[i] = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    }
    for (int i = 0; i < 4; i++) {
        b[2 * i] = INTERLEAVE_16(a[2 * i], a[2 * i + 1], 0);
        b[2 * i + 1] = INTERLEAVE_16(a[2 * i], a[2 * i + 1], 4);
    }
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 2; j++) {
            c[4 * i + 2 * j] = INTERLEAVE_32(b[4 * i + j], b[4 * i + j + 2], 0);
            c[4 * i + 2 * j + 1] = INTERLEAVE_32(b[4 * i + j], b[4 * i + j + 2], 2);
        }
    }
    for (int i = 0; i < 8; i++) {
        const lanes_64 keys = i % 2 ? INTERLEAVE_64(c[i / 2], c[i / 2 + 4], 1) : INTERLEAVE_64(c[i / 2], c[i / 2 + 4], 0);
        for (int k = 0; k < 16; k += CKV_LANES) {
            vec_store(out + i * ATTENTION_PANEL + k, load_f16((const char *)&keys + k * sizeof(uint16_t)));
        }
    }
}

// 8 keys by 8 elements.
CKV_INLINE void widen_8x8_float(const char *rows, size_t step, float *out) {
    lanes_32 a[8];
    lanes_64 b[8];
    for (int i = 0; i < 8; i++) memcpy(&a[i], rows + (size_t)i * step, sizeof a[i]);
    for (int i = 0; i < 4; i++) {
        b[2 * i] = INTERLEAVE_32(a[2 * i], a[2 * i + 1], 0);
        b[2 * i + 1] = INTERLEAVE_32(a[2 * i], a[2 * i + 1], 2);
    }
    for (int i = 0; i < 4; i++) {
        // Element i of keys 0 ... 3 and of 4 ... 7; in the upper halves, element i + 4.
        const int from = i / 2;
        const lanes_64 low = i % 2 ? INTERLEAVE_64(b[from], b[from + 2], 1) : INTERLEAVE_64(b[from], b[from + 2], 0);
        const lanes_64 high = i % 2 ? INTERLEAVE_64(b[from + 4], b[from + 6], 1) : INTERLEAVE_64(b[from + 4], b[from + 6], 0);
        const lanes_64 first = __builtin_shufflevector(low, high, 0, 1, 4, 5), second = __builtin_shufflevector(low, high, 2, 3, 6, 7);
        memcpy(out + i * ATTENTION_PANEL, &first, sizeof first);
        memcpy(out + (i + 4) * ATTENTION_PANEL, &second, sizeof second);
    }
}

CKV_INLINE void widen_16_keys(const bool half, const char *rows, size_t step, size_t head_dim, float *out) {
    const size_t size = half ? sizeof(uint16_t) : sizeof(float);
    size_t d = 0;
    for (; d + 8 <= head_dim; d += 8, rows += 8 * size, out += 8 * ATTENTION_PANEL) {
        if (half) {
            widen_16x8_half(rows, step, out);
        } else {
            widen_8x8_float(rows, step, out);
            widen_8x8_float(rows + 8 * step, step, out + 8);
        }
    }
    for (; d < head_dim; d++, rows += size, out += ATTENTION_PANEL) {
        for (size_t i = 0; i < ATTENTION_KEYS; i++) {
            const char *at = rows + i * step;
            out[i] = half ? ckv_half_float(ckv_load16(at)) : *(const float *)at;
        }
    }
}

// Keys [begin, count) of the block that begins at `first`, and zeros around them to whole ATTENTION_KEYS. `spare` has room for that
// many rows of floats.
static void widen_keys(const ckv_attention *p, size_t first, size_t begin, size_t count, float *panels, float *spare) {
    const size_t size = cache_bytes(p), width = p->head_dim * size;
    for (size_t k = begin / ATTENTION_KEYS * ATTENTION_KEYS; k < count; k += ATTENTION_KEYS) {
        const char *rows = (const char *)p->key + (first + k) * p->kv_stride * size;
        size_t step = p->kv_stride * size;
        if (count - k < ATTENTION_KEYS || k < begin) {
            // Rows behind the last and before the first must not be read: the others are copied.
            memset(spare, 0, ATTENTION_KEYS * width);
            for (size_t i = k < begin ? begin - k : 0; i < ATTENTION_KEYS && i < count - k; i++) {
                memcpy((char *)spare + i * width, rows + i * step, width);
            }
            rows = (const char *)spare;
            step = width;
        }
        float *out = panels + k / ATTENTION_PANEL * p->head_dim * ATTENTION_PANEL + k % ATTENTION_PANEL;
        if (p->half) widen_16_keys(true, rows, step, p->head_dim, out);
        else widen_16_keys(false, rows, step, p->head_dim, out);
    }
}

// One key's row of a panel: `width` elements, the rest of the panel's row zeros.
CKV_INLINE void widen_value_row(const bool half, const char *from, size_t width, float *out) {
    const size_t size = half ? sizeof(uint16_t) : sizeof(float);
    if (width >= ATTENTION_PANEL) {
        vec_store(out, half ? load_f16(from) : load_f32(from));
        vec_store(out + CKV_LANES, half ? load_f16(from + CKV_LANES * size) : load_f32(from + CKV_LANES * size));
        return;
    }
    for (size_t i = 0; i < ATTENTION_PANEL; i++) {
        const char *at = from + i * size;
        out[i] = i >= width ? 0 : half ? ckv_half_float(ckv_load16(at)) : *(const float *)at;
    }
}

// Values [begin, count) of the block that begins at `first`.
static void widen_values(const ckv_attention *p, size_t first, size_t begin, size_t count, float *panels) {
    const size_t size = cache_bytes(p);
    for (size_t k = begin; k < count; k++) {
        const char *row = (const char *)p->value + (first + k) * p->kv_stride * size;
        float *out = panels + k * ATTENTION_PANEL;
        for (size_t d = 0; d < p->head_dim; d += ATTENTION_PANEL, out += CKV_KEYS * ATTENTION_PANEL) {
            if (p->half) widen_value_row(true, row + d * size, p->head_dim - d, out);
            else widen_value_row(false, row + d * size, p->head_dim - d, out);
        }
    }
}
