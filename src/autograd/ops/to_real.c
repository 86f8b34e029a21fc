#include "autograd/ops.h"
#include "tensor/rows.h"

static void to_real_backward(mb_tape *tape, mb_node *node) {
    mb_tensor *x = node->inputs[0];
    const int64_t width = x->dims[1];
    const mb_real *dy = node->output->grad;
    mb_real beta;
    const mb_rows dx = mb_rows_over(mb_tape_grad(tape, x, &beta), x->dtype, width);
    for (int64_t i = 0; dx.data != NULL && i < x->dims[0]; i++) {
        mb_rows_add(&dx, i, beta, dy + i * width);
    }
}

static const mb_op to_real_op = {"to_real", to_real_backward};

mb_tensor *mb_to_real(mb_tape *tape, mb_tensor *x) {
    if (mb_tape_status(tape) != MB_OK || x->dtype == MB_REAL_DTYPE) {
        return x;
    }
    mb_tensor *y = mb_tape_real_tensor(tape, 2, x->dims);
    if (y == NULL) {
        return NULL;
    }
    const mb_rows from = mb_rows_of(x);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < x->dims[0]; i++) {
        mb_rows_read(&from, i, mb_tensor_real(y) + i * x->dims[1]);
    }
    return mb_tape_end(tape, mb_tape_append(tape, &to_real_op, y, &x, 1), y);
}
