// A block's keys and values as panels of floats, ATTENTION_PANEL lanes wide, so that a tile's product reads them from end to end:
// keys as [panel of keys][head_dim][lane], values as [panel of head_dim][CKV_KEYS][lane].

#define ATTENTION_PANEL (2 * CKV_LANES)
// Keys that are transposed together.
#define ATTENTION_KEYS 16

// Where the rows of ATTENTION_KEYS neighbouring keys begin. Beyond the last key that may be read, that one stands in: it is masked later.
typedef struct {
    const char *at[ATTENTION_KEYS];
} key_rows;

CKV_INLINE size_t cache_bytes(const ckv_attention *p) { return p->half ? sizeof(uint16_t) : sizeof(float); }

CKV_INLINE key_rows key_rows_at(const ckv_attention *p, size_t key, size_t end) {
    const size_t step = p->kv_stride * cache_bytes(p);
    const char *row = (const char *)p->key + key * step;
    key_rows rows;
    for (size_t i = 0; i < ATTENTION_KEYS; i++) {
        rows.at[i] = row;
        if (key + i + 1 < end) row += step;
    }
    return rows;
}

// 16 keys by 8 elements from `d` on; out[(d + i) * ATTENTION_PANEL + key].
CKV_INLINE void widen_16x8_half(const key_rows *rows, size_t d, float *out) {
    __m256i a[8], b[8];
    // The two 128-bit halves transpose side by side: keys 0 ... 7 and 8 ... 15.
    for (int i = 0; i < 8; i++) {
        __m128i low = _mm_loadu_si128((const __m128i *)(rows->at[i] + 2 * d));
        __m128i high = _mm_loadu_si128((const __m128i *)(rows->at[i + 8] + 2 * d));
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
        uint16_t half[ATTENTION_KEYS];
        memcpy(half, &b[i], sizeof half);
        float *to = out + (d + (size_t)i) * ATTENTION_PANEL;
        for (int k = 0; k < ATTENTION_KEYS; k += CKV_LANES) vec_store(to + k, load_f16(half + k));
    }
}

// 8 keys by 8 elements.
CKV_INLINE void widen_8x8_float(const char *const *rows, size_t d, float *out) {
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i++) a[i] = _mm256_loadu_ps((const float *)rows[i] + d);
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
    for (size_t i = 0; i < 4; i++) {
        _mm256_storeu_ps(out + (d + i) * ATTENTION_PANEL, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
        _mm256_storeu_ps(out + (d + i + 4) * ATTENTION_PANEL, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
    }
}

// Keys [first, first + count), and as many more lanes as ATTENTION_KEYS needs, whose values mean nothing.
static void widen_keys(const ckv_attention *p, size_t first, size_t count, float *panels) {
    for (size_t k = 0; k < count; k += ATTENTION_KEYS) {
        const key_rows rows = key_rows_at(p, first + k, first + count);
        float *out = panels + k / ATTENTION_PANEL * p->head_dim * ATTENTION_PANEL + k % ATTENTION_PANEL;
        size_t d = 0;
        if (p->half) {
            for (; d + 8 <= p->head_dim; d += 8) widen_16x8_half(&rows, d, out);
        } else {
            for (; d + 8 <= p->head_dim; d += 8) {
                widen_8x8_float(rows.at, d, out);
                widen_8x8_float(rows.at + 8, d, out + 8);
            }
        }
        for (; d < p->head_dim; d++) {
            for (int i = 0; i < ATTENTION_KEYS; i++) {
                const char *at = rows.at[i] + d * cache_bytes(p);
                out[d * ATTENTION_PANEL + (size_t)i] = p->half ? ckv_half_float(ckv_load16(at)) : *(const float *)at;
            }
        }
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

// Values [first, first + count).
static void widen_values(const ckv_attention *p, size_t first, size_t count, float *panels) {
    const size_t size = cache_bytes(p);
    for (size_t k = 0; k < count; k++) {
        const char *row = (const char *)p->value + (first + k) * p->kv_stride * size;
        float *out = panels + k * ATTENTION_PANEL;
        for (size_t d = 0; d < p->head_dim; d += ATTENTION_PANEL, out += CKV_KEYS * ATTENTION_PANEL) {
            if (p->half) widen_value_row(true, row + d * size, p->head_dim - d, out);
            else widen_value_row(false, row + d * size, p->head_dim - d, out);
        }
    }
}
