/* Matrix products behind one interface. gemm.c is the only file that sees cblas.h.
 *
 * C[m,n] = op(A)[m,k] op(B)[k,n] + beta C, row-major, fp32 (fp64 in the double build), leading dimensions in elements. */
#ifndef MB_TENSOR_GEMM_H
#define MB_TENSOR_GEMM_H

#include <stdbool.h>
#include <stdint.h>

#include "tensor/tensor.h"

/* One product on the calling thread alone; meant for use inside a parallel region. */
void mb_gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, mb_real alpha, const mb_real *a, int64_t lda,
             const mb_real *b, int64_t ldb, mb_real beta, mb_real *c, int64_t ldc);

/* Called on rows [row, row + n_rows) x columns [column, column + n_columns) of C as soon as that tile is complete, by the
 * thread that computed it, while the tile is still in its cache: where an activation belongs. */
typedef void (*mb_gemm_epilogue)(void *context, int64_t row, int64_t n_rows, int64_t column, int64_t n_columns);

/* The same product spread over the threads. The tiles depend on the sizes alone, so the result does not depend on the number
 * of threads. `bias` (n, or NULL) is added to every row: C = op(A) op(B) + bias; then beta must be 0. `epilogue` may be NULL.
 */
void mb_gemm_parallel(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, mb_real alpha, const mb_real *a, int64_t lda,
                      const mb_real *b, int64_t ldb, mb_real beta, mb_real *c, int64_t ldc, const mb_real *bias,
                      mb_gemm_epilogue epilogue, void *context);

#endif
