#include <math.h>
#include <stdint.h>

#include "base/threads.h"
#include "model/params.h"
#include "support.h"

/* Sizes that leave gaps, a fused pair, and a large view for statistics. */
static mb_params make_params(void) {
    mb_params params = {0};
    mb_error error;
    const int64_t small[] = {3, 5}, vector[] = {7}, large[] = {500, 200};
    cr_assert_eq(mb_params_add(&params, "first", 2, small, MB_INIT_NORMAL, true, false), 0);
    cr_assert_eq(mb_params_add(&params, "ones", 1, vector, MB_INIT_ONE, false, false), 1);
    cr_assert_eq(mb_params_add(&params, "a", 2, small, MB_INIT_NORMAL, true, false), 2);
    cr_assert_eq(mb_params_add(&params, "b", 2, small, MB_INIT_NORMAL, true, true), 3);
    cr_assert_eq(mb_params_add(&params, "zeros", 1, vector, MB_INIT_ZERO, false, false), 4);
    cr_assert_eq(mb_params_add(&params, "large", 2, large, MB_INIT_NORMAL, true, false), 5);
    ASSERT_OK(mb_params_allocate(&params, true, &error), error);
    return params;
}

Test(params, views_are_aligned_and_fused_ones_adjoin) {
    mb_params params = make_params();
    for (size_t i = 0; i < params.n_views; i++) {
        const mb_param *view = &params.views[i];
        if (view->fused) {
            cr_expect_eq(view->offset, params.views[i - 1].offset + params.views[i - 1].count);
        } else {
            cr_expect_eq((uintptr_t)(params.weights + view->offset) % 64, 0, "%s", view->name);
            cr_expect_eq((uintptr_t)(params.grads + view->offset) % 64, 0, "%s", view->name);
        }
    }
    cr_expect_eq(mb_params_n_weights(&params), 15 + 7 + 15 + 15 + 7 + 100000);
    cr_expect_geq(params.count, mb_params_n_weights(&params));
    mb_params_free(&params);
}

Test(params, tensor_joins_fused_views) {
    mb_params params = make_params();
    const mb_tensor joined = mb_params_tensor(&params, 2, 2), plain = mb_params_tensor(&params, 1, 1);
    cr_expect_eq(joined.dims[0], 6);
    cr_expect_eq(joined.dims[1], 5);
    cr_expect(joined.data == params.weights + params.views[2].offset && joined.grad == params.grads + params.views[2].offset);
    cr_expect(joined.is_parameter && joined.needs_grad);
    cr_expect_eq(plain.n_dims, 1);
    cr_expect_eq(plain.dims[0], 7);
    mb_params_free(&params);
}

Test(params, sinusoids_have_the_deviation_asked_for_and_neighbours_alike) {
    mb_params params = {0};
    mb_error error;
    enum { ROWS = 128, WIDTH = 64 };
    cr_assert_eq(mb_params_add(&params, "positions", 2, (int64_t[]){ROWS, WIDTH}, MB_INIT_SINUSOID, true, false), 0);
    ASSERT_OK(mb_params_allocate(&params, false, &error), error);
    mb_params_initialize(&params, 1, 0.02);
    const mb_real *w = params.weights;
    double squares = 0, near = 0, far = 0;
    for (int i = 0; i < ROWS * WIDTH; i++) {
        squares += (double)w[i] * (double)w[i];
    }
    for (int j = 0; j < WIDTH; j++) {
        near += (double)w[10 * WIDTH + j] * (double)w[11 * WIDTH + j];
        far += (double)w[10 * WIDTH + j] * (double)w[90 * WIDTH + j];
    }
    cr_expect(fabs(sqrt(squares / (ROWS * WIDTH)) / 0.02 - 1) < 1e-3);
    cr_expect(near > 0.9 * WIDTH * 0.0004 && far < 0.7 * near);
    mb_params_free(&params);
}

Test(params, find) {
    mb_params params = make_params();
    cr_expect_eq(mb_params_find(&params, "zeros"), 4);
    cr_expect_eq(mb_params_find(&params, "zero"), -1);
    mb_params_free(&params);
}

Test(params, a_product_of_sizes_that_overflows_is_refused) {
    mb_params params = {0};
    const int64_t dims[] = {INT64_MAX / 2, 3};
    cr_expect_eq(mb_params_add(&params, "huge", 2, dims, MB_INIT_ZERO, true, false), -1);
    mb_params_free(&params);
}

Test(params, more_than_memory_is_an_error) {
    mb_params params = {0};
    mb_error error;
    const int64_t dims[] = {INT64_MAX / 2}; /* as bytes beyond what a size_t counts */
    cr_assert_eq(mb_params_add(&params, "huge", 1, dims, MB_INIT_ZERO, true, false), 0);
    cr_expect_eq(mb_params_allocate(&params, true, &error), MB_ERROR_MEMORY);
    mb_params_free(&params);
}

/* A standard normal truncated at 2 has variance 1 - 4 phi(2) / (2 Phi(2) - 1) = 0.7737. */
Test(params, initial_weights_are_a_truncated_normal) {
    mb_params params = make_params();
    mb_params_initialize(&params, 42, 0.02);
    const mb_real *large = params.weights + params.views[5].offset;
    double sum = 0, squares = 0;
    int64_t beyond_one = 0;
    for (int64_t i = 0; i < 100000; i++) {
        const double z = (double)large[i] / 0.02;
        cr_assert(fabs(z) <= 2.0001);
        sum += z;
        squares += z * z;
        beyond_one += fabs(z) > 1;
    }
    cr_expect_float_eq(sum / 1e5, 0, 0.01); /* 3.5 standard errors */
    cr_expect_float_eq(squares / 1e5, 0.7737, 0.01);
    cr_expect_float_eq((double)beyond_one / 1e5, (0.3173 - 0.0455) / (1 - 0.0455), 0.006);
    cr_expect_eq(params.weights[params.views[1].offset + 6], 1);
    cr_expect_eq(params.weights[params.views[4].offset + 6], 0);
    mb_params_free(&params);
}

Test(params, initial_weights_depend_on_the_seed_and_not_on_the_threads) {
    mb_params one = make_params(), two = make_params(), other = make_params();
    mb_threads_set(1);
    mb_params_initialize(&one, 42, 0.02);
    mb_threads_set(3);
    mb_params_initialize(&two, 42, 0.02);
    mb_params_initialize(&other, 43, 0.02);
    cr_expect_eq(memcmp(one.weights, two.weights, (size_t)one.count * sizeof *one.weights), 0);
    cr_expect_neq(memcmp(one.weights, other.weights, (size_t)one.count * sizeof *one.weights), 0);
    cr_expect_neq(memcmp(one.weights + one.views[2].offset, one.weights + one.views[3].offset, 15 * sizeof *one.weights), 0,
                  "two views drew the same numbers");
    mb_params_free(&one);
    mb_params_free(&two);
    mb_params_free(&other);
}
