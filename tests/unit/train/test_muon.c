/* Muon against PyTorch (scripts/golden/muon.py), and what its result must be whatever the matrix. */
#include <math.h>

#include "model/safetensors.h"
#include "tiny.h"

static const char golden[] = MB_TESTS_DIR "/golden/train/muon.safetensors";
static const mb_optimizer_options options = {.kind = MB_OPTIMIZER_MUON,
                                             .beta1 = 0.9,
                                             .beta2 = 0.98,
                                             .epsilon = 1e-6,
                                             .weight_decay = 0.1,
                                             .momentum = 0.95,
                                             .muon_rate = 1};

/* bf16_tolerance: PyTorch's own steps in bf16 are off by 0.020, 0.023, 0.011, 0.003 and, of the matrix of low rank, 0.067. */
static const struct {
    const char *name;
    int64_t rows, columns;
    int32_t n_matrices;
    double bf16_tolerance;
} shapes[] = {{"square", 24, 24, 1, 0.03}, {"wide", 10, 37, 1, 0.03},   {"tall", 70, 9, 1, 0.03},
              {"row", 1, 6, 1, 0.01},      {"stacked", 24, 8, 3, 0.03}, {"low_rank", 20, 30, 1, 0.07}};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static void read_golden(const char *name, const char *what, mb_real *out, int64_t count) {
    mb_safetensors file = {0};
    mb_error error;
    char full[64];
    snprintf(full, sizeof full, "%s.%s", name, what);
    ASSERT_OK(mb_safetensors_open(golden, &file, &error), error);
    const mb_safetensor *tensor = mb_safetensors_find(&file, full);
    cr_assert_not_null(tensor, "no '%s'", full);
    ASSERT_OK(mb_safetensors_read(&file, tensor, out, count, &error), error);
    mb_safetensors_close(&file);
}

static mb_params golden_params(void) {
    mb_params params = {0};
    mb_error error;
    for (int i = 0; i < N_SHAPES; i++) {
        const int64_t dims[] = {shapes[i].rows, shapes[i].columns};
        cr_assert_eq(mb_params_add(&params, shapes[i].name, 2, dims, MB_INIT_ZERO, true, false), i);
        params.views[i].n_matrices = shapes[i].n_matrices;
    }
    ASSERT_OK(mb_params_allocate(&params, true, &error), error);
    for (int i = 0; i < N_SHAPES; i++) {
        read_golden(shapes[i].name, "before", params.weights + params.views[i].offset, params.views[i].count);
    }
    return params;
}

static void assert_near(const char *name, const mb_real *a, const mb_real *b, int64_t n, double tolerance) {
    for (int64_t i = 0; i < n; i++) {
        const double difference = fabs((double)a[i] - (double)b[i]);
        cr_assert(difference < tolerance, "%s[%ld]: %.8f, PyTorch %.8f", name, (long)i, (double)a[i], (double)b[i]);
    }
}

static mb_real *reals(int64_t n) {
    mb_real *out = calloc((size_t)n + 1, sizeof *out);
    cr_assert_not_null(out);
    return out;
}

/* The two ways to the same steps. */
static const struct {
    const char *name;
    void (*orthogonalize)(int64_t rows, int64_t columns, const mb_real *x, mb_real *out, mb_real *scratch);
    int64_t (*scratch_elements)(int64_t rows, int64_t columns);
} ways[] = {{"fp32", mb_muon_orthogonalize, mb_muon_scratch_elements},
            {"bf16", mb_muon_orthogonalize_bf16, mb_muon_bf16_scratch_elements}};
enum { N_WAYS = sizeof ways / sizeof *ways };

static mb_real *scratch_of(int way, int64_t rows, int64_t columns) {
    const int64_t n = (ways[way].scratch_elements(rows, columns) + 15) / 16 * 16;
    mb_real *out = aligned_alloc(64, (size_t)n * sizeof *out);
    cr_assert_not_null(out);
    memset(out, 0xff, (size_t)n * sizeof *out); /* NaN: nothing is read that was not written */
    return out;
}

static void check_orthogonal(int way, int shape, const mb_real *x, const mb_real *expected) {
    const int64_t rows = shapes[shape].rows / shapes[shape].n_matrices, columns = shapes[shape].columns, n = rows * columns;
    const double tolerance = way == 0 ? 2e-4 : shapes[shape].bf16_tolerance;
    mb_real *scratch = scratch_of(way, rows, columns), *out = reals(n);
    for (int64_t i = 0; i < n; i++) {
        out[i] = 100;
    }
    ways[way].orthogonalize(rows, columns, x, out, scratch);
    assert_near(shapes[shape].name, out, expected, n, tolerance);
    free(out);
    free(scratch);
}

Test(muon, newton_schulz_equals_the_steps_as_they_are_written) {
    for (int s = 0; s < N_SHAPES; s++) {
        const int64_t all = shapes[s].rows * shapes[s].columns, n = all / shapes[s].n_matrices;
        mb_real *x = reals(all), *expected = reals(all);
        read_golden(shapes[s].name, "gradient0", x, all);
        read_golden(shapes[s].name, "orthogonal", expected, all);
        for (int32_t part = 0; part < shapes[s].n_matrices * N_WAYS; part++) {
            const int64_t at = part / N_WAYS * n;
            check_orthogonal(part % N_WAYS, s, x + at, expected + at);
        }
        free(x);
        free(expected);
    }
}

Test(muon, three_steps_equal_pytorch) {
    mb_error error;
    mb_optimizer optimizer;
    mb_params params = golden_params();
    ASSERT_OK(mb_optimizer_init(&optimizer, &params, &options, &error), error);
    for (int step = 0; step < 3; step++) {
        char what[16];
        snprintf(what, sizeof what, "gradient%d", step);
        for (int i = 0; i < N_SHAPES; i++) {
            mb_real *grads = params.grads + params.views[i].offset;
            read_golden(shapes[i].name, what, grads, params.views[i].count);
            for (int64_t k = 0; k < params.views[i].count; k++) {
                grads[k] *= 4; /* which the scale takes back */
            }
        }
        mb_optimizer_update(&optimizer, &params, 0.02, 0.25);
        for (int64_t k = 0; k < params.count; k++) {
            cr_assert_eq(params.grads[k], 0);
        }
    }
    for (int i = 0; i < N_SHAPES; i++) {
        const int64_t n = params.views[i].count;
        mb_real *expected = reals(n);
        read_golden(shapes[i].name, "after", expected, n);
        assert_near(shapes[i].name, params.weights + params.views[i].offset, expected, n, 5e-5);
        free(expected);
    }
    mb_optimizer_free(&optimizer);
    mb_params_free(&params);
}

/* The rows of a wide result are nearly orthonormal: Q Q^T has a diagonal near 1 and little beside it. Sizes that are no
 * multiple of a panel or block, and larger than one. */
static void check_singular_values(int way) {
    enum { ROWS = 150, COLUMNS = 301 };
    mb_real *x = reals(ROWS * COLUMNS), *out = reals(ROWS * COLUMNS), *scratch = scratch_of(way, ROWS, COLUMNS);
    for (int64_t i = 0; i < ROWS * COLUMNS; i++) {
        float normal[2];
        const mb_rng_block random = mb_rng_at(4, MB_STREAM_TEST, 0, 0, (uint32_t)i);
        mb_rng_normal2(random.v[0], random.v[1], normal);
        x[i] = normal[0];
    }
    ways[way].orthogonalize(ROWS, COLUMNS, x, out, scratch);
    double off = 0;
    for (int64_t i = 0; i < ROWS; i++) {
        for (int64_t j = 0; j <= i; j++) {
            double dot = 0;
            for (int64_t k = 0; k < COLUMNS; k++) {
                dot += (double)out[i * COLUMNS + k] * (double)out[j * COLUMNS + k];
            }
            if (i == j) {
                cr_assert(dot > 0.4 && dot < 1.4, "%s: row %ld has square length %.3f", ways[way].name, (long)i, dot);
            } else {
                off = fmax(off, fabs(dot));
            }
        }
    }
    cr_assert_lt(off, 0.2, "%s: two rows have the product %.3f", ways[way].name, off);
    memset(x, 0, ROWS * COLUMNS * sizeof *x);
    ways[way].orthogonalize(ROWS, COLUMNS, x, out, scratch);
    for (int64_t i = 0; i < ROWS * COLUMNS; i++) {
        cr_assert_eq(out[i], 0, "nothing comes of nothing");
    }
    free(x);
    free(out);
    free(scratch);
}

Test(muon, singular_values_come_near_one) {
    for (int way = 0; way < N_WAYS; way++) {
        check_singular_values(way);
    }
}

Test(muon, takes_the_hidden_matrices_and_leaves_the_rest_to_adamw) {
    mb_error error;
    mb_optimizer optimizer;
    tiny_run run;
    tiny_run_begin(&run, 4, 0);
    mb_params *params = mb_model_params(run.model);
    ASSERT_OK(mb_optimizer_init(&optimizer, params, &options, &error), error);
    int64_t hidden = 0;
    for (size_t v = 0; v < params->n_views; v++) {
        const mb_param *view = &params->views[v];
        const bool encoder = strstr(view->name, "bert.encoder.") != NULL && view->n_dims == 2;
        const bool one_a_row = encoder || strstr(view->name, "word_embeddings") != NULL;
        cr_assert_eq(mb_optimizer_moment2_count(&optimizer, view), one_a_row ? view->dims[0] : view->count, "%s", view->name);
        hidden += encoder;
    }
    cr_assert_eq(hidden, 2 * 6);
    cr_assert_eq(optimizer.muon.n, 12);
    params->views[optimizer.muon.matrices[0].view].frozen = true;
    const int64_t frozen = optimizer.muon.matrices[0].offset;
    const mb_real before = params->weights[frozen];
    mb_step_sums sums;
    ASSERT_OK(tiny_accumulate(&run, 0, &sums, &error), error);
    mb_optimizer_update(&optimizer, params, 0.01, 1);
    cr_assert_eq(params->weights[frozen], before);
    cr_assert_eq(params->grads[frozen], 0);
    for (size_t v = 0; v < params->n_views; v++) {
        const mb_param *view = &params->views[v];
        for (int64_t i = mb_optimizer_moment2_count(&optimizer, view); i < view->count; i++) {
            cr_assert_eq(optimizer.moment2[view->offset + i], 0, "%s has more than one second moment a row", view->name);
        }
    }
    mb_optimizer_free(&optimizer);
    tiny_run_end(&run);
}

/* Weights after ten steps of the tiny model with Muon at a number of threads. */
static mb_real *weights_at(int n_threads, int64_t *count) {
    mb_error error;
    tiny_run run;
    tiny_run_begin(&run, 4, 0.1);
    mb_threads_set(n_threads);
    mb_optimizer_free(&run.optimizer);
    ASSERT_OK(mb_optimizer_init(&run.optimizer, mb_model_params(run.model), &options, &error), error);
    ASSERT_OK(mb_trainer_run(&run.trainer, &error), error);
    const mb_params *params = mb_model_params(run.model);
    mb_real *out = reals(params->count);
    memcpy(out, params->weights, (size_t)params->count * sizeof *out);
    *count = params->count;
    tiny_run_end(&run);
    return out;
}

Test(muon, does_not_depend_on_the_number_of_threads) {
    int64_t count = 0;
    mb_real *one = weights_at(1, &count), *three = weights_at(3, &count);
    cr_assert(memcmp(one, three, (size_t)count * sizeof *one) == 0);
    free(one);
    free(three);
}
