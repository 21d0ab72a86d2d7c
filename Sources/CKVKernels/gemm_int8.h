// Products of quantised weights and int8 activations, for both x86 tables: panels of CKV_INT8_GROUPS groups, all tokens
// in register tiles of up to CKV_INT8_TILE. A panel's weights come from memory once and stay in the second-level cache
// for the further tiles. The kernels of one instruction set are in the file CKV_INT8_KERNELS, which gives
// int8_panel(groups, kind, p, weights, group_bytes, row): a panel by all tokens.

enum { kind_q4_0, kind_q4_1, kind_q8_0 };

CKV_INLINE size_t int8_head_bytes(const int kind) { return kind == kind_q4_1 ? 4 * CKV_GROUP : 2 * CKV_GROUP; }
CKV_INLINE size_t int8_block_bytes(const int kind) {
    return int8_head_bytes(kind) + (kind == kind_q8_0 ? 32 : 16) * CKV_GROUP;
}

// Four activations, for every lane.
CKV_INLINE int32_t int8_four(const int8_t *p) {
    int32_t four;
    memcpy(&four, p, sizeof four);
    return four;
}

#include CKV_INT8_KERNELS

CKV_INLINE void int8_product(const int kind, const ckv_product *p) {
    const size_t bytes = (p->columns / CKV_BLOCK * int8_block_bytes(kind) + 63) / 64 * 64;
    const uint8_t *weights = p->weights;
    size_t group = p->group_begin;
    for (; group + CKV_INT8_GROUPS <= p->group_end; group += CKV_INT8_GROUPS) {
        int8_panel(CKV_INT8_GROUPS, kind, p, weights + group * bytes, bytes, group * CKV_GROUP);
    }
    for (; group < p->group_end; group++) int8_panel(1, kind, p, weights + group * bytes, bytes, group * CKV_GROUP);
}

static void product_q4_0(const ckv_product *p) { int8_product(kind_q4_0, p); }
static void product_q4_1(const ckv_product *p) { int8_product(kind_q4_1, p); }
static void product_q8_0(const ckv_product *p) { int8_product(kind_q8_0, p); }
