/* check --roofline: what each operation of a training step takes, beside what products and memory of this machine allow
 * (Williams et al. 2009). */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "model/model.h"
#include "tasks/check.h"
#include "tasks/made_up_batch.h"
#include "tensor/gemm_bf16.h"
#include "tensor/gemm_packed.h"
#include "train/masked_lm.h"
#include "train/optimizer.h"

enum { MAX_ROWS = 64, SHAPE_BYTES = 48, WARM_STEPS = 2, TIMED_STEPS = 7, TIMED_PRODUCTS = 5 };

/* --- what an operation needs at least --- */

typedef struct cost {
    double flops, bytes;
    int64_t m, n, k; /* of its product; 0: none of its own */
} cost;

static double elements(const mb_tensor *t) {
    return t == NULL ? 0 : (double)mb_tensor_count(t);
}

/* length: tokens of a sequence. Weights are read in the activations' type; their gradients are fp32, read and written. */
static cost cost_of(const mb_node *node, bool backward, int64_t length) {
    const mb_tensor *x = node->inputs[0], *y = node->output;
    const double e = (double)mb_dtype_size(x->dtype), size = elements(y);
    const char *name = node->op->name;
    if (strcmp(name, "linear") == 0) {
        const mb_tensor *w = node->inputs[1];
        const double in = elements(x), weights = elements(w), products = 2 * (double)x->dims[0] * weights;
        return (cost){.flops = (backward ? 2 : 1) * products,
                      .bytes = backward ? e * (2 * in + size + weights) + 8 * weights : e * (in + size + weights),
                      .m = x->dims[0],
                      .n = w->dims[0],
                      .k = w->dims[1]};
    }
    if (strcmp(name, "linear_cross_entropy") == 0) { /* its gradients are made in forward */
        const mb_tensor *w = node->inputs[1];
        const double weights = elements(w);
        if (backward) {
            return (cost){.bytes = 2 * e * elements(x)};
        }
        return (cost){.flops = 6 * (double)x->dims[0] * weights,
                      .bytes = e * weights + 8 * weights + 3 * e * elements(x),
                      .m = x->dims[0],
                      .n = w->dims[0],
                      .k = w->dims[1]};
    }
    if (strcmp(name, "attention") == 0) { /* two products forward, four and the probabilities again backward */
        return (cost){.flops = (backward ? 10 : 4) * size * (double)length, .bytes = e * (backward ? 8 : 4) * size};
    }
    if (strcmp(name, "embedding") == 0) {
        return (cost){.bytes = (e + (backward ? 8 : 4)) * size};
    }
    if (strcmp(name, "gated_activation") == 0) {
        return (cost){.bytes = e * (backward ? 5 : 3) * size};
    }
    if (strcmp(name, "add_layer_norm") == 0) {
        return (cost){.bytes = e * 4 * size};
    }
    return (cost){.bytes = e * (elements(x) + size)};
}

/* --- the meter: time since the last operation ended is the next one's --- */

typedef struct row {
    const char *operation, *pass;
    char shape[SHAPE_BYTES];
    int64_t calls;
    double seconds;
    cost cost; /* of all calls */
} row;

typedef struct meter {
    row rows[MAX_ROWS];
    int n_rows;
    double last;
    int64_t length;
    bool counts; /* false while warming up */
} meter;

static void add_lap(meter *m, const char *operation, const char *pass, const char *shape, cost c) {
    const double now = mb_clock_seconds();
    int i = 0;
    while (i < m->n_rows && (strcmp(m->rows[i].operation, operation) != 0 || strcmp(m->rows[i].pass, pass) != 0 ||
                             strcmp(m->rows[i].shape, shape) != 0)) {
        i++;
    }
    if (m->counts && i < MAX_ROWS) {
        row *r = &m->rows[i];
        if (i == m->n_rows) {
            *r = (row){.operation = operation, .pass = pass, .cost = {.m = c.m, .n = c.n, .k = c.k}};
            snprintf(r->shape, sizeof r->shape, "%s", shape);
            m->n_rows++;
        }
        r->calls++;
        r->seconds += now - m->last;
        r->cost.flops += c.flops;
        r->cost.bytes += c.bytes;
    }
    m->last = mb_clock_seconds();
}

static void operation_done(void *context, const mb_node *node, bool backward) {
    meter *m = context;
    const cost c = cost_of(node, backward, m->length);
    char shape[SHAPE_BYTES];
    if (c.n > 0) {
        snprintf(shape, sizeof shape, "%" PRId64 "x%" PRId64 "x%" PRId64, c.m, c.n, c.k);
    } else {
        snprintf(shape, sizeof shape, "%" PRId64 "x%" PRId64, node->output->dims[0],
                 node->output->n_dims > 1 ? node->output->dims[1] : 1);
    }
    add_lap(m, node->op->name, backward ? "backward" : "forward", shape, c);
}

/* --- the machine's limits --- */

/* FLOP/s of one product, the best of a few. NAN without memory. */
static double product_rate(int64_t m, int64_t n, int64_t k, bool bf16) {
    const size_t item = bf16 ? sizeof(mb_bf16) : sizeof(mb_real);
    const size_t b_count = (size_t)(bf16 ? mb_bf16_packed_count(k, n) : mb_packed_count(k, n));
    char *a = calloc((size_t)(m * k), item), *b = mb_memory_alloc(b_count * item);
    char *c = calloc((size_t)(m * n), item);
    double best = a && b && c ? 0 : NAN;
    if (b) {
        memset(b, 0, b_count * item);
    }
    for (int i = 0; i <= TIMED_PRODUCTS && a && b && c; i++) {
        const double began = mb_clock_seconds();
        if (bf16) {
            const mb_bf16_factor left = {.data = a, .stride = k};
            mb_bf16_store store = {.c = c, .stride = n, .alpha = 1};
            mb_bf16_gemm_parallel(m, n, k, &left, (mb_bf16_packed){(mb_bf16 *)(void *)b, mb_bf16_padded(k)},
                                  mb_bf16_to_bf16(&store));
        } else {
            mb_packed_gemm_parallel(m, n, k, mb_left_rows((mb_real *)(void *)a, k), (mb_real *)(void *)b,
                                    mb_to_rows((mb_real *)(void *)c, n, false));
        }
        best = fmax(best, 2 * (double)m * (double)n * (double)k / (mb_clock_seconds() - began));
    }
    free(a);
    free(b);
    free(c);
    return best;
}

/* Bytes a second of a = b + s c (McCalpin's triad) far beyond any cache. NAN without memory. */
static double memory_rate(void) {
    const int64_t n = 16 << 20;
    float *a = calloc((size_t)n, sizeof *a), *b = calloc((size_t)n, sizeof *b), *c = calloc((size_t)n, sizeof *c);
    double best = a && b && c ? 0 : NAN;
    for (int i = 0; i <= TIMED_PRODUCTS && a && b && c; i++) {
        const double began = mb_clock_seconds();
#pragma omp parallel for simd schedule(static)
        for (int64_t j = 0; j < n; j++) {
            a[j] = b[j] + 0.5f * c[j] + (float)i;
        }
        const double rate = 3 * (double)n * sizeof *a / (mb_clock_seconds() - began);
        best = i == 0 ? 0 : fmax(best, rate); /* the first pass brings the pages */
    }
    free(a);
    free(b);
    free(c);
    return best;
}

/* --- the step --- */

typedef struct bench {
    mb_model *model;
    mb_optimizer optimizer;
    mb_tape *tape;
    mb_batch batch;
    meter meter;
} bench;

static mb_status set_up(bench *b, const mb_check_options *o, bool bf16, mb_error *error) {
    mb_model_config config = {0};
    mb_status status = mb_check_config(o, &config, error);
    if (status != MB_OK) {
        return status;
    }
    status = mb_model_new(&config, MB_HEAD_MASKED_LM, (uint64_t)o->seed, &b->model, error);
    mb_model_config_free(&config);
    if (status != MB_OK) {
        return status;
    }
    const bool modern = mb_model_get_config(b->model)->layout == MB_LAYOUT_MODERNBERT;
    const double dropout = modern ? 0 : 0.1; /* as the two recipes have it */
    mb_model_set_dropout(b->model, dropout, dropout, dropout);
    status = mb_model_set_dtype(b->model, bf16 ? MB_BF16 : MB_F32, true, error);
    const mb_optimizer_options optimizer = {.kind = modern ? MB_OPTIMIZER_MUON : MB_OPTIMIZER_ADAMW,
                                            .beta1 = 0.9,
                                            .beta2 = 0.98,
                                            .epsilon = 1e-8,
                                            .weight_decay = 0.01,
                                            .momentum = 0.95,
                                            .muon_rate = 1,
                                            .bf16 = bf16};
    if (status == MB_OK) {
        status = mb_optimizer_init(&b->optimizer, mb_model_params(b->model), &optimizer, error);
    }
    const mb_made_up_text text = {.n_sequences = (int32_t)o->batch_size,
                                  .length = (int32_t)o->seq_length,
                                  .vocab_size = (int32_t)o->vocab_size,
                                  .mlm_probability = modern ? 0.4 : 0.15,
                                  .seed = (uint64_t)o->seed};
    status = status == MB_OK ? mb_made_up_batch(&text, &b->batch, error) : status;
    b->tape = mb_tape_new(true);
    if (status == MB_OK && b->tape == NULL) {
        status = mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    b->meter.length = o->seq_length;
    return status;
}

static void free_bench(bench *b) {
    mb_tape_free(b->tape);
    mb_batch_free(&b->batch);
    mb_optimizer_free(&b->optimizer);
    mb_model_free(b->model);
}

static mb_status run_step(bench *b, int64_t step, double *seconds, mb_error *error) {
    const mb_batch *batch = &b->batch;
    mb_params *params = mb_model_params(b->model);
    const double n = (double)params->count;
    mb_step_sums sums;
    const mb_masked_lm_objective objective = {.seed = 1};
    const double began = b->meter.last = mb_clock_seconds();
    const mb_status status = mb_masked_lm_accumulate(b->model, b->tape, &batch, 1, &objective, step, &sums, error);
    if (status != MB_OK) {
        return status;
    }
    const double norm = mb_params_grad_norm(params);
    add_lap(&b->meter, "gradient norm", "update", "", (cost){.bytes = 4 * n});
    mb_optimizer_update(&b->optimizer, params, 0, mb_clip_factor(norm, 1));
    add_lap(&b->meter, mb_optimizer_names[b->optimizer.options.kind], "update", "", (cost){.bytes = 32 * n});
    mb_model_pack_weights(b->model);
    if (mb_model_is_packed(b->model)) {
        add_lap(&b->meter, "packed weights", "update", "", (cost){.bytes = 8 * n});
    }
    *seconds = mb_clock_seconds() - began;
    return MB_OK;
}

/* --- the report --- */

/* FLOP/s of each distinct product, by shape; the best of them is the limit of what has no product of its own. */
static json_t *measure_products(meter *m, bool bf16, double *best) {
    json_t *rates = json_object();
    *best = 0;
    for (int i = 0; i < m->n_rows; i++) {
        const row *r = &m->rows[i];
        if (r->cost.n > 0 && json_object_get(rates, r->shape) == NULL) {
            const double rate = product_rate(r->cost.m, r->cost.n, r->cost.k, bf16);
            *best = fmax(*best, rate);
            json_object_set_new(rates, r->shape, json_real(rate * 1e-9));
        }
    }
    return rates;
}

static json_t *describe_row(const row *r, double rate, double bandwidth, double step_seconds) {
    const double seconds = r->seconds / TIMED_STEPS, flops = r->cost.flops / TIMED_STEPS, bytes = r->cost.bytes / TIMED_STEPS;
    const double least = fmax(flops / rate, bytes / bandwidth);
    return json_pack("{s:s, s:s, s:s, s:I, s:f, s:f, s:f, s:f, s:f}", "operation", r->operation, "pass", r->pass, "shape",
                     r->shape, "calls", (json_int_t)(r->calls / TIMED_STEPS), "ms", 1e3 * seconds, "share",
                     seconds / step_seconds, "gflops", 1e-9 * flops / seconds, "gbytes_per_second", 1e-9 * bytes / seconds,
                     "of_limit", least / seconds);
}

static json_t *describe(bench *b, bool bf16, double step_seconds) {
    double best, bound_seconds = 0;
    json_t *rates = measure_products(&b->meter, bf16, &best), *rows = json_array();
    const double bandwidth = memory_rate();
    for (int i = 0; i < b->meter.n_rows; i++) {
        const row *r = &b->meter.rows[i];
        const json_t *own = json_object_get(rates, r->shape);
        const double rate = own ? 1e9 * json_real_value(own) : best;
        bound_seconds += r->cost.flops / TIMED_STEPS / rate;
        json_array_append_new(rows, describe_row(r, rate, bandwidth, step_seconds));
    }
    return json_pack("{s:s, s:I, s:f, s:f, s:f, s:f, s:o, s:o}", "precision", bf16 ? "bf16" : "fp32", "tokens",
                     (json_int_t)b->batch.n_tokens, "step_ms", 1e3 * step_seconds, "tokens_per_second",
                     (double)b->batch.n_tokens / step_seconds, "memory_gbytes_per_second", 1e-9 * bandwidth,
                     "gemm_bound_fraction", bound_seconds / step_seconds, "gemm_gflops", rates, "operations", rows);
}

mb_status mb_roofline(const mb_check_options *options, const mb_job *job, json_t **result, mb_error *error) {
    const bool bf16 = job && job->bf16;
    bench b = {0};
    double total = 0;
    mb_status status = set_up(&b, options, bf16, error);
    if (status == MB_OK) {
        mb_tape_observe(b.tape, (mb_tape_observer){&b.meter, operation_done});
    }
    for (int i = 0; i < WARM_STEPS + TIMED_STEPS && status == MB_OK; i++) {
        double seconds = 0;
        b.meter.counts = i >= WARM_STEPS;
        status = mb_job_should_stop(job) ? mb_fail(error, MB_ERROR_INTERRUPTED, "stopped") : run_step(&b, i, &seconds, error);
        total += b.meter.counts ? seconds : 0;
    }
    if (status == MB_OK && !(*result = describe(&b, bf16, total / TIMED_STEPS))) {
        status = mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    free_bench(&b);
    return status;
}
