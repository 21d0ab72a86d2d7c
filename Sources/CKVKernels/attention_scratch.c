#include "ckv_kernels.h"

// See attention.h for what lies in it: key tile [head_dim][keys], value tile [keys][padded], scaled queries, scores of a tile of rows, a tile
// of products, and (a, m, l) of every row; padded to the widest vectors.
size_t ckv_attention_scratch(size_t head_dim, size_t group, size_t tokens) {
    size_t padded = (head_dim + 31) / 32 * 32, rows = tokens * group + 16;
    size_t floats = head_dim * CKV_KEYS + CKV_KEYS * padded + rows * head_dim + 16 * CKV_KEYS + 16 * padded + rows * (padded + 2);
    return (floats * sizeof(float) + 127) / 128 * 128;
}
