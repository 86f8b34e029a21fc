#include "autograd/ops.h"

static void add_backward(mb_tape *tape, mb_node *node) {
    const mb_real *dy = node->output->grad;
    int64_t n = mb_tensor_count(node->output);
    for (int i = 0; i < 2; i++) {
        mb_real beta;
        mb_real *dx = mb_tape_grad(tape, node->inputs[i], &beta);
        for (int64_t j = 0; dx != NULL && j < n; j++) {
            dx[j] = (beta == 0 ? 0 : dx[j]) + dy[j];
        }
    }
}

static const mb_op add_op = {"add", add_backward};

mb_tensor *mb_add(mb_tape *tape, mb_tensor *a, mb_tensor *b) {
    if (mb_tape_status(tape) != MB_OK) {
        return NULL;
    }
    MB_SHAPE_CHECK(mb_tensor_count(a) == mb_tensor_count(b), "add", a, b);
    mb_tensor *y = mb_tape_tensor(tape, a->n_dims, a->dims);
    if (y == NULL) {
        return NULL;
    }
    for (int64_t i = 0, n = mb_tensor_count(a); i < n; i++) {
        mb_tensor_real(y)[i] = mb_tensor_real(a)[i] + mb_tensor_real(b)[i];
    }
    mb_tape_append(tape, &add_op, y, (mb_tensor *[]){a, b}, 2);
    return y;
}
