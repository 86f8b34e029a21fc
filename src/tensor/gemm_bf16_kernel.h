/* The innermost block of a bfloat16 product; see gemm_bf16.h. */
#ifndef MB_TENSOR_GEMM_BF16_KERNEL_H
#define MB_TENSOR_GEMM_BF16_KERNEL_H

#include "tensor/gemm_bf16.h"

/* Rows of A: the numbers 32 q, 32 q + 1 ... of row i are at data + i stride + q chunk. */
typedef struct mb_bf16_lines {
    const mb_bf16 *data;
    int64_t stride, chunk;
} mb_bf16_lines;

typedef struct mb_bf16_kernel {
    const char *name;
    /* Before and after a thread's run of blocks. */
    void (*begin)(void);
    void (*end)(void);
    /* sums[32,32] (= or, with `add`, +=) A[32,k] B[k,32]. k is a multiple of 32; 32 rows of A can be read, and only
     * the sums of the first n_rows need be right. */
    void (*block)(int64_t k, mb_bf16_lines a, int64_t n_rows, const mb_bf16 *panel, bool add, float *sums);
} mb_bf16_kernel;

/* The best of this processor. */
const mb_bf16_kernel *mb_bf16_choose_kernel(void);
/* By name, whether or not this processor can run it; NULL: not in this build. */
const mb_bf16_kernel *mb_bf16_find_kernel(const char *name);

#endif
