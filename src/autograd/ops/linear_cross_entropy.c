#include "autograd/ops.h"

#include <string.h>

#include "autograd/ops/linear_cross_entropy_bf16.h"
#include "tensor/gemm.h"
#include "tensor/rows.h"
#include "tensor/vmath.h"

/* The masked-LM output layer: logits = x W^T + b over the whole vocabulary, then scale * sum of cross entropies.
 *
 * The logits of all rows would be the largest tensor of a training step by far. They are made for a chunk of rows at a time,
 * and since the derivative of a loss with respect to its logits needs nothing but themselves,
 *
 *   dlogits = scale (softmax(logits) - onehot(target))      dx = dlogits W      dW += dlogits^T x      db += sum dlogits
 *
 * are computed at once, while the chunk is there: forward does the work of backward too, and backward only hands dx on. */

/* Logits of a chunk: a compromise measured on Zen 3 (V 30522, H 256): fewer rows read the vocabulary table too often, more do
 * not fit the last-level cache. */
enum { CHUNK_LOGITS = 4 << 20, MIN_CHUNK_ROWS = 128, COLUMN_BLOCK = 512 };

/* Loss of one row; its logits become scale * (softmax - onehot). */
static mb_lce_row loss_row(mb_real *restrict logits, int64_t n, int32_t target, mb_real scale) {
    mb_real max = logits[0], sum = 0;
#pragma omp simd reduction(max : max)
    for (int64_t j = 0; j < n; j++) {
        max = logits[j] > max ? logits[j] : max;
    }
    mb_real target_logit = logits[target];
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < n; j++) {
        logits[j] = mb_exp(logits[j] - max);
        sum += logits[j];
    }
    mb_real factor = scale / sum;
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
        logits[j] *= factor;
    }
    logits[target] -= scale;
    return (mb_lce_row){log((double)sum) - (double)(target_logit - max), target_logit == max};
}

/* db += column sums of the chunk's dlogits; columns in fixed blocks, rows in order. */
static void add_column_sums(const mb_real *dlogits, int64_t n_rows, int64_t width, mb_real *dbias) {
#pragma omp parallel for schedule(static)
    for (int64_t column = 0; column < width; column += COLUMN_BLOCK) {
        int64_t end = column + COLUMN_BLOCK < width ? column + COLUMN_BLOCK : width;
        for (int64_t i = 0; i < n_rows; i++) {
            const mb_real *restrict row = dlogits + i * width;
#pragma omp simd
            for (int64_t j = column; j < end; j++) {
                dbias[j] += row[j];
            }
        }
    }
}

static void linear_cross_entropy_backward(mb_tape *tape, mb_node *node) {
    MB_SHAPE_CHECK(*(const mb_real *)node->output->grad == 1, "linear_cross_entropy", node->output, node->output);
    const mb_real *saved = node->saved; /* (M,H) dx */
    mb_tensor *x = node->inputs[0];
    mb_real beta;
    const mb_rows dx = mb_rows_over(mb_tape_grad(tape, x, &beta), x->dtype, x->dims[1]);
    for (int64_t i = 0; dx.data != NULL && i < x->dims[0]; i++) {
        mb_rows_add(&dx, i, beta, saved + i * x->dims[1]);
    }
}

static const mb_op linear_cross_entropy_op = {"linear_cross_entropy", linear_cross_entropy_backward};

/* The fp32 form; `dx` NULL: no gradients. */
static void chunks(mb_tape *tape, const mb_lce_problem *p) {
    const int64_t width = p->width, n_classes = p->n_classes, most = CHUNK_LOGITS / n_classes;
    int64_t chunk = most < MIN_CHUNK_ROWS ? MIN_CHUNK_ROWS : most;
    chunk = chunk < p->n_rows ? chunk : p->n_rows;
    mb_real *logits = mb_tape_alloc(tape, (size_t)(chunk * n_classes), sizeof *logits);
    if (logits == NULL) {
        return;
    }
    const mb_real *w = mb_tensor_real(p->weight);
    for (int64_t first = 0; first < p->n_rows; first += chunk) {
        const int64_t n = p->n_rows - first < chunk ? p->n_rows - first : chunk;
        const mb_real *in = mb_tensor_real(p->x) + first * width;
        mb_gemm_parallel(false, true, n, n_classes, width, 1, in, width, w, width, 0, logits, n_classes, p->bias, NULL, NULL);
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < n; i++) {
            p->results[first + i] = loss_row(logits + i * n_classes, n_classes, p->targets[first + i], p->scale);
        }
        if (p->dx != NULL) {
            mb_gemm_parallel(false, false, n, width, n_classes, 1, logits, n_classes, w, width, 0, p->dx + first * width, width,
                             NULL, NULL, NULL);
        }
        if (p->dweight != NULL) {
            mb_gemm_parallel(true, false, n_classes, width, n, 1, logits, n_classes, in, width, 1, p->dweight, width, NULL,
                             NULL, NULL);
        }
        if (p->dbias != NULL) {
            add_column_sums(logits, n, n_classes, p->dbias);
        }
    }
}

mb_tensor *mb_linear_cross_entropy(mb_tape *tape, mb_tensor *x, mb_tensor *weight, mb_tensor *bias, const int32_t *targets,
                                   double scale, int64_t *n_correct) {
    if (mb_tape_status(tape) != MB_OK) {
        return NULL;
    }
    mb_lce_problem p = {.x = x,
                        .weight = weight,
                        .n_rows = x->dims[0],
                        .width = x->dims[1],
                        .n_classes = weight->dims[0],
                        .bias = bias == NULL ? NULL : mb_tensor_real(bias),
                        .targets = targets,
                        .scale = (mb_real)scale};
    MB_SHAPE_CHECK(weight->dims[1] == p.width, "linear_cross_entropy", x, weight);
    MB_SHAPE_CHECK(bias == NULL || bias->dims[0] == p.n_classes, "linear_cross_entropy", weight, bias);
    MB_SHAPE_CHECK(!weight->needs_grad || (weight->is_parameter && (bias == NULL || bias->is_parameter)),
                   "linear_cross_entropy", weight, bias);
    mb_tensor *y = mb_tape_real_tensor(tape, 1, (int64_t[]){1});
    p.results = mb_tape_alloc(tape, (size_t)p.n_rows, sizeof *p.results);
    if (y == NULL || p.results == NULL) {
        return NULL;
    }
    mb_node *node = mb_tape_append(tape, &linear_cross_entropy_op, y, (mb_tensor *[]){x, weight, bias}, 3);
    if (node != NULL) {
        mb_real beta;
        node->saved = p.dx = mb_tape_alloc(tape, (size_t)(p.n_rows * p.width), sizeof *p.dx);
        p.dweight = mb_tape_grad(tape, weight, &beta);
        p.dbias = mb_tape_grad(tape, bias, &beta);
    }
    if (mb_tape_status(tape) == MB_OK) {
        (x->dtype == MB_BF16 ? mb_lce_bf16 : chunks)(tape, &p);
    }
    if (mb_tape_status(tape) != MB_OK) {
        return NULL;
    }
    double sum = 0;
    int64_t correct = 0;
    for (int64_t i = 0; i < p.n_rows; i++) {
        sum += p.results[i].loss;
        correct += p.results[i].correct;
    }
    mb_tensor_real(y)[0] = (mb_real)(scale * sum);
    if (n_correct != NULL) {
        *n_correct = correct;
    }
    return mb_tape_end(tape, node, y);
}
