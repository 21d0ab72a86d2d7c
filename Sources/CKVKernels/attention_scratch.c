#include "ckv_kernels.h"

// See unit_layout in attention.h; enough for tiles of 6 and of 12 rows and for vectors of 8 and of 16 lanes.
size_t ckv_attention_scratch(size_t head_dim, size_t group, size_t tokens) {
    const size_t padded = (head_dim + 31) / 32 * 32, rows = tokens * group + 11;
    const size_t tiles = head_dim * CKV_KEYS + padded * CKV_KEYS + 12 * (CKV_KEYS + 16);
    const size_t states = rows * (head_dim + padded) + 2 * (rows / 6 + 1) * 8;
    // Each of the seven begins on a cache line.
    return (tiles + states + 7 * 16) * sizeof(float) / 128 * 128 + 128;
}
