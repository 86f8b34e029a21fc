#include "autograd/ops.h"

#include <string.h>

static void gather_rows_backward(mb_tape *tape, mb_node *node) {
    const int32_t *rows = node->saved;
    mb_tensor *x = node->inputs[0];
    int64_t width = x->dims[1], n_rows = node->output->dims[0];
    mb_real beta;
    mb_real *dx = mb_tape_grad(tape, x, &beta);
    if (dx == NULL) {
        return;
    }
    if (beta == 0) {
        memset(dx, 0, (size_t)mb_tensor_count(x) * sizeof *dx);
    }
    for (int64_t i = 0; i < n_rows; i++) { /* in order: a row may occur twice */
        mb_real *to = dx + rows[i] * width;
        const mb_real *from = node->output->grad + i * width;
#pragma omp simd
        for (int64_t j = 0; j < width; j++) {
            to[j] += from[j];
        }
    }
}

static const mb_op gather_rows_op = {"gather_rows", gather_rows_backward};

mb_tensor *mb_gather_rows(mb_tape *tape, mb_tensor *x, const int32_t *rows, int64_t n_rows) {
    if (mb_tape_status(tape) != MB_OK) {
        return NULL;
    }
    int64_t width = x->dims[1];
    mb_tensor *y = mb_tape_tensor(tape, 2, (int64_t[]){n_rows, width});
    if (y == NULL) {
        return NULL;
    }
    for (int64_t i = 0; i < n_rows; i++) {
        memcpy(mb_tensor_real(y) + i * width, mb_tensor_real(x) + rows[i] * width, (size_t)width * sizeof(mb_real));
    }
    mb_node *node = mb_tape_append(tape, &gather_rows_op, y, &x, 1);
    if (node != NULL) {
        node->saved = (void *)(uintptr_t)rows;
    }
    return y;
}
