// A stand-in for libcublasLt.so.12: the products that MatrixProducts.swift asks for, in plain loops, as work of the emulated driver's
// streams. Sums in float, in an order that depends on the number of columns alone.
//
// Refuses what the real one refuses or computes wrongly: an algorithm chosen for another shape or for better aligned addresses, a
// workspace that is too small, C and D of different shapes.
#include "emulator.h"

#include <cmath>
#include <cstring>
#include <vector>

namespace {

enum { ok = 0, invalid_value = 7, execution_failed = 13, not_supported = 15 };
constexpr uint64_t magic = 0x6b76637075;
constexpr size_t workspace_needed = 1 << 20;

struct Product { int compute, scale, transposes_a = 0, transposes_b = 0; };
struct Layout { int type; uint64_t rows, columns; int64_t stride; };
struct Preference { uint64_t workspace = 0; uint32_t alignments[4] = {256, 256, 256, 256}; };
struct Algorithm { uint64_t magic, rows, columns, inner; uint32_t alignments[4]; uint64_t types; };
static_assert(sizeof(Algorithm) <= 64);
struct Result { union { Algorithm algorithm; uint64_t data[8]; }; size_t workspace; int state; float waves; int reserved[4]; };
static_assert(sizeof(Result) == 96);

size_t bytes_of(int type) { return type == 0 ? 4 : 2; }

float read(const void *base, int type, int64_t index) {
    if (type == 0) return ((const float *)base)[index];
    uint16_t bits = ((const uint16_t *)base)[index];
    if (type == 14) {
        uint32_t wide = uint32_t(bits) << 16;
        float value;
        memcpy(&value, &wide, 4);
        return value;
    }
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float value = exponent == 0 ? std::ldexp(float(fraction), -24)
        : exponent == 31 ? (fraction ? NAN : INFINITY) : std::ldexp(float(1024 + fraction), exponent - 25);
    return bits & 0x8000 ? -value : value;
}

void write(void *base, int type, int64_t index, float value) {
    if (type == 0) { ((float *)base)[index] = value; return; }
    uint32_t wide;
    memcpy(&wide, &value, 4);
    uint16_t bits;
    if (type == 14) {
        bits = std::isnan(value) ? 0x7fc0 : uint16_t((wide + 0x7fff + (wide >> 16 & 1)) >> 16);
    } else if (std::isnan(value)) {
        bits = 0x7fff;
    } else {
        // In double, where the scaled value is exact, rounded to nearest even; 65520 and more are infinite.
        const double magnitude = std::fabs(double(value));
        if (magnitude >= 65520) bits = 0x7c00;
        else if (magnitude < 0x1p-14) bits = uint16_t(std::nearbyint(magnitude * 0x1p24));
        else {
            const int exponent = std::ilogb(magnitude);
            bits = uint16_t(((exponent + 15) << 10) + (int(std::nearbyint(std::ldexp(magnitude, 10 - exponent))) - 1024));
        }
        if (std::signbit(value)) bits |= 0x8000;
    }
    ((uint16_t *)base)[index] = bits;
}

size_t extent(const Layout &layout) {
    return layout.rows && layout.columns ? (size_t(layout.columns - 1) * size_t(layout.stride) + layout.rows) * bytes_of(layout.type) : 0;
}

bool is_shape(const Product &product, const Layout &a, const Layout &b, const Layout &c, const Layout &d) {
    const uint64_t rows = product.transposes_a ? a.columns : a.rows, inner = product.transposes_a ? a.rows : a.columns;
    const uint64_t columns = product.transposes_b ? b.rows : b.columns, inner_b = product.transposes_b ? b.columns : b.rows;
    return inner == inner_b && rows == d.rows && columns == d.columns && c.rows == d.rows && c.columns == d.columns && c.type == d.type
        && a.type == b.type && a.type != 0 && (d.type == 0 || d.type == a.type) && product.compute == 68 && product.scale == 0;
}

// Sums of eight, so that the compiler may use vectors; the order is the same for every shape of this length.
float dot(const float *a, const float *b, size_t count) {
    float sums[8] = {};
    size_t at = 0;
    for (; at + 8 <= count; at += 8) for (int lane = 0; lane < 8; lane++) sums[lane] += a[at + lane] * b[at + lane];
    for (; at < count; at++) sums[0] += a[at] * b[at];
    return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

// The matrix as [vectors, inner].
std::vector<float> vectors(const void *base, const Layout &layout, bool inner_is_rows) {
    const uint64_t inner = inner_is_rows ? layout.rows : layout.columns, count = inner_is_rows ? layout.columns : layout.rows;
    std::vector<float> values(inner * count);
    for (uint64_t vector = 0; vector < count; vector++)
        for (uint64_t k = 0; k < inner; k++) {
            const int64_t row = int64_t(inner_is_rows ? k : vector), column = int64_t(inner_is_rows ? vector : k);
            values[vector * inner + k] = read(base, layout.type, column * layout.stride + row);
        }
    return values;
}

bool aligned(const void *address, uint32_t alignment) { return uint64_t(address) % alignment == 0; }

}  // namespace

#define FAULT(name) if (int status = kvcpu_fault(name)) return status

extern "C" {

const char *cublasLtGetStatusName(int status) {
    switch (status) {
    case 0: return "CUBLAS_STATUS_SUCCESS";
    case 1: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case 3: return "CUBLAS_STATUS_ALLOC_FAILED";
    case 7: return "CUBLAS_STATUS_INVALID_VALUE";
    case 13: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case 14: return "CUBLAS_STATUS_INTERNAL_ERROR";
    case 15: return "CUBLAS_STATUS_NOT_SUPPORTED";
    default: return "CUBLAS_STATUS_UNKNOWN";
    }
}

int cublasLtCreate(void **handle) { FAULT("cublasLtCreate"); *handle = new int(0); return ok; }
int cublasLtDestroy(void *handle) { delete (int *)handle; return ok; }

int cublasLtMatmulDescCreate(void **result, int compute, int scale) {
    FAULT("cublasLtMatmulDescCreate");
    *result = new Product{compute, scale};
    return ok;
}
int cublasLtMatmulDescSetAttribute(void *handle, int attribute, const void *value, size_t bytes) {
    FAULT("cublasLtMatmulDescSetAttribute");
    int number;
    if (bytes != 4) return invalid_value;
    memcpy(&number, value, 4);
    if (attribute == 3) ((Product *)handle)->transposes_a = number;
    else if (attribute == 4) ((Product *)handle)->transposes_b = number;
    else return invalid_value;
    return number == 0 || number == 1 ? ok : invalid_value;
}
int cublasLtMatmulDescDestroy(void *handle) { delete (Product *)handle; return ok; }

int cublasLtMatrixLayoutCreate(void **result, int type, uint64_t rows, uint64_t columns, int64_t stride) {
    FAULT("cublasLtMatrixLayoutCreate");
    if (type != 0 && type != 2 && type != 14) return invalid_value;
    if (stride < int64_t(rows)) return invalid_value;
    *result = new Layout{type, rows, columns, stride};
    return ok;
}
int cublasLtMatrixLayoutDestroy(void *handle) { delete (Layout *)handle; return ok; }

int cublasLtMatmulPreferenceCreate(void **result) { FAULT("cublasLtMatmulPreferenceCreate"); *result = new Preference; return ok; }
int cublasLtMatmulPreferenceSetAttribute(void *handle, int attribute, const void *value, size_t bytes) {
    FAULT("cublasLtMatmulPreferenceSetAttribute");
    Preference &preference = *(Preference *)handle;
    if (attribute == 1 && bytes == 8) memcpy(&preference.workspace, value, 8);
    else if (attribute >= 5 && attribute <= 8 && bytes == 4) memcpy(&preference.alignments[attribute - 5], value, 4);
    else return invalid_value;
    return ok;
}
int cublasLtMatmulPreferenceDestroy(void *handle) { delete (Preference *)handle; return ok; }

int cublasLtMatmulAlgoGetHeuristic(void *, void *product, void *a, void *b, void *c, void *d, void *preference, int asked, void *results, int *found) {
    FAULT("cublasLtMatmulAlgoGetHeuristic");
    *found = 0;
    if (asked < 1) return invalid_value;
    const Layout &layout_a = *(Layout *)a, &layout_d = *(Layout *)d;
    if (!is_shape(*(Product *)product, layout_a, *(Layout *)b, *(Layout *)c, layout_d)) return not_supported;
    const Preference &wish = *(Preference *)preference;
    Result result = {};
    result.workspace = wish.workspace >= workspace_needed ? workspace_needed : 0;
    result.algorithm = {magic, layout_d.rows, layout_d.columns, ((Product *)product)->transposes_a ? layout_a.rows : layout_a.columns,
        {wish.alignments[0], wish.alignments[1], wish.alignments[2], wish.alignments[3]}, uint64_t(layout_a.type) << 8 | uint64_t(layout_d.type)};
    memcpy(results, &result, sizeof result);
    *found = 1;
    return ok;
}

int cublasLtMatmul(void *, void *product_handle, const float *alpha_at, const void *a, void *a_handle, const void *b, void *b_handle,
                   const float *beta_at, const void *c, void *c_handle, void *d, void *d_handle, const void *algorithm_at, void *workspace,
                   size_t workspace_bytes, void *stream) {
    FAULT("cublasLtMatmul");
    const Product product = *(Product *)product_handle;
    const Layout la = *(Layout *)a_handle, lb = *(Layout *)b_handle, lc = *(Layout *)c_handle, ld = *(Layout *)d_handle;
    Algorithm algorithm;
    memcpy(&algorithm, algorithm_at, sizeof algorithm);
    const uint64_t inner = product.transposes_a ? la.rows : la.columns;
    if (!is_shape(product, la, lb, lc, ld) || algorithm.magic != magic || algorithm.rows != ld.rows || algorithm.columns != ld.columns
        || algorithm.inner != inner || algorithm.types != (uint64_t(la.type) << 8 | uint64_t(ld.type))) return invalid_value;
    if (!aligned(a, algorithm.alignments[0]) || !aligned(b, algorithm.alignments[1]) || !aligned(c, algorithm.alignments[2])
        || !aligned(d, algorithm.alignments[3])) return not_supported;
    if (workspace_bytes < workspace_needed || !workspace) return not_supported;
    const float alpha = *alpha_at, beta = *beta_at;
    const int status = kvcpu_enqueue(stream, [=] {
        const struct { const void *base; size_t bytes; } ranges[] = {
            {a, extent(la)}, {b, extent(lb)}, {d, extent(ld)}, {workspace, workspace_needed}};
        for (auto &range : ranges)
            if (int failed = kvcpu_reach(stream, uint64_t(range.base), range.bytes, "a matrix product")) return failed;
        memset(workspace, 0x5a, 4096);
        const auto left = vectors(a, la, product.transposes_a), right = vectors(b, lb, !product.transposes_b);
        for (uint64_t column = 0; column < ld.columns; column++)
            for (uint64_t row = 0; row < ld.rows; row++) {
                const int64_t at = int64_t(column) * ld.stride + int64_t(row), from = int64_t(column) * lc.stride + int64_t(row);
                float value = alpha * dot(&left[row * inner], &right[column * inner], inner);
                if (beta != 0) value += beta * read(c, lc.type, from);
                write(d, ld.type, at, value);
            }
        return 0;
    });
    return status == 0 ? ok : execution_failed;
}

}  // extern "C"
