/* Sums over rows that blocks of rows made in parallel, joined in block order: one order at any number of threads. */
#ifndef MB_AUTOGRAD_OPS_BLOCK_SUMS_H
#define MB_AUTOGRAD_OPS_BLOCK_SUMS_H

#include "tensor/tensor.h"

/* to = beta to + the sum of n_blocks rows of `width` numbers, `stride` apart. Nothing where `to` is NULL. */
static inline void mb_add_block_sums(mb_real *to, mb_real beta, const mb_real *block_sums, int64_t n_blocks, int64_t width,
                                     int64_t stride) {
    for (int64_t j = 0; to != NULL && j < width; j++) {
        mb_real sum = 0;
        for (int64_t block = 0; block < n_blocks; block++) {
            sum += block_sums[block * stride + j];
        }
        to[j] = (beta == 0 ? 0 : to[j]) + sum;
    }
}

#endif
