// One table from the functions that the including file has defined under these names; entries in the order of formats.c.
#define CKV_TABLE(symbol, table_name, supported_fn)                                                                     \
    const ckv_table symbol = {                                                                                          \
        .name = table_name,                                                                                             \
        .supported = supported_fn,                                                                                      \
        .gemm_int8 = {NULL, NULL, NULL, product_q4_0, product_q4_1, product_q8_0, product_q5_0, product_q5_1,           \
                      product_q4_k, product_q5_k, product_q6_k, product_q2_k, product_q3_k, product_iq4_nl,                     \
                      product_iq4_xs, product_mxfp4},                                                                   \
        .gemm_float = {product_f32, product_f16, product_bf16},                                                         \
        .quantise = quantise,                                                                                           \
        .rms_norm = rms_norm,                                                                                           \
        .layer_norm = layer_norm,                                                                                       \
        .rotate_pairs = rotate_pairs,                                                                                   \
        .rotate_halves = rotate_halves,                                                                                 \
        .silu_product = silu_product,                                                                                   \
        .gelu = gelu,                                                                                                   \
        .gelu_tanh = gelu_tanh,                                                                                         \
        .gelu_tanh_product = gelu_tanh_product,                                                                         \
        .soft_cap = soft_cap,                                                                                           \
        .add_scaled = add_scaled,                                                                                       \
        .add = add,                                                                                                     \
        .to_half = to_half,                                                                                             \
        .from_half = from_half,                                                                                         \
        .attention = attention,                                                                                         \
        .attention_partial = attention_partial,                                                                         \
        .attention_merge = attention_merge,                                                                             \
    }
