// A block's keys and values as panels of floats, ATTENTION_PANEL lanes wide, so that a tile's product reads them from end to end:
// keys as [panel of keys][head_dim][lane], values as [panel of head_dim][CKV_KEYS][lane].

#define ATTENTION_PANEL (2 * CKV_LANES)
// Keys that are transposed together.
#define ATTENTION_KEYS 16

CKV_INLINE size_t cache_bytes(const ckv_attention *p) { return p->half ? sizeof(uint16_t) : sizeof(float); }

// 16 keys, `step` bytes apart, by 8 elements to out[element * ATTENTION_PANEL + key].
CKV_INLINE void widen_16x8_half(const char *rows, size_t step, float *out) {
    __m256i a[8], b[8];
    // The two 128-bit halves transpose side by side: keys 0 ... 7 and 8 ... 15.
    for (int i = 0; i < 8; i++) {
        __m128i low = _mm_loadu_si128((const __m128i *)(rows + (size_t)i * step));
        __m128i high = _mm_loadu_si128((const __m128i *)(rows + (size_t)(i + 8) * step));
        a[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
    }
    for (int i = 0; i < 4; i++) {
        b[2 * i] = _mm256_unpacklo_epi16(a[2 * i], a[2 * i + 1]);
        b[2 * i + 1] = _mm256_unpackhi_epi16(a[2 * i], a[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 2; j++) {
            a[4 * i + 2 * j] = _mm256_unpacklo_epi32(b[4 * i + j], b[4 * i + j + 2]);
            a[4 * i + 2 * j + 1] = _mm256_unpackhi_epi32(b[4 * i + j], b[4 * i + j + 2]);
        }
    }
    for (int i = 0; i < 4; i++) {
        b[2 * i] = _mm256_unpacklo_epi64(a[i], a[i + 4]);
        b[2 * i + 1] = _mm256_unpackhi_epi64(a[i], a[i + 4]);
    }
    for (int i = 0; i < 8; i++) {
        float *to = out + i * ATTENTION_PANEL;
#if CKV_LANES == 16
        vec_store(to, _mm512_cvtph_ps(b[i]));
#else
        vec_store(to, _mm256_cvtph_ps(_mm256_castsi256_si128(b[i])));
        vec_store(to + 8, _mm256_cvtph_ps(_mm256_extracti128_si256(b[i], 1)));
#endif
    }
}

// 8 keys by 8 elements.
CKV_INLINE void widen_8x8_float(const char *rows, size_t step, float *out) {
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i++) a[i] = _mm256_loadu_ps((const float *)(rows + (size_t)i * step));
    for (int i = 0; i < 4; i++) {
        b[2 * i] = _mm256_unpacklo_ps(a[2 * i], a[2 * i + 1]);
        b[2 * i + 1] = _mm256_unpackhi_ps(a[2 * i], a[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 2; j++) {
            a[4 * i + 2 * j] = _mm256_shuffle_ps(b[4 * i + j], b[4 * i + j + 2], 0x44);
            a[4 * i + 2 * j + 1] = _mm256_shuffle_ps(b[4 * i + j], b[4 * i + j + 2], 0xEE);
        }
    }
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(out + i * ATTENTION_PANEL, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
        _mm256_storeu_ps(out + (i + 4) * ATTENTION_PANEL, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
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
