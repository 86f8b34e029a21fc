#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/threads.h"
#include "train/optimizer.h"

static const mb_optimizer_options options = {.beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-6, .weight_decay = 0.1};

/* A matrix of `rows` x 3 with decay and a bias of 3 without: between them lies an alignment gap. */
static mb_params make_params(int64_t rows) {
    mb_params params = {0};
    mb_error error;
    const int64_t matrix[] = {rows, 3}, bias[] = {3};
    cr_assert_eq(mb_params_add(&params, "weight", 2, matrix, MB_INIT_NORMAL, true, false), 0);
    cr_assert_eq(mb_params_add(&params, "bias", 1, bias, MB_INIT_ZERO, false, false), 1);
    cr_assert_eq(mb_params_allocate(&params, true, &error), MB_OK, "%s", error.message);
    mb_params_initialize(&params, 1, 0.02);
    return params;
}

/* Different numbers each step, zero in the gaps. */
static void fill_grads(mb_params *params, uint32_t step) {
    for (size_t v = 0; v < params->n_views; v++) {
        for (int64_t i = 0; i < params->views[v].count; i++) {
            float normal[2];
            mb_rng_block random = mb_rng_at(9, MB_STREAM_TEST, step, (uint32_t)v, (uint32_t)i);
            mb_rng_normal2(random.v[0], random.v[1], normal);
            params->grads[params->views[v].offset + i] = normal[0];
        }
    }
}

/* Two steps of one number by hand. lr 0.1, gradients 2 and -1 scaled by 0.5 to 1 and -0.5:
 *   step 1: m = 0.1, v = 0.01, m/(1-0.9) = 1, v/(1-0.99) = 1, so w = 1 - 0.1 / (1 + 1e-6)            (bias)
 *           with decay, w = 1 (1 - 0.1 * 0.1) - the same
 *   step 2: m = 0.09 - 0.05 = 0.04, v = 0.0099 + 0.0025 = 0.0124, m/(1-0.81) = 0.2105..., v/(1-0.9801) = 0.6231... */
Test(optimizer, two_steps_by_hand) {
    mb_params params = make_params(2);
    mb_optimizer optimizer;
    mb_error error;
    cr_assert_eq(mb_optimizer_init(&optimizer, &params, &options, &error), MB_OK, "%s", error.message);
    const int64_t matrix = params.views[0].offset, bias = params.views[1].offset;
    params.weights[matrix] = params.weights[bias] = 1;

    params.grads[matrix] = params.grads[bias] = 2;
    mb_optimizer_update(&optimizer, &params, 0.1, 0.5);
    double step1 = 0.1 / (1 + 1e-6);
    cr_assert_float_eq(params.weights[bias], 1 - step1, 1e-6);
    cr_assert_float_eq(params.weights[matrix], 0.99 - step1, 1e-6);
    cr_assert_eq(params.grads[matrix], 0);
    cr_assert_eq(params.grads[bias], 0);

    params.grads[matrix] = params.grads[bias] = -1;
    mb_optimizer_update(&optimizer, &params, 0.1, 0.5);
    double step2 = 0.1 * (0.04 / 0.19) / (sqrt(0.0124 / 0.0199) + 1e-6);
    cr_assert_float_eq(params.weights[bias], 1 - step1 - step2, 1e-6);
    cr_assert_float_eq(params.weights[matrix], (0.99 - step1) * 0.99 - step2, 1e-6);
    cr_assert_eq(optimizer.step, 2);
    mb_optimizer_free(&optimizer);
    mb_params_free(&params);
}

/* With Muon a row of the word embeddings has one second moment. lr 0.1, two steps of a row of 3, gradients scaled by 0.5 to
 * (1, -2, 2) and (0, 3, 0), mean squares 3 and 3:
 *   step 1: m = (0.1, -0.2, 0.2), v = 0.03;   w = 0.99 w - 0.1 (1, -2, 2) / sqrt(3)
 *   step 2: m = (0.09, 0.12, 0.18), v = 0.0297 + 0.03;   m / 0.19, v / 0.0199 = 3
 * A row without gradients only decays. Rows that are wider than a segment, and a number of them that is no multiple of one. */
Test(optimizer, word_embeddings_have_one_second_moment_a_row) {
    const int64_t widths[] = {3, 16384 + 3}, n_rows = 12345;
    for (int w = 0; w < 2; w++) {
        const int64_t width = widths[w], rows = w == 0 ? n_rows : 3, dims[] = {rows, width}, last = (rows - 1) * width;
        const double gradients[2][3] = {{2, -4, 4}, {0, 6, 0}}, m1[] = {0.1, -0.2, 0.2}, m2[] = {0.09, 0.12, 0.18};
        mb_params params = {0};
        mb_optimizer optimizer;
        mb_error error;
        mb_optimizer_options o = options;
        o.kind = MB_OPTIMIZER_MUON;
        cr_assert_eq(mb_params_add(&params, "words", 2, dims, MB_INIT_NORMAL, true, false), 0);
        cr_assert_eq(mb_params_allocate(&params, true, &error), MB_OK, "%s", error.message);
        params.views[0].rows_are_pieces = true;
        cr_assert_eq(mb_optimizer_init(&optimizer, &params, &o, &error), MB_OK, "%s", error.message);
        cr_assert_eq(mb_optimizer_moment2_count(&optimizer, &params.views[0]), rows);
        for (int64_t i = 0; i < params.views[0].count; i++) {
            params.weights[i] = 1;
        }
        const double sizes[] = {3, 3 * 3.0 / (double)width}; /* the mean squares: the rest of a wide row is 0 */
        for (int step = 0; step < 2; step++) {
            for (int64_t i = 0; i < width; i++) { /* threes: in the last row, from its beginning on */
                params.grads[last + i] = i < 3 ? (mb_real)gradients[step][i] : 0;
            }
            mb_optimizer_update(&optimizer, &params, 0.1, 0.5);
        }
        for (int i = 0; i < 3; i++) {
            const double root = sqrt(sizes[w]) + 1e-6;
            const double after1 = 0.99 - 0.1 * m1[i] / 0.1 / root, after2 = 0.99 * after1 - 0.1 * m2[i] / 0.19 / root;
            cr_assert_float_eq(params.weights[last + i], after2, 1e-4 * fabs(after2 - 1), "%g, not %g",
                               (double)params.weights[last + i], after2);
            cr_assert_eq(params.grads[last + i], 0);
        }
        for (int64_t i = 0; i < last; i++) {
            cr_assert_float_eq(params.weights[i], 0.99 * 0.99, 1e-6, "element %ld", (long)i);
        }
        for (int64_t i = 0; i < params.count; i++) {
            cr_assert_eq(optimizer.moment2[i] != 0, i == rows - 1);
        }
        mb_optimizer_free(&optimizer);
        mb_params_free(&params);
    }
}

/* A view at a quarter of the rate goes a quarter of the way, decay included, whoever updates it. */
static void check_rate(mb_optimizer_kind kind, bool by_rows) {
    enum { N = 2 };
    double moved[N];
    for (int quarter = 0; quarter < N; quarter++) {
        mb_params params = make_params(40);
        mb_optimizer optimizer;
        mb_error error;
        mb_optimizer_options o = options;
        o.kind = kind;
        o.momentum = 0.95;
        o.muon_rate = 1;
        params.views[0].n_matrices = kind == MB_OPTIMIZER_MUON;
        params.views[0].rate = quarter ? 0.25 : 1;
        cr_assert_eq(mb_optimizer_init(&optimizer, &params, &o, &error), MB_OK, "%s", error.message);
        if (by_rows) {
            cr_assert_eq(mb_optimizer_update_rows(&optimizer, &params, 0, &error), MB_OK, "%s", error.message);
        }
        const int32_t row = 7;
        const int64_t at = params.views[0].offset + row * 3;
        const double before = (double)params.weights[at];
        mb_optimizer_touch(&optimizer, &params, &row, 1);
        for (int64_t i = 0; i < 3; i++) {
            params.grads[at + i] = (mb_real)(1 + i);
        }
        mb_optimizer_update(&optimizer, &params, 0.1, 1);
        moved[quarter] = (double)params.weights[at] - before;
        mb_optimizer_free(&optimizer);
        mb_params_free(&params);
    }
    cr_expect(moved[0] < -1e-3 && fabs(moved[1] / moved[0] - 0.25) < 1e-4, "%g of %g", moved[1], moved[0]);
}

Test(optimizer, a_view_has_its_own_share_of_the_rate) {
    check_rate(MB_OPTIMIZER_ADAMW, false);
    check_rate(MB_OPTIMIZER_ADAMW, true);
    check_rate(MB_OPTIMIZER_MUON, false);
}

Test(optimizer, every_element_moves_and_gaps_stay_zero) {
    mb_params params = make_params(12345); /* more than one segment, not a multiple of one */
    mb_optimizer optimizer;
    mb_error error;
    cr_assert_eq(mb_optimizer_init(&optimizer, &params, &options, &error), MB_OK, "%s", error.message);
    mb_real *before = malloc((size_t)params.count * sizeof *before);
    bool *in_view = calloc((size_t)params.count, sizeof *in_view);
    memcpy(before, params.weights, (size_t)params.count * sizeof *before);
    fill_grads(&params, 0);
    mb_optimizer_update(&optimizer, &params, 0.01, 1);
    for (size_t v = 0; v < params.n_views; v++) {
        for (int64_t i = params.views[v].offset; i < params.views[v].offset + params.views[v].count; i++) {
            in_view[i] = true;
            cr_assert_neq(params.weights[i], before[i], "element %ld of '%s' was left out", (long)i, params.views[v].name);
        }
    }
    int64_t n_gaps = 0;
    for (int64_t i = 0; i < params.count; i++) {
        if (!in_view[i]) {
            n_gaps++;
            cr_assert_eq(params.weights[i], 0);
            cr_assert_eq(optimizer.moment2[i], 0);
        }
    }
    cr_assert_gt(n_gaps, 0);
    free(before);
    free(in_view);
    mb_optimizer_free(&optimizer);
    mb_params_free(&params);
}

Test(optimizer, frozen_views_stay_as_they_are) {
    mb_params params = make_params(100);
    mb_optimizer optimizer;
    mb_error error;
    cr_assert_eq(mb_optimizer_init(&optimizer, &params, &options, &error), MB_OK, "%s", error.message);
    params.views[0].frozen = true;
    mb_real *before = malloc(300 * sizeof *before);
    memcpy(before, params.weights, 300 * sizeof *before);
    fill_grads(&params, 0);
    mb_optimizer_update(&optimizer, &params, 0.01, 1);
    cr_assert(memcmp(before, params.weights, 300 * sizeof *before) == 0, "weight decay reached a frozen view");
    cr_assert_eq(params.grads[0], 0);
    cr_assert_neq(params.weights[params.views[1].offset], 0);
    free(before);
    mb_optimizer_free(&optimizer);
    mb_params_free(&params);
}

Test(optimizer, gradient_norm_is_the_root_of_all_squares) {
    mb_params params = make_params(5000);
    fill_grads(&params, 3);
    long double squares = 0;
    for (int64_t i = 0; i < params.count; i++) {
        squares += (long double)params.grads[i] * (long double)params.grads[i];
    }
    double norm = (double)sqrtl(squares);
    cr_assert(fabs(mb_params_grad_norm(&params) - norm) < 1e-12 * norm);
    params.grads[params.count - 1 - (params.count - params.views[1].offset - 3)] = NAN;
    cr_assert(isnan(mb_params_grad_norm(&params)));
    mb_params_free(&params);
}

Test(optimizer, clip_factor) {
    cr_assert_float_eq(mb_clip_factor(4, 1), 1 / (4 + 1e-6), 1e-15);
    cr_assert_eq(mb_clip_factor(0.5, 1), 1);
    cr_assert_eq(mb_clip_factor(0, 1), 1);
    cr_assert_eq(mb_clip_factor(1000, 0), 1);
}

/* Norm and weights after three steps, at a given number of threads. */
static double run_at(int n_threads, mb_params *params) {
    mb_optimizer optimizer;
    mb_error error;
    double norm = 0;
    mb_threads_set(n_threads);
    *params = make_params(40000);
    cr_assert_eq(mb_optimizer_init(&optimizer, params, &options, &error), MB_OK, "%s", error.message);
    for (uint32_t step = 0; step < 3; step++) {
        fill_grads(params, step);
        norm = mb_params_grad_norm(params);
        mb_optimizer_update(&optimizer, params, 0.01, mb_clip_factor(norm, 1));
    }
    mb_optimizer_free(&optimizer);
    return norm;
}

Test(optimizer, does_not_depend_on_the_number_of_threads) {
    mb_params one, three;
    double norm_one = run_at(1, &one), norm_three = run_at(3, &three);
    cr_assert_eq(norm_one, norm_three);
    cr_assert(memcmp(one.weights, three.weights, (size_t)one.count * sizeof *one.weights) == 0);
    mb_params_free(&one);
    mb_params_free(&three);
}
