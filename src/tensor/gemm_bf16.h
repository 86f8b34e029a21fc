/* Matrix products of bfloat16 numbers with fp32 sums: C[m,n] = op(A)[m,k] op(B)[k,n].
 *
 * The second factor comes packed, in panels of 32 columns in which the two numbers of rows 2i and 2i+1 stand side by side, and
 * 32 rows of a panel are two tiles of 16 columns, each in one piece (side by side they took AMX 2 to 5% longer): what AMX's
 * TDPBF16PS and AVX-512's VDPBF16PS take. A weight is packed once an update, an activation once a product. The first factor is
 * read where it lies.
 *
 * Every element of C is one sum in an order that depends on k alone: neither the number of threads nor that of the other rows
 * changes it. Which instructions do the work is decided when the process first asks, by CPUID: AMX, AVX512-BF16, or C, which
 * is right on every processor and slower than fp32. */
#ifndef MB_TENSOR_GEMM_BF16_H
#define MB_TENSOR_GEMM_BF16_H

#include <stdbool.h>
#include <stddef.h>

#include "tensor/bf16.h"

enum { MB_BF16_BLOCK = 32 }; /* rows and columns of the block that a kernel computes; k is padded to a multiple of it */

/* "amx", "avx512_bf16" or "generic"; the environment variable MINIBERT_BF16_KERNEL names a lesser one to use instead. */
const char *mb_bf16_kernel_name(void);
/* Whether this processor multiplies bfloat16 numbers faster than fp32 ones. */
bool mb_bf16_is_fast(void);

/* A factor as it lies in memory: rows `stride` elements apart. `transposed`: memory holds the factor's transpose. `is_real`:
 * the numbers are mb_real and are rounded as they are packed. `is_padded`: of an A, up to a multiple of 32, rows that
 * are not there can be read, and columns that are not there are finite. `tiled`: an op(A) as mb_bf16_tile writes it, `stride`
 * its depth. `read_later`: what is packed of it goes past the caches, as a weight's copies do, which are larger. */
typedef struct mb_bf16_factor {
    const void *data;
    int64_t stride;
    bool transposed, is_real, is_padded, tiled, read_later;
} mb_bf16_factor;

int64_t mb_bf16_padded(int64_t k); /* to a multiple of the block */
/* Elements of a packed (k,n) factor, which should begin at a multiple of 64 bytes. */
int64_t mb_bf16_packed_count(int64_t k, int64_t n);
/* Packs a (k,n) factor. `depth` is the padded number of rows of the whole, in which these k may be a part: rows r, r+1 ... of
 * it go to packed + 32 r, r a multiple of 32. */
void mb_bf16_pack(const mb_bf16_factor *b, int64_t k, int64_t n, int64_t depth, mb_bf16 *packed);
/* The whole, over the threads. */
void mb_bf16_pack_parallel(const mb_bf16_factor *b, int64_t k, int64_t n, mb_bf16 *packed);
/* Writes an (m,k) factor as rows `stride` apart, m and k padded with zeros. */
void mb_bf16_unfold(const mb_bf16_factor *a, int64_t m, int64_t k, int64_t stride, mb_bf16 *rows);
/* The same in tiles of 32 x 32, each in one piece: tile q of the rows r, r+1 ... begins at tiles + r depth + 1024 q. For an
 * op(A) that is transposed in memory and read more than once. Long rows at distances of a power of two fall into the same sets
 * of a cache: written as rows, 1024 x 4096 numbers take 0.5 ns each, in tiles 0.1. `depth`: the padded k of the whole, in which
 * this k may be a part: the numbers q, q+1 ... of it go to tiles + 32 q, q a multiple of 32. */
void mb_bf16_tile(const mb_bf16_factor *a, int64_t m, int64_t k, int64_t depth, mb_bf16 *tiles);

/* A packed factor, or from data + 32 r the rows r, r+1 ... of it. */
typedef struct mb_bf16_packed {
    const mb_bf16 *data;
    int64_t depth;
} mb_bf16_packed;

/* What becomes of finished sums: rows [row, row + n_rows) x columns [column, column + n_columns) of C, at most 32 of each, 32
 * sums to a row of `sums`, in the cache of the thread that made them. `in_parts`: a block's rows may come a few at a time, in
 * order; AMX hands them on between the steps of the next block, so that the tiles multiply while they are turned into results.
 */
typedef struct mb_bf16_output {
    void (*take)(void *context, const float *sums, int64_t row, int64_t n_rows, int64_t column, int64_t n_columns);
    void *context;
    bool in_parts;
} mb_bf16_output;

/* On the calling thread. */
void mb_bf16_gemm(int64_t m, int64_t n, int64_t k, const mb_bf16_factor *a, mb_bf16_packed b, mb_bf16_output out);
/* Over the threads; `out` takes from all of them, each sum once. */
void mb_bf16_gemm_parallel(int64_t m, int64_t n, int64_t k, const mb_bf16_factor *a, mb_bf16_packed b, mb_bf16_output out);

/* C = alpha sums + beta C, and bias (n, or NULL) added to every row. */
typedef struct mb_bf16_store {
    void *c;
    int64_t stride;
    float alpha, beta;
    const mb_real *bias;
} mb_bf16_store;
mb_bf16_output mb_bf16_to_real(mb_bf16_store *store);
mb_bf16_output mb_bf16_to_bf16(mb_bf16_store *store);
/* The same for a C that lies transposed in memory, `stride` the distance of its columns: for B^T A^T in place of A B, where
 * that has the smaller first factor to turn. */
mb_bf16_output mb_bf16_to_real_transposed(mb_bf16_store *store);
mb_bf16_output mb_bf16_to_bf16_transposed(mb_bf16_store *store);

#endif
