#include "train/optimizer.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Elements of a segment: 64 KiB of each of the four streams, so that a segment's work outweighs handing it to a thread. */
enum { SEGMENT_ELEMENTS = 16384 };
/* Partial sums of the gradient norm: a fixed number, so that the sum does not depend on the threads and needs no memory. */
enum { NORM_BLOCKS = 1024 };

const char *const mb_optimizer_names[] = {"adamw", "muon", NULL};

int mb_optimizer_n_moments(const mb_optimizer *optimizer, const mb_param *view) {
    return optimizer->options.kind == MB_OPTIMIZER_MUON && view->n_matrices > 0 ? 1 : 2;
}

static bool is_adamws(const mb_optimizer *optimizer, const mb_param *view) {
    return mb_optimizer_n_moments(optimizer, view) == 2;
}

static size_t segments_of(int64_t count) {
    return (size_t)((count + SEGMENT_ELEMENTS - 1) / SEGMENT_ELEMENTS);
}

static void cut_into_segments(mb_optimizer *optimizer, const mb_params *params) {
    size_t n = 0;
    for (size_t v = 0; v < params->n_views; v++) {
        const mb_param *view = &params->views[v];
        for (int64_t begin = 0; begin < view->count && is_adamws(optimizer, view); begin += SEGMENT_ELEMENTS) {
            int64_t rest = view->count - begin;
            optimizer->segments[n++] = (mb_optimizer_segment){
                .offset = view->offset + begin, .count = rest < SEGMENT_ELEMENTS ? rest : SEGMENT_ELEMENTS, .view = v};
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
            optimizer->n_segments += segments_of(params->views[v].count);
        }
    }
    optimizer->moment1 = calloc((size_t)params->count, sizeof *optimizer->moment1);
    optimizer->moment2 = calloc((size_t)params->count, sizeof *optimizer->moment2);
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
    mb_muon_free(&optimizer->muon);
    *optimizer = (mb_optimizer){0};
}

/* Independent sums, so that an addition need not wait for the one before it. */
enum { NORM_LANES = 32 };

static double sum_of_squares(const mb_real *x, int64_t n) {
    double lanes[NORM_LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + NORM_LANES <= n; i += NORM_LANES) {
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

double mb_params_grad_norm(const mb_params *params) {
    const int64_t block = (params->count + NORM_BLOCKS - 1) / NORM_BLOCKS;
    double partial[NORM_BLOCKS];
#pragma omp parallel for schedule(static)
    for (int b = 0; b < NORM_BLOCKS; b++) {
        const int64_t begin = b * block, rest = params->count - begin;
        partial[b] = rest > 0 ? sum_of_squares(params->grads + begin, rest < block ? rest : block) : 0;
    }
    double total = 0;
    for (int b = 0; b < NORM_BLOCKS; b++) {
        total += partial[b];
    }
    return sqrt(total);
}

double mb_clip_factor(double norm, double max_norm) {
    double factor = max_norm / (norm + 1e-6); /* 1e-6: torch.nn.utils.clip_grad_norm_ */
    return max_norm > 0 && factor < 1 ? factor : 1;
}

/* What an update multiplies by, rounded once. */
typedef struct factors {
    mb_real scale, decay, beta1, beta2, step_size, inverse_correction2, epsilon;
} factors;

/* Algorithm 2 with the bias corrections folded in as PyTorch does:
 *   m = beta1 m + (1 - beta1) g              v = beta2 v + (1 - beta2) g^2
 *   w = (1 - lr lambda) w - lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon) */
static void update_segment(int64_t n, mb_real *restrict w, mb_real *restrict g, mb_real *restrict m, mb_real *restrict v,
                           const factors *f) {
    const factors c = *f;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        mb_real grad = g[i] * c.scale;
        g[i] = 0;
        m[i] += (1 - c.beta1) * (grad - m[i]);
        v[i] = c.beta2 * v[i] + (1 - c.beta2) * grad * grad;
        w[i] = w[i] * c.decay - c.step_size * m[i] / (sqrtf(v[i]) * c.inverse_correction2 + c.epsilon);
    }
}

void mb_optimizer_update(mb_optimizer *optimizer, mb_params *params, double learning_rate, double scale) {
    const mb_optimizer_options *o = &optimizer->options;
    optimizer->step++;
    if (o->kind == MB_OPTIMIZER_MUON) {
        const double rate = learning_rate * o->muon_rate;
        mb_muon_update(&optimizer->muon, params, optimizer->moment1, o->momentum, rate, 1 - rate * o->weight_decay, scale);
    }
    const double t = (double)optimizer->step;
    const factors decayed = {
        .scale = (mb_real)scale,
        .decay = (mb_real)(1 - learning_rate * o->weight_decay),
        .beta1 = (mb_real)o->beta1,
        .beta2 = (mb_real)o->beta2,
        .step_size = (mb_real)(learning_rate / (1 - pow(o->beta1, t))),
        .inverse_correction2 = (mb_real)(1 / sqrt(1 - pow(o->beta2, t))),
        .epsilon = (mb_real)o->epsilon,
    };
    factors plain = decayed;
    plain.decay = 1;
    const int64_t n_segments = (int64_t)optimizer->n_segments;
#pragma omp parallel for schedule(static)
    for (int64_t s = 0; s < n_segments; s++) {
        const mb_optimizer_segment *segment = &optimizer->segments[s];
        const mb_param *view = &params->views[segment->view];
        int64_t at = segment->offset;
        if (view->frozen) {
            memset(params->grads + at, 0, (size_t)segment->count * sizeof *params->grads);
        } else {
            update_segment(segment->count, params->weights + at, params->grads + at, optimizer->moment1 + at,
                           optimizer->moment2 + at, view->decay ? &decayed : &plain);
        }
    }
}
