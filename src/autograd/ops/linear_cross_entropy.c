#include "autograd/ops.h"

#include <string.h>

#include "autograd/ops/linear_cross_entropy.h"
#include "tensor/gemm_packed.h"
#include "tensor/rows.h"
#include "tensor/sums.h"
#include "tensor/vmath.h"

/* The masked-LM output layer: logits = x W^T + b over the whole vocabulary, then scale * sum of cross entropies.
 *
 * The logits of all rows would be the largest tensor of a training step by far. They are made for a chunk of rows at a time,
 * and since the derivative of a loss with respect to its logits needs nothing but themselves,
 *
 *   dlogits = scale (softmax(logits) - onehot(target))      dx = dlogits W      dW += dlogits^T x      db += sum dlogits
 *
 * are computed at once, while the chunk is there: forward does the work of backward too, and backward only hands dx on.
 *
 * What is computed is their transpose, logits^T = W x^T (V,M): W, which is large, is then the first factor of all products and
 * read where it lies, and a row of the vocabulary has its numbers of all tokens side by side, so that a softmax needs no sum
 * across a vector. logits^T lie in panels (tensor/gemm_packed.h), by slices of the vocabulary:
 *
 *   1. logits^T of a slice -> for each token their maximum and sum of exponentials; the exponentials stay
 *   2. these joined: log-sum-exp and loss of each token
 *   3. exponentials -> dlogits^T, in place -> the slice's rows of dW and db, and its part of dx^T = W^T dlogits^T
 *
 * The parts of dx^T are summed by groups of slices, then group by group: one order at any number of threads. */

/* The most tokens of a chunk, a multiple of any panel. The exponentials take 4 V CHUNK bytes; W is read, and dW read and
 * written, once a chunk: the head of a mini's step (644 tokens, Zen 4, 2 threads) takes 195 ms with 128 tokens, 186 with 192,
 * 169 with 352 and with 672. Rows of a slice: its logits and its part of W stay in the second-level cache. */
enum { CHUNK = 384, SLICE = 240, N_GROUPS = 16 };

typedef struct slice_token {
    mb_real max, sum; /* of the token's logits in the slice: max, and sum of exp(logit - max) */
} slice_token;

typedef struct chunk {
    const mb_lce_problem *problem;
    int64_t first, n, n_slices;
    mb_real *logits;       /* (V,n) in panels: logits, exponentials, dlogits */
    slice_token *slices;   /* (n_slices,CHUNK) */
    mb_real *target_logit; /* (CHUNK) */
    mb_real *log_sum;      /* (CHUNK) */
    mb_real *packed_x_t;   /* x^T (H,n) */
    mb_real *packed_x;     /* x (n,H) */
    mb_real *dx_parts;     /* (N_GROUPS,H,CHUNK) */
} chunk;

static const mb_real *chunk_x(const chunk *c) {
    return mb_tensor_real(c->problem->x) + c->first * c->problem->width;
}

static int64_t slice_rows(const chunk *c, int64_t row) {
    return c->problem->n_classes - row < SLICE ? c->problem->n_classes - row : SLICE;
}

/* --- 1 --- */

/* Of a panel of tokens. `logits`: rows of the vocabulary from `row` on, MB_PANEL numbers each. */
static void slice_statistics(const chunk *c, int64_t row, int64_t n_rows, mb_real *logits, slice_token *out) {
    const mb_real *bias = c->problem->bias == NULL ? NULL : c->problem->bias + row;
    mb_real max[MB_PANEL], sum[MB_PANEL] = {0};
    for (int64_t i = 0; i < n_rows; i++) {
        mb_real *restrict at = logits + i * MB_PANEL;
        const mb_real more = bias == NULL ? 0 : bias[i];
#pragma omp simd
        for (int j = 0; j < MB_PANEL; j++) {
            at[j] += more;
            max[j] = i == 0 || at[j] > max[j] ? at[j] : max[j];
        }
    }
    for (int64_t i = 0; i < n_rows; i++) {
        mb_real *restrict at = logits + i * MB_PANEL;
#pragma omp simd
        for (int j = 0; j < MB_PANEL; j++) {
            at[j] = mb_exp(at[j] - max[j]);
            sum[j] += at[j];
        }
    }
    for (int j = 0; j < MB_PANEL; j++) {
        out[j] = (slice_token){max[j], sum[j]};
    }
}

/* The logits of targets in the slice, before they become exponentials. */
static void take_target_logits(const chunk *c, int64_t row, int64_t n_rows) {
    const mb_lce_problem *p = c->problem;
    for (int64_t t = 0; t < c->n; t++) {
        const int64_t target = p->targets[c->first + t];
        if (target >= row && target < row + n_rows) {
            const mb_real logit = c->logits[(t / MB_PANEL * p->n_classes + target) * MB_PANEL + t % MB_PANEL];
            c->target_logit[t] = logit + (p->bias == NULL ? 0 : p->bias[target]);
        }
    }
}

static void make_exponentials(const chunk *c) {
    const mb_lce_problem *p = c->problem;
    const mb_real *w = mb_tensor_real(p->weight);
#pragma omp parallel for schedule(dynamic)
    for (int64_t slice = 0; slice < c->n_slices; slice++) {
        const int64_t row = slice * SLICE, n_rows = slice_rows(c, row);
        mb_real *logits = c->logits + row * MB_PANEL;
        mb_packed_gemm(n_rows, c->n, p->width, mb_left_rows(w + row * p->width, p->width), c->packed_x_t,
                       mb_to_panels(logits, p->n_classes));
        take_target_logits(c, row, n_rows);
        for (int64_t panel = 0; panel < mb_panels_of(c->n); panel++) {
            slice_statistics(c, row, n_rows, logits + panel * p->n_classes * MB_PANEL,
                             c->slices + slice * CHUNK + panel * MB_PANEL);
        }
    }
}

/* --- 2 --- */

static void join_slices(const chunk *c) {
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < c->n; t++) {
        mb_real max = c->slices[t].max;
        double sum = 0;
        for (int64_t s = 1; s < c->n_slices; s++) {
            const mb_real other = c->slices[s * CHUNK + t].max;
            max = other > max ? other : max;
        }
        for (int64_t s = 0; s < c->n_slices; s++) {
            const slice_token *part = &c->slices[s * CHUNK + t];
            sum += (double)part->sum * exp((double)(part->max - max));
        }
        const double log_sum = (double)max + log(sum);
        c->log_sum[t] = (mb_real)log_sum;
        c->problem->results[c->first + t] = (mb_lce_row){log_sum - (double)c->target_logit[t], c->target_logit[t] == max};
    }
}

/* --- 3 --- */

/* Of a panel of tokens; adds to db. */
static void slice_dlogits(const chunk *c, int64_t row, int64_t n_rows, int64_t panel, const slice_token *tokens) {
    const mb_lce_problem *p = c->problem;
    mb_real *logits = c->logits + (panel * p->n_classes + row) * MB_PANEL, factors[MB_PANEL] = {0};
    const int64_t first = panel * MB_PANEL, n = c->n - first < MB_PANEL ? c->n - first : MB_PANEL; /* beyond: 0 */
    for (int64_t j = 0; j < n; j++) {
        factors[j] = p->scale * mb_exp(tokens[j].max - c->log_sum[first + j]);
    }
    for (int64_t i = 0; i < n_rows; i++) {
        mb_real *restrict at = logits + i * MB_PANEL;
#pragma omp simd
        for (int j = 0; j < MB_PANEL; j++) {
            at[j] *= factors[j];
        }
        if (p->dbias != NULL) {
            p->dbias[row + i] += mb_sum(at, MB_PANEL);
        }
    }
    for (int64_t j = 0; j < n; j++) {
        const int64_t target = p->targets[c->first + first + j];
        if (target >= row && target < row + n_rows) {
            logits[(target - row) * MB_PANEL + j] -= p->scale;
            if (p->dbias != NULL) {
                p->dbias[target] -= p->scale;
            }
        }
    }
}

static void slice_gradients(const chunk *c, int64_t slice, mb_real *dx_part, bool first_of_group) {
    const mb_lce_problem *p = c->problem;
    const int64_t row = slice * SLICE, n_rows = slice_rows(c, row);
    const mb_real *w = mb_tensor_real(p->weight) + row * p->width;
    const mb_real *logits = c->logits + row * MB_PANEL;
    for (int64_t panel = 0; panel < mb_panels_of(c->n); panel++) {
        slice_dlogits(c, row, n_rows, panel, c->slices + slice * CHUNK + panel * MB_PANEL);
    }
    if (p->dweight != NULL) {
        mb_packed_gemm(n_rows, p->width, c->n, mb_left_panels(logits, p->n_classes), c->packed_x,
                       mb_to_rows(p->dweight + row * p->width, p->width, true));
    }
    mb_packed_gemm_part(p->width, c->n, n_rows, mb_left_transposed(w, p->width), logits, p->n_classes,
                        mb_to_rows(dx_part, CHUNK, !first_of_group));
}

static void make_gradients(const chunk *c) {
    const mb_lce_problem *p = c->problem;
    const int64_t count = p->width * CHUNK, in_group = (c->n_slices + N_GROUPS - 1) / N_GROUPS;
    const int64_t n_groups = (c->n_slices + in_group - 1) / in_group;
#pragma omp parallel for schedule(dynamic)
    for (int64_t group = 0; group < n_groups; group++) {
        const int64_t begin = group * in_group, end = begin + in_group < c->n_slices ? begin + in_group : c->n_slices;
        for (int64_t slice = begin; slice < end; slice++) {
            slice_gradients(c, slice, c->dx_parts + group * count, slice == begin);
        }
    }
#pragma omp parallel for schedule(static)
    for (int64_t j = 0; j < p->width; j++) {
        mb_real sums[CHUNK] = {0};
        for (int64_t group = 0; group < n_groups; group++) {
            const mb_real *restrict part = c->dx_parts + group * count + j * CHUNK;
#pragma omp simd
            for (int64_t t = 0; t < CHUNK; t++) {
                sums[t] += t < c->n ? part[t] : 0;
            }
        }
        for (int64_t t = 0; t < c->n; t++) {
            p->dx[(c->first + t) * p->width + j] = sums[t];
        }
    }
}

static bool allocate(mb_tape *tape, chunk *c) {
    const mb_lce_problem *p = c->problem;
    c->n_slices = (p->n_classes + SLICE - 1) / SLICE;
    c->logits =
        mb_tape_alloc(tape, (size_t)mb_packed_count(p->n_classes, p->n_rows < CHUNK ? p->n_rows : CHUNK), sizeof *c->logits);
    c->slices = mb_tape_alloc(tape, (size_t)(c->n_slices * CHUNK), sizeof *c->slices);
    c->target_logit = mb_tape_alloc(tape, CHUNK, sizeof *c->target_logit);
    c->log_sum = mb_tape_alloc(tape, CHUNK, sizeof *c->log_sum);
    c->packed_x_t = mb_tape_alloc(tape, (size_t)mb_packed_count(p->width, CHUNK), sizeof *c->packed_x_t);
    c->packed_x = mb_tape_alloc(tape, (size_t)mb_packed_count(CHUNK, p->width), sizeof *c->packed_x);
    c->dx_parts = p->dx == NULL ? NULL : mb_tape_alloc(tape, (size_t)(N_GROUPS * p->width * CHUNK), sizeof *c->dx_parts);
    return mb_tape_status(tape) == MB_OK;
}

/* Tokens of each chunk but the last: as few chunks as can be, all nearly as long. */
static int64_t chunk_length(int64_t n_rows) {
    const int64_t n_chunks = (n_rows + CHUNK - 1) / CHUNK, longest = n_chunks > 0 ? (n_rows + n_chunks - 1) / n_chunks : 0;
    return mb_panels_of(longest) * MB_PANEL;
}

/* The fp32 form; `dx` NULL: no gradients. */
static void chunks(mb_tape *tape, const mb_lce_problem *p) {
    const mb_arena_mark mark = mb_tape_scratch_mark(tape);
    chunk c = {.problem = p};
    if (!allocate(tape, &c)) {
        return;
    }
    const int64_t length = chunk_length(p->n_rows);
    for (c.first = 0; c.first < p->n_rows; c.first += length) {
        c.n = p->n_rows - c.first < length ? p->n_rows - c.first : length;
        mb_pack_parallel(true, p->width, c.n, chunk_x(&c), p->width, c.packed_x_t);
        make_exponentials(&c);
        join_slices(&c);
        if (c.dx_parts != NULL) {
            mb_pack_parallel(false, c.n, p->width, chunk_x(&c), p->width, c.packed_x);
            make_gradients(&c);
        }
    }
    mb_tape_scratch_drop(tape, mark);
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

mb_tensor *mb_linear_cross_entropy(mb_tape *tape, mb_tensor *x, mb_tensor *weight, mb_tensor *bias,
                                   const mb_class_sample *sample, const int32_t *targets, double scale, int64_t *n_correct) {
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
        void (*const compute)(mb_tape *, const mb_lce_problem *) = x->dtype == MB_BF16 ? mb_lce_bf16 : chunks;
        if (sample != NULL) {
            mb_lce_sampled(tape, &p, sample, compute);
        } else {
            compute(tape, &p);
        }
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
