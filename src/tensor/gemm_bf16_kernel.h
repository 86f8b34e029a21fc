/* The innermost block of a bfloat16 product; see gemm_bf16.h. */
#ifndef MB_TENSOR_GEMM_BF16_KERNEL_H
#define MB_TENSOR_GEMM_BF16_KERNEL_H

#include "tensor/gemm_bf16.h"

/* Rows of A: the numbers 32 q, 32 q + 1 ... of row i are at data + i stride + q chunk. */
typedef struct mb_bf16_lines {
    const mb_bf16 *data;
    int64_t stride, chunk;
} mb_bf16_lines;

/* A block of sums that is there, and the rows of it that are handed on next. */
typedef struct mb_bf16_finished {
    mb_bf16_output out;
    const float *sums;
    int64_t row, n_rows, column, n_columns, next;
} mb_bf16_finished;

/* The next n rows of it, or what is left. */
static inline void mb_bf16_hand_on(mb_bf16_finished *f, int64_t n) {
    const int64_t left = f->n_rows - f->next, part = n < left ? n : left;
    if (part > 0) {
        f->out.take(f->out.context, f->sums + f->next * MB_BF16_BLOCK, f->row + f->next, part, f->column, f->n_columns);
        f->next += part;
    }
}

typedef struct mb_bf16_kernel {
    const char *name;
    /* Before and after a thread's run of blocks. */
    void (*begin)(void);
    void (*end)(void);
    /* sums[32,32] (= or, with `add`, +=) A[32,k] B[k,32]. k is a multiple of 32; 32 rows of A can be read, and only
     * the sums of the first n_rows need be right. `before`: a block made earlier, to other sums, or NULL; some or all of it may
     * be handed on meanwhile. */
    void (*block)(int64_t k, mb_bf16_lines a, int64_t n_rows, const mb_bf16 *panel, bool add, float *sums,
                  mb_bf16_finished *before);
} mb_bf16_kernel;

/* The best of this processor. */
const mb_bf16_kernel *mb_bf16_choose_kernel(void);
/* By name, whether or not this processor can run it; NULL: not in this build. */
const mb_bf16_kernel *mb_bf16_find_kernel(const char *name);

#endif
