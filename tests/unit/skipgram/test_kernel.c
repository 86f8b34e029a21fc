#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "skipgram/pair_kernel.h"

enum { MAX_ROWS = 130, MAX_STRIDE = 320 };

/* Rows of random numbers in double and in float, padded with zeros. */
typedef struct problem {
    int n_in, n_out, width, stride;
    double in[MAX_ROWS][MAX_STRIDE], out[MAX_ROWS][MAX_STRIDE], label[MAX_ROWS];
    _Alignas(64) float in_rows[MAX_ROWS * MAX_STRIDE], out_rows[MAX_ROWS * MAX_STRIDE];
} problem;

static double random_number(uint32_t a, uint32_t b, uint32_t c) {
    const float uniform = mb_rng_uniform(mb_rng_at(3, MB_STREAM_TEST, a, b, c).v[0]);
    return (double)((uniform - 0.5f) * 0.9f);
}

static problem *problem_new(int n_in, int n_out, int width) {
    problem *p = aligned_alloc(64, (sizeof *p + 63) / 64 * 64);
    memset(p, 0, sizeof *p);
    p->n_in = n_in;
    p->n_out = n_out;
    p->width = width;
    p->stride = (width + MB_ROW_FLOATS - 1) / MB_ROW_FLOATS * MB_ROW_FLOATS;
    for (int i = 0; i < n_in; i++) {
        for (int d = 0; d < width; d++) {
            p->in_rows[i * p->stride + d] = (float)(p->in[i][d] = (double)(float)random_number(1, (uint32_t)i, (uint32_t)d));
        }
    }
    for (int o = 0; o < n_out; o++) {
        p->label[o] = o % 3 == 0;
        for (int d = 0; d < width; d++) {
            p->out_rows[o * p->stride + d] = (float)(p->out[o][d] = (double)(float)random_number(2, (uint32_t)o, (uint32_t)d));
        }
    }
    return p;
}

/* In place, or into zeroed sums of their own. */
static double run(problem *p, float alpha, float *in_sums, float *out_sums) {
    mb_pairs *pairs = aligned_alloc(64, (sizeof *pairs + 63) / 64 * 64);
    memset(pairs, 0x7F, sizeof *pairs); /* nothing may depend on what was there */
    pairs->n_in = p->n_in;
    pairs->n_out = p->n_out;
    for (int i = 0; i < p->n_in; i++) {
        pairs->in[i] = p->in_rows + i * p->stride;
        pairs->in_sum[i] = (in_sums ? in_sums : p->in_rows) + i * p->stride;
    }
    for (int o = 0; o < p->n_out; o++) {
        pairs->out[o] = p->out_rows + o * p->stride;
        pairs->out_sum[o] = (out_sums ? out_sums : p->out_rows) + o * p->stride;
        pairs->label[o] = (float)p->label[o];
    }
    mb_loss_sum loss = {.product = 1};
    mb_pairs_train(pairs, p->width, alpha, &loss);
    free(pairs);
    return mb_loss_sum_get(&loss);
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static double dot(const problem *p, int i, int o) {
    double sum = 0;
    for (int d = 0; d < p->width; d++) {
        sum += p->in[i][d] * p->out[o][d];
    }
    return sum;
}

static double loss_of(const problem *p) {
    double loss = 0;
    for (int i = 0; i < p->n_in; i++) {
        for (int o = 0; o < p->n_out; o++) {
            const double f = dot(p, i, o);
            loss -= log(sigmoid(p->label[o] > 0 ? f : -f));
        }
    }
    return loss;
}

/* Minus the derivative of the loss by one number, by central differences. */
static double slope(problem *p, double *number) {
    const double before = *number, h = 1e-5;
    *number = before + h;
    const double above = loss_of(p);
    *number = before - h;
    const double below = loss_of(p);
    *number = before;
    return (below - above) / (2 * h);
}

static void check_gradients(int n_in, int n_out, int width) {
    problem *p = problem_new(n_in, n_out, width);
    float *in_sums = aligned_alloc(64, sizeof p->in_rows), *out_sums = aligned_alloc(64, sizeof p->out_rows);
    memset(in_sums, 0, sizeof p->in_rows);
    memset(out_sums, 0, sizeof p->out_rows);
    const double loss = run(p, 1, in_sums, out_sums), true_loss = loss_of(p);
    cr_assert_float_eq(loss, true_loss, 2e-6 * true_loss, "%d x %d x %d: loss %.9g, true %.9g", n_in, n_out, width, loss,
                       true_loss);
    for (int row = 0; row < n_in + n_out; row++) {
        const bool is_in = row < n_in;
        const int r = is_in ? row : row - n_in;
        const float *sums = (is_in ? in_sums : out_sums) + r * p->stride;
        for (int d = 0; d < width; d++) {
            const double expected = slope(p, is_in ? &p->in[r][d] : &p->out[r][d]);
            cr_assert_float_eq((double)sums[d], expected, 4e-6 * (1 + fabs(expected)),
                               "%d x %d x %d, %s row %d, %d: %.9g, true %.9g", n_in, n_out, width, is_in ? "in" : "out", r, d,
                               (double)sums[d], expected);
        }
        for (int d = width; d < p->stride; d++) {
            cr_assert_eq(sums[d], 0.0f, "padding must stay zero");
        }
    }
    free(in_sums);
    free(out_sums);
    free(p);
}

Test(kernel, gradients_of_all_shapes_are_those_of_the_loss) {
    for (int n_in = 1; n_in <= 5; n_in++) {
        for (int n_out = 1; n_out <= 14; n_out++) {
            check_gradients(n_in, n_out, 10);
        }
    }
    static const int shapes[][3] = {{1, 6, 1},  {2, 6, 8},   {3, 7, 16},  {6, 6, 17},
                                    {7, 6, 33}, {10, 6, 50}, {1, 40, 24}, {MB_PAIRS_MAX_IN, MB_PAIRS_MAX_OUT, 3}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_gradients(shapes[i][0], shapes[i][1], shapes[i][2]);
    }
}

Test(kernel, training_in_place_adds_alpha_times_the_gradient) {
    static const int shapes[][3] = {{6, 6, 100}, {5, 9, 300}, {1, 6, 64}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        problem *p = problem_new(shapes[i][0], shapes[i][1], shapes[i][2]);
        const double alpha = 0.025;
        run(p, (float)alpha, NULL, NULL);
        for (int k = 0; k < p->n_in; k++) {
            for (int d = 0; d < p->width; d++) {
                double expected = p->in[k][d];
                for (int o = 0; o < p->n_out; o++) {
                    expected += alpha * (p->label[o] - sigmoid(dot(p, k, o))) * p->out[o][d];
                }
                cr_assert_float_eq((double)p->in_rows[k * p->stride + d], expected, 2e-7, "in %d, %d", k, d);
            }
        }
        for (int o = 0; o < p->n_out; o++) {
            for (int d = 0; d < p->width; d++) {
                double expected = p->out[o][d];
                for (int k = 0; k < p->n_in; k++) {
                    expected += alpha * (p->label[o] - sigmoid(dot(p, k, o))) * p->in[k][d];
                }
                cr_assert_float_eq((double)p->out_rows[o * p->stride + d], expected, 3e-7, "out %d, %d", o, d);
            }
        }
        free(p);
    }
}

Test(kernel, a_negative_given_twice_moves_twice) {
    _Alignas(64) float in[16] = {0.5f, -0.25f}, out[16] = {0.125f, 0.75f};
    mb_pairs *pairs = aligned_alloc(64, (sizeof *pairs + 63) / 64 * 64);
    pairs->n_in = 1;
    pairs->n_out = 2;
    pairs->in[0] = pairs->in_sum[0] = in;
    pairs->out[0] = pairs->out[1] = pairs->out_sum[0] = pairs->out_sum[1] = out;
    pairs->label[0] = pairs->label[1] = 0;
    mb_loss_sum loss = {.product = 1};
    mb_pairs_train(pairs, 2, 0.5f, &loss);
    const double s = sigmoid(0.5 * 0.125 - 0.25 * 0.75);
    cr_assert_float_eq((double)out[0], 0.125 - 2 * 0.5 * s * 0.5, 1e-7);
    cr_assert_float_eq((double)in[1], -0.25 - 2 * 0.5 * s * 0.75, 1e-7);
    free(pairs);
}

Test(kernel, the_loss_neither_underflows_nor_overflows) {
    _Alignas(64) float in[16] = {30}, out[16] = {2};
    mb_pairs *pairs = aligned_alloc(64, (sizeof *pairs + 63) / 64 * 64);
    pairs->n_in = MB_PAIRS_MAX_IN;
    pairs->n_out = 1;
    for (int i = 0; i < pairs->n_in; i++) {
        pairs->in[i] = pairs->in_sum[i] = in;
    }
    pairs->out[0] = pairs->out_sum[0] = out;
    pairs->label[0] = 0;
    mb_loss_sum loss = {.product = 1};
    for (int k = 0; k < 1000; k++) {
        mb_pairs_train(pairs, 1, 0, &loss);
    }
    const double expected = 128000 * -log(1e-9); /* a probability below 1e-9 counts as 1e-9 */
    cr_assert_float_eq(mb_loss_sum_get(&loss), expected, 1e-5 * expected);
    free(pairs);
}

/* --- "The cat sits on the mat.": centre "cat", positive "sits", negatives "the" and "mat" --- */

/* The same step written out pair by pair, as the article has it. Its negatives' factor is sigma(v_wi . v_wc). */
typedef struct article {
    double cat[4], context[3][4]; /* sits, the, mat */
    double loss;
} article;

static void article_step(article *a, double eta) {
    double cat_gradient[4] = {0}, context_gradient[3][4];
    a->loss = 0;
    for (int k = 0; k < 3; k++) {
        double f = 0;
        for (int d = 0; d < 4; d++) {
            f += a->cat[d] * a->context[k][d];
        }
        const double factor = k == 0 ? sigmoid(f) - 1 : sigmoid(f);
        a->loss -= k == 0 ? log(sigmoid(f)) : log(sigmoid(-f));
        for (int d = 0; d < 4; d++) {
            cat_gradient[d] += factor * a->context[k][d];
            context_gradient[k][d] = factor * a->cat[d];
        }
    }
    for (int d = 0; d < 4; d++) {
        a->cat[d] -= eta * cat_gradient[d];
        for (int k = 0; k < 3; k++) {
            a->context[k][d] -= eta * context_gradient[k][d];
        }
    }
}

Test(kernel, the_articles_worked_example) {
    article a = {.cat = {0.1, -0.2, 0.3, 0.4},
                 .context = {{0.2, 0.1, -0.3, 0.5}, {-0.4, 0.3, 0.2, 0.1}, {0.3, 0.6, -0.1, -0.2}}};
    _Alignas(64) float cat[16] = {0}, context[3][16] = {{0}};
    mb_pairs *pairs = aligned_alloc(64, (sizeof *pairs + 63) / 64 * 64);
    pairs->n_in = 1;
    pairs->n_out = 3;
    pairs->in[0] = pairs->in_sum[0] = cat;
    for (int d = 0; d < 4; d++) {
        cat[d] = (float)a.cat[d];
    }
    for (int k = 0; k < 3; k++) {
        for (int d = 0; d < 4; d++) {
            context[k][d] = (float)a.context[k][d];
        }
        pairs->out[k] = pairs->out_sum[k] = context[k];
        pairs->label[k] = k == 0;
    }
    for (int step = 0; step < 3; step++) {
        mb_loss_sum loss = {.product = 1};
        mb_pairs_train(pairs, 4, 0.1f, &loss);
        article_step(&a, 0.1);
        cr_assert_float_eq(mb_loss_sum_get(&loss), a.loss, 1e-6, "step %d: loss %.9f, by hand %.9f", step,
                           mb_loss_sum_get(&loss), a.loss);
        for (int d = 0; d < 4; d++) {
            cr_assert_float_eq((double)cat[d], a.cat[d], 1e-6);
            for (int k = 0; k < 3; k++) {
                cr_assert_float_eq((double)context[k][d], a.context[k][d], 1e-6);
            }
        }
    }
    free(pairs);
}
