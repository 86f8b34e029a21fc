/* The masked-LM output layer on more rows than a chunk and more classes than a slice, over all classes and over a sample, fp32
 * and bf16, against sums in double. */
#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/ops.h"
#include "base/rng.h"
#include "tensor/bf16.h"

enum { WIDTH = 40, N_CLASSES = 700 };

static mb_real *random_reals(int64_t n, uint32_t which, mb_real scale) {
    mb_real *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++) { /* which bf16 holds exactly */
        const float u = (float)mb_rng_uniform(mb_rng_at(2, MB_STREAM_TEST, which, (uint32_t)i, 0).v[0]) - 0.5f;
        x[i] = (mb_real)mb_bf16_to_float(mb_bf16_from_float(u * (float)scale));
    }
    return x;
}

static mb_tensor parameter(mb_real *data, int64_t rows, int64_t columns) {
    mb_tensor t = {.dtype = MB_F32,
                   .n_dims = columns > 0 ? 2 : 1,
                   .dims = {rows, columns},
                   .data = data,
                   .needs_grad = true,
                   .is_parameter = true};
    t.grad = calloc((size_t)(rows * (columns > 0 ? columns : 1)), sizeof(mb_real));
    return t;
}

typedef struct expected {
    double loss, *dx, *dweight, *dbias;
    int64_t n_correct;
} expected;

/* A class that is not in the sample has the log weight -infinity. */
static expected reference(const mb_real *x, const mb_real *w, const mb_real *bias, const double *log_weights,
                          const int32_t *targets, int64_t n_rows, double scale) {
    expected e = {.dx = calloc((size_t)(n_rows * WIDTH), sizeof(double)),
                  .dweight = calloc(N_CLASSES * WIDTH, sizeof(double)),
                  .dbias = calloc(N_CLASSES, sizeof(double))};
    double logits[N_CLASSES];
    for (int64_t i = 0; i < n_rows; i++) {
        double max = -INFINITY, sum = 0;
        for (int64_t v = 0; v < N_CLASSES; v++) {
            logits[v] = (double)bias[v] + log_weights[v];
            for (int64_t j = 0; j < WIDTH; j++) {
                logits[v] += (double)x[i * WIDTH + j] * (double)w[v * WIDTH + j];
            }
            max = fmax(max, logits[v]);
        }
        for (int64_t v = 0; v < N_CLASSES; v++) {
            sum += exp(logits[v] - max);
        }
        e.loss += scale * (max + log(sum) - logits[targets[i]]);
        e.n_correct += logits[targets[i]] == max;
        for (int64_t v = 0; v < N_CLASSES; v++) {
            const double d = scale * (exp(logits[v] - max) / sum - (v == targets[i]));
            e.dbias[v] += d;
            for (int64_t j = 0; j < WIDTH; j++) {
                e.dx[i * WIDTH + j] += d * (double)w[v * WIDTH + j];
                e.dweight[v * WIDTH + j] += d * (double)x[i * WIDTH + j];
            }
        }
    }
    return e;
}

/* |a - b| / |b| */
static double distance(const mb_real *a, const double *b, int64_t n) {
    double off = 0, length = 0;
    for (int64_t i = 0; i < n; i++) {
        off += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        length += b[i] * b[i];
    }
    return sqrt(off / length);
}

/* `sampled`: over a third of the classes and the targets, of which every other one counts twice. `far`: how far one class is
 * above all others. */
static void check(int64_t n_rows, bool bf16, bool sampled, mb_real far, double tolerance) {
    mb_real *x = random_reals(n_rows * WIDTH, 1, 4), *w = random_reals(N_CLASSES * WIDTH, 2, 4),
            *bias = random_reals(N_CLASSES, 3, 2);
    int32_t *targets = malloc((size_t)n_rows * sizeof *targets);
    for (int64_t i = 0; i < n_rows; i++) {
        targets[i] = (int32_t)((i * 389 + 17) % N_CLASSES);
    }
    bias[300] += far; /* a class that is in the sample */
    double log_weights[N_CLASSES];
    mb_real sample_weights[N_CLASSES];
    int32_t classes[N_CLASSES], places[N_CLASSES];
    mb_class_sample sample = {.classes = classes, .log_weights = sample_weights, .places = places};
    for (int32_t v = 0; v < N_CLASSES; v++) {
        bool there = !sampled || v % 3 == 0;
        for (int64_t i = 0; i < n_rows; i++) {
            there |= targets[i] == v;
        }
        places[v] = -1; /* nobody may ask */
        log_weights[v] = there ? (sampled && v % 2 == 0 ? log(2) : 0) : -INFINITY;
        if (there) {
            places[v] = (int32_t)sample.n;
            sample_weights[sample.n] = (mb_real)log_weights[v];
            classes[sample.n++] = v;
        }
    }
    const double scale = 1.0 / (double)n_rows;
    const expected e = reference(x, w, bias, log_weights, targets, n_rows, scale);
    mb_tape *tape = mb_tape_new(true);
    mb_tape_begin(tape, 0, 0);
    mb_tape_set_dtype(tape, bf16 ? MB_BF16 : MB_F32);
    mb_tensor weight = parameter(w, N_CLASSES, WIDTH), b = parameter(bias, N_CLASSES, 0);
    mb_tensor *in = mb_tape_tensor(tape, 2, (int64_t[]){n_rows, WIDTH});
    cr_assert_not_null(in);
    in->needs_grad = in->is_parameter = true; /* so that its gradient stays */
    in->grad = calloc((size_t)(n_rows * WIDTH), sizeof(mb_real));
    if (bf16) {
        for (int64_t i = 0; i < n_rows * WIDTH; i++) {
            ((mb_bf16 *)in->data)[i] = mb_bf16_from_float((float)x[i]);
        }
    } else {
        memcpy(in->data, x, (size_t)(n_rows * WIDTH) * sizeof *x);
    }
    int64_t n_correct = -1;
    mb_tensor *loss = mb_linear_cross_entropy(tape, in, &weight, &b, sampled ? &sample : NULL, targets, scale, &n_correct);
    cr_assert_not_null(loss);
    cr_assert_eq(mb_tape_backward(tape, loss), MB_OK);
    mb_real *dx = malloc((size_t)(n_rows * WIDTH) * sizeof *dx);
    if (bf16) {
        mb_bf16_read(in->grad, n_rows * WIDTH, dx);
    } else {
        memcpy(dx, in->grad, (size_t)(n_rows * WIDTH) * sizeof *dx);
    }
    cr_expect(fabs((double)mb_tensor_real(loss)[0] / e.loss - 1) < 1e-5, "%ld rows: loss %f, not %f", (long)n_rows,
              (double)mb_tensor_real(loss)[0], e.loss);
    cr_expect_eq(n_correct, e.n_correct);
    cr_expect_lt(distance(dx, e.dx, n_rows * WIDTH), tolerance, "%ld rows, bf16 %d: dx is off by %g", (long)n_rows, bf16,
                 distance(dx, e.dx, n_rows * WIDTH));
    cr_expect_lt(distance(weight.grad, e.dweight, N_CLASSES * WIDTH), tolerance, "%ld rows, bf16 %d: dW", (long)n_rows, bf16);
    cr_expect_lt(distance(b.grad, e.dbias, N_CLASSES), tolerance, "%ld rows, bf16 %d: db", (long)n_rows, bf16);
    mb_real *owned[] = {x, w, bias, dx, weight.grad, b.grad, in->grad};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
        free(owned[i]);
    }
    free(targets);
    free(e.dx);
    free(e.dweight);
    free(e.dbias);
    mb_tape_free(tape);
}

Test(linear_cross_entropy, of_many_rows_and_classes) {
    omp_set_num_threads(3);
    check(900, false, false, 0, 1e-5); /* three chunks in fp32, the last one no multiple of a panel */
    check(300, false, false, 0, 1e-5);
    check(9, false, false, 0, 1e-5);
    check(900, true, false, 0, 1e-2); /* two in bf16 */
    check(40, true, false, 0, 1e-2);
}

Test(linear_cross_entropy, of_a_sample_of_the_classes) {
    omp_set_num_threads(3);
    check(400, false, true, 0, 1e-5); /* two chunks */
    check(130, false, true, 0, 1e-5);
    check(9, false, true, 0, 1e-5);
    check(130, true, true, 0, 1e-2);
    check(40, true, true, 0, 1e-2);
}

/* exp(logit - the target's) is beyond fp32 in every row. */
Test(linear_cross_entropy, of_a_class_far_above_the_target) {
    omp_set_num_threads(3);
    check(300, false, false, 300, 1e-5);
    check(300, true, false, 300, 1e-2);
    check(130, true, true, 300, 1e-2);
}
