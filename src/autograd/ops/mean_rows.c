#include "autograd/ops.h"

/* The mean over the tokens of each sequence:
 *
 *   y_b = 1/T_b sum of x_i over i in b        dx_i = dy_b / T_b
 */

static void mean_rows_backward(mb_tape *tape, mb_node *node) {
    const mb_sequences *sequences = node->saved;
    mb_tensor *x = node->inputs[0];
    const int64_t width = x->dims[1];
    mb_real beta;
    mb_real *dx = mb_tape_grad(tape, x, &beta);
    if (dx == NULL) {
        return;
    }
    for (int32_t b = 0; b < sequences->n; b++) {
        const int64_t begin = sequences->offsets[b], end = sequences->offsets[b + 1];
        const mb_real *restrict dy = node->output->grad + b * width;
        const mb_real share = 1 / (mb_real)(end - begin);
        for (int64_t i = begin; i < end; i++) {
            mb_real *restrict to = dx + i * width;
#pragma omp simd
            for (int64_t j = 0; j < width; j++) {
                to[j] = (beta == 0 ? 0 : to[j]) + dy[j] * share;
            }
        }
    }
}

static const mb_op mean_rows_op = {"mean_rows", mean_rows_backward};

mb_tensor *mb_mean_rows(mb_tape *tape, mb_tensor *x, const mb_sequences *sequences) {
    if (mb_tape_status(tape) != MB_OK) {
        return NULL;
    }
    const int64_t width = x->dims[1];
    MB_SHAPE_CHECK(sequences->offsets[sequences->n] == x->dims[0], "mean_rows", x, x);
    mb_tensor *y = mb_tape_tensor(tape, 2, (int64_t[]){sequences->n, width});
    mb_sequences *saved = mb_tape_alloc(tape, 1, sizeof *saved);
    if (y == NULL || saved == NULL) {
        return NULL;
    }
    *saved = *sequences;
    for (int32_t b = 0; b < sequences->n; b++) {
        const int64_t begin = sequences->offsets[b], end = sequences->offsets[b + 1];
        mb_real *restrict out = mb_tensor_real(y) + b * width;
        const mb_real share = 1 / (mb_real)(end - begin);
        for (int64_t j = 0; j < width; j++) {
            out[j] = 0;
        }
        for (int64_t i = begin; i < end; i++) {
            const mb_real *restrict row = mb_tensor_real(x) + i * width;
#pragma omp simd
            for (int64_t j = 0; j < width; j++) {
                out[j] += row[j];
            }
        }
#pragma omp simd
        for (int64_t j = 0; j < width; j++) {
            out[j] *= share;
        }
    }
    mb_node *node = mb_tape_append(tape, &mean_rows_op, y, &x, 1);
    if (node != NULL) {
        node->saved = saved;
    }
    return y;
}
