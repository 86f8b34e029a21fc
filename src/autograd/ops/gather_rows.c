#include "autograd/ops.h"

#include <string.h>

#include "tensor/rows.h"

static void gather_rows_backward(mb_tape *tape, mb_node *node) {
    const int32_t *rows = node->saved;
    mb_tensor *x = node->inputs[0];
    int64_t width = x->dims[1], n_rows = node->output->dims[0];
    mb_real beta;
    const mb_rows dx = mb_rows_over(mb_tape_grad(tape, x, &beta), x->dtype, width);
    const mb_rows dy = mb_rows_over(node->output->grad, node->output->dtype, width);
    mb_real *scratch = mb_tape_thread_rows(tape, 1, width);
    if (dx.data == NULL || scratch == NULL) {
        return;
    }
    if (beta == 0) {
        memset(dx.data, 0, mb_tensor_bytes(x));
    }
    for (int64_t i = 0; i < n_rows; i++) { /* in order: a row may occur twice */
        mb_rows_add(&dx, rows[i], 1, mb_rows_read(&dy, i, scratch));
    }
}

static const mb_op gather_rows_op = {"gather_rows", gather_rows_backward};

mb_tensor *mb_gather_rows(mb_tape *tape, mb_tensor *x, const int32_t *rows, int64_t n_rows) {
    if (mb_tape_status(tape) != MB_OK) {
        return NULL;
    }
    int64_t width = x->dims[1];
    const int64_t dims[] = {n_rows, width}; /* a residual stream is mb_real on a bf16 tape too */
    mb_tensor *y = x->dtype == MB_REAL_DTYPE ? mb_tape_real_tensor(tape, 2, dims) : mb_tape_tensor(tape, 2, dims);
    if (y == NULL) {
        return NULL;
    }
    MB_SHAPE_CHECK(x->dtype == y->dtype, "gather_rows", x, y);
    const mb_rows from = mb_rows_of(x), to = mb_rows_of(y);
    for (int64_t i = 0; i < n_rows; i++) {
        memcpy(mb_rows_at(&to, i), mb_rows_at(&from, rows[i]), (size_t)width * mb_dtype_size(x->dtype));
    }
    mb_node *node = mb_tape_append(tape, &gather_rows_op, y, &x, 1);
    if (node != NULL) {
        node->saved = (void *)(uintptr_t)rows;
    }
    return mb_tape_end(tape, node, y);
}
