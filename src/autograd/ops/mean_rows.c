#include "autograd/ops.h"
#include "tensor/rows.h"

/* The mean over the tokens of each sequence:
 *
 *   y_b = 1/T_b sum of x_i over i in b        dx_i = dy_b / T_b
 */

static void mean_rows_backward(mb_tape *tape, mb_node *node) {
    const mb_sequences *sequences = node->saved;
    mb_tensor *x = node->inputs[0];
    const int64_t width = x->dims[1];
    mb_real beta;
    const mb_rows dx = mb_rows_over(mb_tape_grad(tape, x, &beta), x->dtype, width);
    const mb_rows dy = mb_rows_over(node->output->grad, node->output->dtype, width);
    mb_real *scratch = mb_tape_thread_rows(tape, 2, width);
    if (dx.data == NULL || scratch == NULL) {
        return;
    }
    for (int32_t b = 0; b < sequences->n; b++) {
        const int64_t begin = sequences->offsets[b], end = sequences->offsets[b + 1];
        mb_real *part = scratch + width;
        const mb_real *row = mb_rows_read(&dy, b, scratch), share = 1 / (mb_real)(end - begin);
        for (int64_t j = 0; j < width; j++) {
            part[j] = row[j] * share;
        }
        for (int64_t i = begin; i < end; i++) {
            mb_rows_add(&dx, i, beta, part);
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
    mb_real *scratch = mb_tape_thread_rows(tape, 2, width);
    if (scratch == NULL) {
        return NULL;
    }
    const mb_rows x_rows = mb_rows_of(x), y_rows = mb_rows_of(y);
    for (int32_t b = 0; b < sequences->n; b++) {
        const int64_t begin = sequences->offsets[b], end = sequences->offsets[b + 1];
        mb_real *restrict out = mb_rows_place(&y_rows, b, scratch);
        const mb_real share = 1 / (mb_real)(end - begin);
        for (int64_t j = 0; j < width; j++) {
            out[j] = 0;
        }
        for (int64_t i = begin; i < end; i++) {
            const mb_real *restrict row = mb_rows_read(&x_rows, i, scratch + width);
#pragma omp simd
            for (int64_t j = 0; j < width; j++) {
                out[j] += row[j];
            }
        }
#pragma omp simd
        for (int64_t j = 0; j < width; j++) {
            out[j] *= share;
        }
        mb_rows_put(&y_rows, b, out);
    }
    mb_node *node = mb_tape_append(tape, &mean_rows_op, y, &x, 1);
    if (node != NULL) {
        node->saved = saved;
    }
    return mb_tape_end(tape, node, y);
}
