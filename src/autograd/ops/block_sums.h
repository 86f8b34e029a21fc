/* Sums over rows that blocks of rows made in parallel, joined in block order: one order at any number of threads. */
#ifndef MB_AUTOGRAD_OPS_BLOCK_SUMS_H
#define MB_AUTOGRAD_OPS_BLOCK_SUMS_H

#include "tensor/tensor.h"

/* to = beta to + the sum of n_blocks rows of `width` numbers, `stride` apart. Nothing where `to` is NULL. */
static inline void mb_add_block_sums(mb_real *to, mb_real beta, const mb_real *block_sums, int64_t n_blocks, int64_t width,
                                     int64_t stride) {
    enum { AT_ONCE = 64 };
    for (int64_t first = 0; to != NULL && first < width; first += AT_ONCE) {
        const int64_t n = width - first < AT_ONCE ? width - first : AT_ONCE;
        mb_real sums[AT_ONCE] = {0};
        for (int64_t block = 0; block < n_blocks; block++) {
            const mb_real *restrict from = block_sums + block * stride + first;
#pragma omp simd
            for (int64_t j = 0; j < n; j++) {
                sums[j] += from[j];
            }
        }
        for (int64_t j = 0; j < n; j++) {
            to[first + j] = (beta == 0 ? 0 : to[first + j]) + sums[j];
        }
    }
}

#endif
