// Which tables this build has, best first.
#include "ckv_kernels.h"

extern const ckv_table ckv_table_scalar;
#if defined(__x86_64__)
extern const ckv_table ckv_table_avx2, ckv_table_avx512, ckv_table_avxvnni;
#elif defined(__aarch64__)
extern const ckv_table ckv_table_neon;
#endif

static const ckv_table *const tables[] = {
#if defined(__x86_64__)
    &ckv_table_avx512,
    &ckv_table_avxvnni,
    &ckv_table_avx2,
#elif defined(__aarch64__)
    &ckv_table_neon,
#endif
    &ckv_table_scalar,
};

const ckv_table *const *ckv_tables(size_t *count) {
    *count = sizeof tables / sizeof *tables;
    return tables;
}
