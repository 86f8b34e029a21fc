/* Updates of a few rows of a table against updates of all of it: to the bit. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/threads.h"
#include "train/optimizer.h"

enum { N_ROWS = 300, MAX_TOUCHED = 60 };

typedef struct twin {
    mb_params params;
    mb_optimizer optimizer;
} twin;

/* A matrix of odd width before the table, so that the table does not begin where a block of the norm does, and a bias behind.
 */
static twin make_twin(int64_t width, double weight_decay) {
    twin t = {0};
    mb_error error;
    const int64_t matrix[] = {11, 13}, table[] = {N_ROWS, width}, bias[] = {width};
    const mb_optimizer_options options = {.beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-6, .weight_decay = weight_decay};
    cr_assert_eq(mb_params_add(&t.params, "matrix", 2, matrix, MB_INIT_NORMAL, true, false), 0);
    cr_assert_eq(mb_params_add(&t.params, "table", 2, table, MB_INIT_NORMAL, true, false), 1);
    cr_assert_eq(mb_params_add(&t.params, "bias", 1, bias, MB_INIT_ONE, false, false), 2);
    cr_assert_eq(mb_params_allocate(&t.params, true, &error), MB_OK, "%s", error.message);
    mb_params_initialize(&t.params, 1, 0.02);
    cr_assert_eq(mb_optimizer_init(&t.optimizer, &t.params, &options, &error), MB_OK, "%s", error.message);
    return t;
}

static void free_twin(twin *t) {
    mb_optimizer_free(&t->optimizer);
    mb_params_free(&t->params);
}

static uint32_t draw(uint32_t step, uint32_t what, uint32_t i) {
    return mb_rng_at(5, MB_STREAM_TEST, step, what, i).v[0];
}

/* Few rows in most steps, none in some, words of the first rows often and others seldom. */
static int64_t draw_rows(uint32_t step, int32_t rows[MAX_TOUCHED]) {
    const int64_t n = step % 9 == 4 ? 0 : 1 + draw(step, 0, 0) % (MAX_TOUCHED - 1);
    for (int64_t i = 0; i < n; i++) {
        const uint32_t r = draw(step, 1, (uint32_t)i);
        rows[i] = (int32_t)(r % 3 != 0 ? r / 3 % 20 : r / 3 % (N_ROWS - 50)); /* the last 50 never; some twice */
    }
    return n;
}

static void add_gradients(mb_params *params, uint32_t step, const int32_t *rows, int64_t n) {
    for (size_t v = 0; v < params->n_views; v += 2) {
        for (int64_t i = 0; i < params->views[v].count; i++) {
            params->grads[params->views[v].offset + i] = (mb_real)((int32_t)draw(step, 2, (uint32_t)i)) * 1e-10f;
        }
    }
    const int64_t width = params->views[1].dims[1];
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < width; j++) {
            params->grads[params->views[1].offset + rows[i] * width + j] +=
                (mb_real)((int32_t)draw(step, 3, (uint32_t)(i * width + j))) * 1e-10f;
        }
    }
}

static void assert_rows_equal(const twin *a, const twin *b, const int32_t *rows, int64_t n, uint32_t step) {
    const int64_t width = a->params.views[1].dims[1];
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = a->params.views[1].offset + rows[i] * width;
        cr_assert_eq(memcmp(a->params.weights + at, b->params.weights + at, (size_t)width * sizeof(mb_real)), 0,
                     "step %u: row %d is not up to date", step, rows[i]);
    }
}

static void assert_all_equal(const twin *a, const twin *b, uint32_t step) {
    const size_t n_bytes = (size_t)a->params.count * sizeof(mb_real);
    cr_assert_eq(memcmp(a->params.weights, b->params.weights, n_bytes), 0, "weights differ after step %u", step);
    cr_assert_eq(memcmp(a->params.grads, b->params.grads, n_bytes), 0, "gradients differ after step %u", step);
    cr_assert_eq(memcmp(a->optimizer.moment1, b->optimizer.moment1, n_bytes), 0, "moments differ after step %u", step);
    cr_assert_eq(memcmp(a->optimizer.moment2, b->optimizer.moment2, n_bytes), 0, "moments differ after step %u", step);
}

static void run_twins(int64_t width, double weight_decay, uint32_t begin_apart, uint32_t n_steps) {
    twin whole = make_twin(width, weight_decay), apart = make_twin(width, weight_decay);
    mb_error error;
    for (uint32_t step = 0; step < n_steps; step++) {
        if (step == begin_apart) {
            cr_assert_eq(mb_optimizer_update_rows(&apart.optimizer, &apart.params, 1, &error), MB_OK, "%s", error.message);
        }
        int32_t rows[MAX_TOUCHED];
        const int64_t n = draw_rows(step, rows);
        mb_optimizer_touch(&apart.optimizer, &apart.params, rows, n / 2); /* in two parts, as two batches of a step */
        mb_optimizer_touch(&apart.optimizer, &apart.params, rows + n / 2, n - n / 2);
        assert_rows_equal(&whole, &apart, rows, n, step);
        add_gradients(&whole.params, step, rows, n);
        add_gradients(&apart.params, step, rows, n);
        const double norm = mb_params_grad_norm(&whole.params);
        cr_assert_eq(mb_optimizer_grad_norm(&apart.optimizer, &apart.params), norm, "the norm of step %u", step);
        const double rate = 1e-3 * (1 + step % 7);
        mb_optimizer_update(&whole.optimizer, &whole.params, rate, mb_clip_factor(norm, 1));
        mb_optimizer_update(&apart.optimizer, &apart.params, rate, mb_clip_factor(norm, 1));
        if (step % 211 == 210) {
            mb_optimizer_catch_up(&apart.optimizer, &apart.params);
            assert_all_equal(&whole, &apart, step);
        }
    }
    mb_optimizer_catch_up(&apart.optimizer, &apart.params);
    assert_all_equal(&whole, &apart, n_steps);
    free_twin(&whole);
    free_twin(&apart);
}

Test(row_updates, are_those_of_the_whole_table) {
    run_twins(37, 0.1, 0, 230);
    run_twins(37, 0, 0, 60);
}
Test(row_updates, of_wide_rows_too) {
    run_twins(256, 0.1, 0, 70);
    run_twins(130, 0.01, 0, 50);
}
/* More than the 512 updates that are remembered, with rows that nobody names. */
Test(row_updates, are_remembered_however_many) {
    run_twins(5, 0.3, 0, 100);
    run_twins(5, 0.3, 0, 600);
}
Test(row_updates, can_begin_in_the_middle) {
    run_twins(37, 0.1, 30, 90);
}
Test(row_updates, do_not_depend_on_threads) {
    mb_threads_set(1);
    run_twins(37, 0.1, 0, 50);
    mb_threads_set(3);
    run_twins(37, 0.1, 0, 50);
    mb_threads_set(0);
}
