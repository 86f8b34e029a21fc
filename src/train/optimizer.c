#include "train/optimizer.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* Elements of a segment: 64 KiB of each of the four streams, so that a segment's work outweighs handing it to a thread. */
enum { SEGMENT_ELEMENTS = 16384 };
/* Partial sums of the gradient norm: a fixed number, so that the sum does not depend on the threads and needs no memory. */
enum { NORM_BLOCKS = 1024 };

const char *const mb_optimizer_names[] = {"adamw", "muon", NULL};

static bool is_adamws(const mb_optimizer *optimizer, const mb_param *view) {
    return optimizer->options.kind == MB_OPTIMIZER_ADAMW || view->n_matrices == 0;
}

static bool has_moment_a_row(const mb_optimizer *optimizer, const mb_param *view) {
    return optimizer->options.kind == MB_OPTIMIZER_MUON && (view->n_matrices > 0 || view->rows_are_pieces);
}

int64_t mb_optimizer_moment2_count(const mb_optimizer *optimizer, const mb_param *view) {
    return has_moment_a_row(optimizer, view) ? view->dims[0] : view->count;
}

/* Elements of a segment of this view: whole rows where their second moment is one. */
static int64_t segment_elements(const mb_optimizer *optimizer, const mb_param *view) {
    if (!has_moment_a_row(optimizer, view)) {
        return SEGMENT_ELEMENTS;
    }
    const int64_t width = view->dims[1];
    return width < SEGMENT_ELEMENTS ? SEGMENT_ELEMENTS / width * width : width;
}

static size_t segments_of(const mb_optimizer *optimizer, const mb_param *view) {
    const int64_t elements = segment_elements(optimizer, view);
    return (size_t)((view->count + elements - 1) / elements);
}

static void cut_into_segments(mb_optimizer *optimizer, const mb_params *params) {
    size_t n = 0;
    for (size_t v = 0; v < params->n_views; v++) {
        const mb_param *view = &params->views[v];
        const int64_t elements = segment_elements(optimizer, view);
        for (int64_t begin = 0; begin < view->count && is_adamws(optimizer, view); begin += elements) {
            const int64_t rest = view->count - begin;
            optimizer->segments[n++] =
                (mb_optimizer_segment){.offset = view->offset + begin, .count = rest < elements ? rest : elements, .view = v};
        }
    }
    assert(n == optimizer->n_segments);
}

mb_status mb_optimizer_init(mb_optimizer *optimizer, const mb_params *params, const mb_optimizer_options *options,
                            mb_error *error) {
    assert(params->grads != NULL);
    *optimizer = (mb_optimizer){.options = *options};
    for (size_t v = 0; v < params->n_views; v++) {
        if (is_adamws(optimizer, &params->views[v])) {
            optimizer->n_segments += segments_of(optimizer, &params->views[v]);
        }
    }
    optimizer->moment1 = mb_memory_zeros((size_t)params->count, sizeof *optimizer->moment1);
    optimizer->moment2 = mb_memory_zeros((size_t)params->count, sizeof *optimizer->moment2);
    optimizer->segments = calloc(optimizer->n_segments + 1, sizeof *optimizer->segments);
    if (optimizer->moment1 == NULL || optimizer->moment2 == NULL || optimizer->segments == NULL) {
        mb_optimizer_free(optimizer);
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory: the optimizer needs %.1f MB for its moments",
                       2e-6 * (double)params->count * (double)sizeof(mb_real));
    }
    cut_into_segments(optimizer, params);
    mb_status status =
        options->kind == MB_OPTIMIZER_MUON ? mb_muon_init(&optimizer->muon, params, options->bf16, error) : MB_OK;
    if (status != MB_OK) {
        mb_optimizer_free(optimizer);
    }
    return status;
}

void mb_optimizer_free(mb_optimizer *optimizer) {
    free(optimizer->moment1);
    free(optimizer->moment2);
    free(optimizer->segments);
    if (optimizer->rows != NULL) {
        mb_row_updates_free(optimizer->rows);
        free(optimizer->rows);
    }
    mb_muon_free(&optimizer->muon);
    *optimizer = (mb_optimizer){0};
}

/* Independent sums, so that an addition need not wait for the one before it. */
enum { NORM_LANES = 32 };

/* Of the gradients [begin, begin + n). Zeros that `rows` (NULL: none) knows of are passed over; the others keep their lanes,
 * and so the sum is the same. */
static double sum_of_squares(const mb_real *grads, int64_t begin, int64_t n, const mb_row_updates *rows) {
    const mb_real *x = grads + begin;
    double lanes[NORM_LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + NORM_LANES <= n; i += NORM_LANES) {
        const int64_t n_zeros = rows == NULL ? 0 : mb_row_updates_zeros(rows, begin + i);
        if (n_zeros >= NORM_LANES) {
            i += (n_zeros / NORM_LANES - 1) * NORM_LANES;
            continue;
        }
#pragma omp simd
        for (int lane = 0; lane < NORM_LANES; lane++) {
            lanes[lane] += (double)x[i + lane] * (double)x[i + lane];
        }
    }
    for (; i < n; i++) {
        lanes[0] += (double)x[i] * (double)x[i];
    }
    for (int lane = 0; lane < NORM_LANES; lane++) {
        sum += lanes[lane];
    }
    return sum;
}

static double grad_norm(const mb_params *params, const mb_row_updates *rows) {
    const int64_t block = (params->count + NORM_BLOCKS - 1) / NORM_BLOCKS;
    double partial[NORM_BLOCKS];
#pragma omp parallel for schedule(dynamic, 32)
    for (int b = 0; b < NORM_BLOCKS; b++) {
        const int64_t begin = b * block, rest = params->count - begin;
        partial[b] = rest > 0 ? sum_of_squares(params->grads, begin, rest < block ? rest : block, rows) : 0;
    }
    double total = 0;
    for (int b = 0; b < NORM_BLOCKS; b++) {
        total += partial[b];
    }
    return sqrt(total);
}

double mb_params_grad_norm(const mb_params *params) {
    return grad_norm(params, NULL);
}

double mb_optimizer_grad_norm(const mb_optimizer *optimizer, const mb_params *params) {
    return grad_norm(params, optimizer->rows);
}

double mb_clip_factor(double norm, double max_norm) {
    double factor = max_norm / (norm + 1e-6); /* 1e-6: torch.nn.utils.clip_grad_norm_ */
    return max_norm > 0 && factor < 1 ? factor : 1;
}

/* `all`: of a view that decays at the rate of all. */
static mb_adamw_factors factors_of(const mb_param *view, const mb_adamw_factors *all) {
    mb_adamw_factors factors = *all;
    factors.decay = view->decay ? (mb_real)(1 - view->rate * (1 - (double)all->decay)) : 1;
    factors.step_size = (mb_real)(view->rate * (double)all->step_size);
    return factors;
}

void mb_optimizer_update(mb_optimizer *optimizer, mb_params *params, double learning_rate, double scale) {
    const mb_optimizer_options *o = &optimizer->options;
    optimizer->step++;
    if (o->kind == MB_OPTIMIZER_MUON) {
        const double rate = learning_rate * o->muon_rate;
        mb_muon_update(&optimizer->muon, params, optimizer->moment1, optimizer->moment2, o->momentum, rate,
                       1 - rate * o->weight_decay, scale);
    }
    const double t = (double)optimizer->step;
    const mb_adamw_factors all = {
        .scale = (mb_real)scale,
        .decay = (mb_real)(1 - learning_rate * o->weight_decay),
        .beta1 = (mb_real)o->beta1,
        .beta2 = (mb_real)o->beta2,
        .step_size = (mb_real)(learning_rate / (1 - pow(o->beta1, t))),
        .inverse_correction2 = (mb_real)(1 / sqrt(1 - pow(o->beta2, t))),
        .epsilon = (mb_real)o->epsilon,
    };
    const int64_t n_segments = (int64_t)optimizer->n_segments;
#pragma omp parallel for schedule(static)
    for (int64_t s = 0; s < n_segments; s++) {
        const mb_optimizer_segment *segment = &optimizer->segments[s];
        const mb_param *view = &params->views[segment->view];
        const int64_t at = segment->offset;
        const mb_adamw_factors factors = factors_of(view, &all);
        if (view->frozen) {
            memset(params->grads + at, 0, (size_t)segment->count * sizeof *params->grads);
        } else if (has_moment_a_row(optimizer, view)) {
            const int64_t width = view->dims[1];
            mb_adamw_update_rows(segment->count / width, width, params->weights + at, params->grads + at,
                                 optimizer->moment1 + at, optimizer->moment2 + view->offset + mb_params_row(view, at),
                                 &factors);
        } else {
            mb_adamw_update(segment->count, params->weights + at, params->grads + at, optimizer->moment1 + at,
                            optimizer->moment2 + at, &factors);
        }
    }
    if (optimizer->rows != NULL) {
        const mb_adamw_factors factors = factors_of(&params->views[optimizer->rows->view], &all);
        mb_row_updates_update(optimizer->rows, params, optimizer->moment1, optimizer->moment2, &factors);
    }
}

/* --- a table of which a step touches few rows --- */

mb_status mb_optimizer_update_rows(mb_optimizer *optimizer, const mb_params *params, size_t view, mb_error *error) {
    assert(optimizer->rows == NULL && !has_moment_a_row(optimizer, &params->views[view]) && !params->views[view].frozen);
    mb_row_updates *rows = calloc(1, sizeof *rows);
    mb_status status = rows == NULL ? mb_fail(error, MB_ERROR_MEMORY, "out of memory for the optimizer")
                                    : mb_row_updates_init(rows, params, view, optimizer->step == 0, error);
    if (status != MB_OK) {
        free(rows);
        return status;
    }
    size_t n = 0;
    for (size_t s = 0; s < optimizer->n_segments; s++) {
        if (optimizer->segments[s].view != view) {
            optimizer->segments[n++] = optimizer->segments[s];
        }
    }
    optimizer->n_segments = n;
    optimizer->rows = rows;
    return MB_OK;
}

void mb_optimizer_touch(mb_optimizer *optimizer, mb_params *params, const int32_t *rows, int64_t n_rows) {
    if (optimizer->rows != NULL) {
        mb_row_updates_touch(optimizer->rows, params, optimizer->moment1, optimizer->moment2, rows, n_rows);
    }
}

void mb_optimizer_catch_up(mb_optimizer *optimizer, mb_params *params) {
    if (optimizer->rows != NULL) {
        mb_row_updates_catch_up(optimizer->rows, params, optimizer->moment1, optimizer->moment2);
    }
}
