#include "tensor/dropout_mask.h"

#include "autograd/ops.h"

/* Srivastava et al. 2014, inverted: the kept elements are scaled in training, inference does nothing. */

static void dropout_rows(const mb_dropout_site *site, const mb_tensor *shape, const mb_real *in, mb_real *out) {
    int64_t width = shape->dims[shape->n_dims - 1], n_rows = mb_tensor_count(shape) / width;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n_rows; i++) {
        mb_dropout_row(site, (uint32_t)i, width, in + i * width, out + i * width);
    }
}

static void dropout_backward(mb_tape *tape, mb_node *node) {
    mb_real beta;
    mb_real *dx = mb_tape_grad(tape, node->inputs[0], &beta);
    if (dx == NULL) {
        return;
    }
    mb_real *dy = node->output->grad; /* ours alone and not needed after this: masked in place */
    dropout_rows(node->saved, node->output, dy, dy);
    int64_t n = mb_tensor_count(node->output);
    for (int64_t i = 0; i < n; i++) {
        dx[i] = (beta == 0 ? 0 : dx[i]) + dy[i];
    }
}

static const mb_op dropout_op = {"dropout", dropout_backward};

mb_tensor *mb_dropout(mb_tape *tape, mb_tensor *x, double p) {
    if (mb_tape_status(tape) != MB_OK || p == 0 || !mb_tape_recording(tape)) {
        return x;
    }
    mb_tensor *y = mb_tape_tensor(tape, x->n_dims, x->dims);
    mb_dropout_site *site = mb_tape_alloc(tape, 1, sizeof *site);
    if (y == NULL || site == NULL) {
        return NULL;
    }
    *site = mb_dropout_site_make(mb_tape_seed(tape), mb_tape_step(tape), mb_tape_next_site(tape), p);
    dropout_rows(site, x, mb_tensor_real(x), mb_tensor_real(y));
    mb_node *node = mb_tape_append(tape, &dropout_op, y, &x, 1);
    if (node != NULL) {
        node->saved = site;
    }
    return y;
}
