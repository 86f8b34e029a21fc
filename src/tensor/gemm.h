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

/* The same product spread over the threads. The tiles depend on the sizes alone, so the result does not depend on the number
 * of threads. */
void mb_gemm_parallel(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, mb_real alpha, const mb_real *a, int64_t lda,
                      const mb_real *b, int64_t ldb, mb_real beta, mb_real *c, int64_t ldc);

#endif
