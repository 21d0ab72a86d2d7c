// Products of quantised weights and int8 activations: the loops that both x86 tables share. The including file defines CKV_INT8_TILE and
// CKV_INT8_GROUPS (tokens and groups of a register tile) and
//   int8_tile(tokens, groups, kind, p, weights, group_bytes, row, token).

enum { kind_q4_0, kind_q4_1, kind_q8_0 };

CKV_INLINE size_t int8_head_bytes(const int kind) { return kind == kind_q4_1 ? 4 * CKV_GROUP : 2 * CKV_GROUP; }
CKV_INLINE size_t int8_block_bytes(const int kind) {
    return int8_head_bytes(kind) + (kind == kind_q8_0 ? 32 : 16) * CKV_GROUP;
}

CKV_INLINE void int8_groups(const int groups, const int kind, const ckv_product *p, const uint8_t *weights, size_t bytes, size_t row) {
    size_t token = 0;
    for (; token + CKV_INT8_TILE <= p->tokens; token += CKV_INT8_TILE) {
        int8_tile(CKV_INT8_TILE, groups, kind, p, weights, bytes, row, token);
    }
    for (; token + 2 <= p->tokens; token += 2) int8_tile(2, groups, kind, p, weights, bytes, row, token);
    for (; token < p->tokens; token++) int8_tile(1, groups, kind, p, weights, bytes, row, token);
}

CKV_INLINE void int8_product(const int kind, const ckv_product *p) {
    size_t blocks = p->columns / CKV_BLOCK;
    size_t bytes = (blocks * int8_block_bytes(kind) + 63) / 64 * 64;
    size_t group = p->group_begin;
    for (; group + CKV_INT8_GROUPS <= p->group_end; group += CKV_INT8_GROUPS) {
        int8_groups(CKV_INT8_GROUPS, kind, p, (const uint8_t *)p->weights + group * bytes, bytes, group * CKV_GROUP);
    }
    for (; group < p->group_end; group++) {
        int8_groups(1, kind, p, (const uint8_t *)p->weights + group * bytes, bytes, group * CKV_GROUP);
    }
}

static void product_q4_0(const ckv_product *p) { int8_product(kind_q4_0, p); }
static void product_q4_1(const ckv_product *p) { int8_product(kind_q4_1, p); }
static void product_q8_0(const ckv_product *p) { int8_product(kind_q8_0, p); }
