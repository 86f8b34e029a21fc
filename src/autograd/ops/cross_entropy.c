#include "autograd/ops.h"

#include "tensor/vmath.h"

/* scale * sum_i -log softmax(logits_i)[target_i]; d logits = scale * (softmax - onehot). For few classes: one thread. */

typedef struct cross_entropy_saved {
    const int32_t *targets;
    mb_real *probabilities; /* (M,C) */
    mb_real scale;
} cross_entropy_saved;

static void cross_entropy_backward(mb_tape *tape, mb_node *node) {
    const cross_entropy_saved *saved = node->saved;
    mb_tensor *logits = node->inputs[0];
    int64_t n_classes = logits->dims[1];
    mb_real beta, factor = saved->scale * *(const mb_real *)node->output->grad;
    mb_real *dx = mb_tape_grad(tape, logits, &beta);
    for (int64_t i = 0; dx != NULL && i < logits->dims[0]; i++) {
        for (int64_t j = 0; j < n_classes; j++) {
            int64_t at = i * n_classes + j;
            mb_real d = factor * (saved->probabilities[at] - (mb_real)(j == saved->targets[i] ? 1 : 0));
            dx[at] = (beta == 0 ? 0 : dx[at]) + d;
        }
    }
}

static const mb_op cross_entropy_op = {"cross_entropy", cross_entropy_backward};

/* Writes softmax(x) to `out` and returns -log softmax(x)[target]. */
static double softmax_row(const mb_real *x, int64_t n, int32_t target, mb_real *out) {
    mb_real max = x[0];
    for (int64_t j = 1; j < n; j++) {
        max = x[j] > max ? x[j] : max;
    }
    double sum = 0;
    for (int64_t j = 0; j < n; j++) {
        out[j] = mb_exp(x[j] - max);
        sum += (double)out[j];
    }
    for (int64_t j = 0; j < n; j++) {
        out[j] = (mb_real)((double)out[j] / sum);
    }
    return log(sum) - (double)(x[target] - max);
}

mb_tensor *mb_cross_entropy(mb_tape *tape, mb_tensor *logits, const int32_t *targets, double scale) {
    if (mb_tape_status(tape) != MB_OK) {
        return NULL;
    }
    int64_t n_rows = logits->dims[0], n_classes = logits->dims[1];
    MB_SHAPE_CHECK(logits->dtype == MB_REAL_DTYPE, "cross_entropy", logits, logits);
    mb_tensor *y = mb_tape_real_tensor(tape, 1, (int64_t[]){1});
    cross_entropy_saved *saved = mb_tape_alloc(tape, 1, sizeof *saved);
    mb_real *probabilities = mb_tape_alloc(tape, (size_t)(n_rows * n_classes), sizeof *probabilities);
    if (y == NULL || saved == NULL || probabilities == NULL) {
        return NULL;
    }
    double sum = 0;
    for (int64_t i = 0; i < n_rows; i++) {
        int64_t at = i * n_classes;
        sum += softmax_row(mb_tensor_real(logits) + at, n_classes, targets[i], probabilities + at);
    }
    mb_tensor_real(y)[0] = (mb_real)(scale * sum);
    *saved = (cross_entropy_saved){targets, probabilities, (mb_real)scale};
    mb_node *node = mb_tape_append(tape, &cross_entropy_op, y, &logits, 1);
    if (node != NULL) {
        node->saved = saved;
    }
    return mb_tape_end(tape, node, y);
}
