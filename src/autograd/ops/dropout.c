#include "tensor/dropout_mask.h"

#include "autograd/ops.h"
#include "tensor/rows.h"

/* Srivastava et al. 2014, inverted: the kept elements are scaled in training, inference does nothing. */

/* to = beta to + mask * from. `scratch`: mb_tape_thread_rows(2). */
static void dropout_rows(const mb_dropout_site *site, const mb_rows *from, int64_t n_rows, mb_real beta, const mb_rows *to,
                         mb_real *scratch) {
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n_rows; i++) {
        mb_real *mine = mb_tape_my_rows(scratch, 2, from->width), *masked = mine + from->width;
        mb_dropout_row(site, (uint32_t)i, from->width, mb_rows_read(from, i, mine), masked);
        mb_rows_add(to, i, beta, masked);
    }
}

static void dropout_backward(mb_tape *tape, mb_node *node) {
    const mb_tensor *y = node->output;
    mb_tensor *x = node->inputs[0];
    const int64_t width = y->dims[y->n_dims - 1];
    mb_real beta;
    const mb_rows dx = mb_rows_over(mb_tape_grad(tape, x, &beta), x->dtype, width);
    const mb_rows dy = mb_rows_over(y->grad, y->dtype, width);
    mb_real *scratch = mb_tape_thread_rows(tape, 2, width);
    if (dx.data != NULL && scratch != NULL) {
        dropout_rows(node->saved, &dy, mb_tensor_count(y) / width, beta, &dx, scratch);
    }
}

static const mb_op dropout_op = {"dropout", dropout_backward};

mb_tensor *mb_dropout(mb_tape *tape, mb_tensor *x, double p) {
    if (mb_tape_status(tape) != MB_OK || p == 0 || !mb_tape_recording(tape)) {
        return x;
    }
    mb_tensor *y = mb_tape_tensor(tape, x->n_dims, x->dims);
    mb_dropout_site *site = mb_tape_alloc(tape, 1, sizeof *site);
    const int64_t width = x->dims[x->n_dims - 1];
    mb_real *scratch = mb_tape_thread_rows(tape, 2, width);
    if (y == NULL || site == NULL || scratch == NULL) {
        return NULL;
    }
    *site = mb_dropout_site_make(mb_tape_seed(tape), mb_tape_step(tape), mb_tape_next_site(tape), p);
    const mb_rows from = mb_rows_of(x), to = mb_rows_of(y);
    dropout_rows(site, &from, mb_tensor_count(x) / width, 0, &to, scratch);
    mb_node *node = mb_tape_append(tape, &dropout_op, y, &x, 1);
    if (node != NULL) {
        node->saved = site;
    }
    return mb_tape_end(tape, node, y);
}
