/* Products of mb_real matrices whose second factor is packed: C[m,n] (+)= A[m,k] B[k,n].
 *
 * B lies in panels of MB_PANEL columns, row after row, the last one padded with zeros; A is read where it lies, whatever its
 * strides are. cblas (gemm.h) packs both factors anew for every tile: 15% of a training step in fp32. Here an activation is
 * packed once a product, a weight as the first factor not at all. One thread of Zen 4 (AVX-512, 112 GFLOP/s at most): 102 to
 * 111 GFLOP/s on the shapes of a mini, OpenBLAS 91 to 98.
 *
 * Every element of C is one sum in the order of k: neither threads nor the rows and columns beside it change it. */
#ifndef MB_TENSOR_GEMM_PACKED_H
#define MB_TENSOR_GEMM_PACKED_H

#include <stdbool.h>
#include <stdint.h>

#include "tensor/tensor.h"

/* A panel is MB_VECTORS vectors wide and a strip of C MB_STRIP rows high, so that its sums, and the vectors of a row of B, fit
 * the registers: 32 of AVX-512, 16 of AVX2. Of the ways to cut 24 sums this one loads least: Ice Lake, which does not sustain
 * 14 loads beside 24 operations, is at 98% of its peak with 6 x 4 vectors, at 92% with 12 x 2. */
#ifdef __AVX512F__
enum { MB_VECTOR_BYTES = 64, MB_VECTORS = 4, MB_STRIP = 6 };
#else
enum { MB_VECTOR_BYTES = 32, MB_VECTORS = 2, MB_STRIP = 6 };
#endif
enum { MB_PANEL = MB_VECTORS * MB_VECTOR_BYTES / (int)sizeof(mb_real) };

static inline int64_t mb_panels_of(int64_t n) {
    return (n + MB_PANEL - 1) / MB_PANEL;
}

/* A: element (i,p) is data[(i / MB_STRIP) strip + (i mod MB_STRIP) row + (p / MB_PANEL) chunk + (p mod MB_PANEL) column]. */
typedef struct mb_left_factor {
    const mb_real *data;
    int64_t row, column, chunk, strip;
} mb_left_factor;

static inline mb_left_factor mb_left_rows(const mb_real *a, int64_t stride) {
    return (mb_left_factor){a, stride, 1, MB_PANEL, MB_STRIP * stride};
}
/* Memory holds A's transpose. For a short k: down 512 rows that are 4 KiB apart every line falls into the same set of the
 * cache. */
static inline mb_left_factor mb_left_transposed(const mb_real *a, int64_t stride) {
    return (mb_left_factor){a, 1, stride, MB_PANEL * stride, MB_STRIP};
}
/* Rows of an (m,k) matrix in panels of `depth` rows, as a product leaves them where C has panels. */
static inline mb_left_factor mb_left_panels(const mb_real *a, int64_t depth) {
    return (mb_left_factor){a, MB_PANEL, 1, depth * MB_PANEL, MB_STRIP * MB_PANEL};
}
/* What mb_pack_strips has made. */
static inline mb_left_factor mb_left_strips(const mb_real *strips, int64_t depth) {
    return (mb_left_factor){strips, 1, MB_STRIP, MB_PANEL * MB_STRIP, depth * MB_STRIP};
}

/* Called with every strip of C as soon as it is complete, by the thread that made it, to put it where it belongs, C or
 * elsewhere: rows [row, row + n_rows), columns [column, column + n_columns). `sums`: its rows, MB_PANEL apart, the finish's to
 * change. */
typedef void (*mb_strip_finish)(void *context, mb_real *sums, int64_t row, int64_t n_rows, int64_t column, int64_t n_columns);

/* C: element (i,j) is c[i stride + (j / MB_PANEL) panel + j mod MB_PANEL]. */
typedef struct mb_product_target {
    mb_real *c;
    int64_t stride, panel;
    bool add;               /* to what is there; else C is overwritten */
    const mb_real *bias;    /* (n), added to every row; NULL: none */
    mb_strip_finish finish; /* NULL: the sums go to C as they are */
    void *context;          /* of `finish` */
} mb_product_target;

static inline mb_product_target mb_to_rows(mb_real *c, int64_t stride, bool add) {
    return (mb_product_target){.c = c, .stride = stride, .panel = MB_PANEL, .add = add};
}
/* Whole panels of `depth` rows, the padding of the last one too. */
static inline mb_product_target mb_to_panels(mb_real *c, int64_t depth) {
    return (mb_product_target){.c = c, .stride = MB_PANEL, .panel = depth * MB_PANEL};
}

/* Numbers of a packed (k,n) factor. */
static inline int64_t mb_packed_count(int64_t k, int64_t n) {
    return k * mb_panels_of(n) * MB_PANEL;
}
/* Packs `scale` times a (k,n) factor, rows `stride` apart. `transposed`: memory holds its transpose. */
void mb_pack(bool transposed, int64_t k, int64_t n, const mb_real *b, int64_t stride, mb_real scale, mb_real *packed);
/* The same over the threads, with scale 1. */
void mb_pack_parallel(bool transposed, int64_t k, int64_t n, const mb_real *b, int64_t stride, mb_real *packed);
/* k rows of the transpose of an A with m rows, `stride` apart in memory, to A's strips: each takes MB_STRIP `depth` numbers, of
 * which this call writes those of its k columns. The k of a product may come in several calls. */
void mb_pack_strips(int64_t k, int64_t m, const mb_real *a, int64_t stride, int64_t depth, mb_real *strips);
static inline int64_t mb_strips_count(int64_t m, int64_t depth) {
    return (m + MB_STRIP - 1) / MB_STRIP * MB_STRIP * depth;
}

/* On the calling thread. */
void mb_packed_gemm(int64_t m, int64_t n, int64_t k, mb_left_factor a, const mb_real *packed, mb_product_target target);
/* The same with k of the `depth` rows of a packed factor, of which `packed` is the first. */
void mb_packed_gemm_part(int64_t m, int64_t n, int64_t k, mb_left_factor a, const mb_real *packed, int64_t depth,
                         mb_product_target target);
/* Over the threads. */
void mb_packed_gemm_parallel(int64_t m, int64_t n, int64_t k, mb_left_factor a, const mb_real *packed,
                             mb_product_target target);

#endif
