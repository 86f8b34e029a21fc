#include "autograd/ops.h"

#include <string.h>

#include "tensor/gemm.h"
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

typedef struct row_result {
    double loss;
    bool correct;
} row_result;

/* Loss of one row; its logits become scale * (softmax - onehot). */
static row_result loss_row(mb_real *restrict logits, int64_t n, int32_t target, mb_real scale) {
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
    return (row_result){log((double)sum) - (double)(target_logit - max), target_logit == max};
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
    MB_SHAPE_CHECK(node->output->grad[0] == 1, "linear_cross_entropy", node->output, node->output);
    const mb_real *saved = node->saved; /* (M,H) dx */
    mb_tensor *x = node->inputs[0];
    mb_real beta;
    mb_real *dx = mb_tape_grad(tape, x, &beta);
    for (int64_t i = 0, n = mb_tensor_count(x); dx != NULL && i < n; i++) {
        dx[i] = (beta == 0 ? 0 : dx[i]) + saved[i];
    }
}

static const mb_op linear_cross_entropy_op = {"linear_cross_entropy", linear_cross_entropy_backward};

mb_tensor *mb_linear_cross_entropy(mb_tape *tape, mb_tensor *x, mb_tensor *weight, mb_tensor *bias, const int32_t *targets,
                                   double scale, int64_t *n_correct) {
    if (mb_tape_status(tape) != MB_OK) {
        return NULL;
    }
    const int64_t n_rows = x->dims[0], width = x->dims[1], n_classes = weight->dims[0];
    MB_SHAPE_CHECK(weight->dims[1] == width, "linear_cross_entropy", x, weight);
    MB_SHAPE_CHECK(bias == NULL || bias->dims[0] == n_classes, "linear_cross_entropy", weight, bias);
    MB_SHAPE_CHECK(!weight->needs_grad || (weight->is_parameter && (bias == NULL || bias->is_parameter)),
                   "linear_cross_entropy", weight, bias);
    int64_t chunk = CHUNK_LOGITS / n_classes < MIN_CHUNK_ROWS ? MIN_CHUNK_ROWS : CHUNK_LOGITS / n_classes;
    chunk = chunk < n_rows ? chunk : n_rows;
    mb_tensor *y = mb_tape_tensor(tape, 1, (int64_t[]){1});
    mb_real *logits = mb_tape_alloc(tape, (size_t)(chunk * n_classes), sizeof *logits);
    row_result *results = mb_tape_alloc(tape, (size_t)n_rows, sizeof *results);
    if (y == NULL || logits == NULL || results == NULL) {
        return NULL;
    }
    mb_node *node = mb_tape_append(tape, &linear_cross_entropy_op, y, (mb_tensor *[]){x, weight, bias}, 3);
    mb_real *dx = NULL, *dweight = NULL, *dbias = NULL, beta;
    if (node != NULL) {
        node->saved = dx = mb_tape_alloc(tape, (size_t)(n_rows * width), sizeof *dx);
        if (dx == NULL) {
            return NULL;
        }
        dweight = mb_tape_grad(tape, weight, &beta);
        dbias = mb_tape_grad(tape, bias, &beta);
    }
    const mb_real *w = mb_tensor_real(weight);
    for (int64_t first = 0; first < n_rows; first += chunk) {
        const int64_t n = n_rows - first < chunk ? n_rows - first : chunk;
        const mb_real *in = mb_tensor_real(x) + first * width;
        mb_gemm_parallel(false, true, n, n_classes, width, 1, in, width, w, width, 0, logits, n_classes,
                         bias == NULL ? NULL : mb_tensor_real(bias), NULL, NULL);
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < n; i++) {
            results[first + i] = loss_row(logits + i * n_classes, n_classes, targets[first + i], (mb_real)scale);
        }
        if (dx != NULL) {
            mb_gemm_parallel(false, false, n, width, n_classes, 1, logits, n_classes, w, width, 0, dx + first * width, width,
                             NULL, NULL, NULL);
        }
        if (dweight != NULL) {
            mb_gemm_parallel(true, false, n_classes, width, n, 1, logits, n_classes, in, width, 1, dweight, width, NULL, NULL,
                             NULL);
        }
        if (dbias != NULL) {
            add_column_sums(logits, n, n_classes, dbias);
        }
    }
    double sum = 0;
    int64_t correct = 0;
    for (int64_t i = 0; i < n_rows; i++) {
        sum += results[i].loss;
        correct += results[i].correct;
    }
    mb_tensor_real(y)[0] = (mb_real)(scale * sum);
    if (n_correct != NULL) {
        *n_correct = correct;
    }
    return y;
}
