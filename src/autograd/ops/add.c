#include "autograd/ops.h"
#include "tensor/rows.h"

static void add_backward(mb_tape *tape, mb_node *node) {
    const mb_tensor *y = node->output;
    const int64_t width = y->dims[y->n_dims - 1], n_rows = mb_tensor_count(y) / width;
    const mb_rows dy = mb_rows_over(y->grad, y->dtype, width);
    mb_real *scratch = mb_tape_thread_rows(tape, 1, width);
    for (int i = 0; i < 2; i++) {
        mb_tensor *x = node->inputs[i];
        mb_real beta;
        const mb_rows dx = mb_rows_over(mb_tape_grad(tape, x, &beta), x->dtype, width);
        for (int64_t row = 0; dx.data != NULL && scratch != NULL && row < n_rows; row++) {
            mb_rows_add(&dx, row, beta, mb_rows_read(&dy, row, scratch));
        }
    }
}

static const mb_op add_op = {"add", add_backward};

mb_tensor *mb_add(mb_tape *tape, mb_tensor *a, mb_tensor *b) {
    if (mb_tape_status(tape) != MB_OK) {
        return NULL;
    }
    MB_SHAPE_CHECK(mb_tensor_count(a) == mb_tensor_count(b) && a->dtype == b->dtype, "add", a, b);
    const int64_t width = a->dims[a->n_dims - 1], n_rows = mb_tensor_count(a) / width;
    mb_tensor *y =
        a->dtype == MB_REAL_DTYPE ? mb_tape_real_tensor(tape, a->n_dims, a->dims) : mb_tape_tensor(tape, a->n_dims, a->dims);
    mb_real *scratch = mb_tape_thread_rows(tape, 1, width);
    if (y == NULL || scratch == NULL) {
        return NULL;
    }
    const mb_rows rows[3] = {mb_rows_of(a), mb_rows_of(b), mb_rows_of(y)};
    for (int64_t i = 0; i < n_rows; i++) {
        mb_rows_add(&rows[2], i, 0, mb_rows_read(&rows[0], i, scratch));
        mb_rows_add(&rows[2], i, 1, mb_rows_read(&rows[1], i, scratch));
    }
    return mb_tape_end(tape, mb_tape_append(tape, &add_op, y, (mb_tensor *[]){a, b}, 2), y);
}
