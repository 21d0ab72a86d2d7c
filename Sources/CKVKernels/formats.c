// The list of weight formats, in the order of the tables' gemm entries (table.h).
#include "format.h"

static const ckv_format *const formats[] = {
    &ckv_format_f32,  &ckv_format_f16,  &ckv_format_bf16, &ckv_format_q4_0, &ckv_format_q4_1, &ckv_format_q8_0,
    &ckv_format_q5_0, &ckv_format_q5_1, &ckv_format_q4_k, &ckv_format_q5_k, &ckv_format_q6_k,
    &ckv_format_q2_k, &ckv_format_q3_k, &ckv_format_iq4_nl, &ckv_format_iq4_xs, &ckv_format_mxfp4,
};

const ckv_format *const *ckv_formats(size_t *count) {
    *count = sizeof formats / sizeof *formats;
    return formats;
}

const ckv_format *ckv_format_of(uint32_t type) {
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (formats[i]->type == type) return formats[i];
    }
    return NULL;
}
