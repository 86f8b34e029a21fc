#include "tasks/check.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"
#include "model/model.h"
#include "tasks/machine.h"
#include "tasks/made_up_batch.h"
#include "tensor/gemm.h"
#include "tensor/gemm_bf16.h"
#include "tensor/gemm_packed.h"
#include "train/masked_lm.h"

#define FIELD(name) offsetof(mb_check_options, name)
const mb_option mb_check_option_table[] = {
    {"gradients", MB_OPTION_BOOL, FIELD(gradients), "false", NULL,
     .help = "check the gradient of every tensor of a small model against differences of its loss"},
    {"roofline", MB_OPTION_BOOL, FIELD(roofline), "false", NULL,
     .help = "time each operation of a training step beside what products and memory allow"},
    {"arch", MB_OPTION_CHOICE, FIELD(arch), "bert", NULL,
     .help = "architecture of the models; modern: ModernBERT's, with Muon, bert: BERT's, with AdamW",
     .choices = mb_model_arch_names},
    {"size", MB_OPTION_CHOICE, FIELD(size), "mini", NULL, .help = "of the model whose step is timed",
     .choices = mb_model_size_names},
    {"batch-size", MB_OPTION_INT, FIELD(batch_size), "32", "B", .help = "sequences of its step", .min = 1, .max = 65536},
    {"seq-length", MB_OPTION_INT, FIELD(seq_length), "128", "T", .help = "tokens of each", .min = 8, .max = 8192},
    {"vocab-size", MB_OPTION_INT, FIELD(vocab_size), "30522", "N", .help = "wordpieces", .min = 16, .max = 1 << 24},
    {"json", MB_OPTION_BOOL, FIELD(json), "false", NULL, .help = "the result as JSON in place of text"},
    {0},
};

mb_status mb_check_config(const mb_check_options *o, mb_model_config *out, mb_error *error) {
    mb_status status = mb_model_config_preset(mb_model_size_names[o->size], out, error);
    if (status != MB_OK) {
        return status;
    }
    out->vocab_size = (int32_t)o->vocab_size;
    out->max_positions = (int32_t)o->seq_length;
    if (o->arch == MB_LAYOUT_MODERNBERT) {
        mb_model_config_make_modern(out);
    }
    return mb_model_config_check(out, "the model's shape", error);
}

static mb_status out_of_memory(mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "out of memory");
}

/* --- products --- */

/* The kinds there are: cblas, our own of mb_real, our own of bf16. */
enum { PRODUCT_BLAS, PRODUCT_PACKED, PRODUCT_BF16, N_PRODUCTS };

enum { STREAM_CHECK = 900 };

/* Normal-like numbers that bf16 holds exactly, so that both kernels are compared with the same factors. */
static mb_real made_up(uint32_t which, int64_t i) {
    const mb_rng_block random = mb_rng_at(1, STREAM_CHECK, which, (uint32_t)(i >> 32), (uint32_t)i);
    const double x = (double)mb_rng_uniform(random.v[0]) + (double)mb_rng_uniform(random.v[1]) - 1;
    return (mb_real)mb_bf16_to_float(mb_bf16_from_float((float)x));
}

typedef struct product_case {
    int64_t m, n, k;
} product_case;

typedef struct product_memory {
    mb_real *a, *b, *c; /* (m,k), (n,k) as a weight lies, (m,n) */
    mb_real *panels;
    mb_bf16 *left, *packed;
} product_memory;

static bool allocate_product(product_case p, product_memory *memory) {
    memory->a = calloc((size_t)(p.m * p.k), sizeof *memory->a);
    memory->b = calloc((size_t)(p.n * p.k), sizeof *memory->b);
    memory->c = calloc((size_t)(p.m * p.n), sizeof *memory->c);
    memory->panels = calloc((size_t)mb_packed_count(p.k, p.n), sizeof *memory->panels);
    memory->left = calloc((size_t)(p.m * p.k), sizeof *memory->left);
    memory->packed = mb_memory_alloc((size_t)mb_bf16_packed_count(p.k, p.n) * sizeof *memory->packed);
    return memory->a && memory->b && memory->c && memory->panels && memory->left && memory->packed;
}

static void free_product(product_memory *memory) {
    free(memory->a);
    free(memory->b);
    free(memory->c);
    free(memory->panels);
    free(memory->left);
    free(memory->packed);
}

static void multiply(product_case p, const product_memory *memory, int kind) {
    if (kind == PRODUCT_BLAS) {
        mb_gemm_parallel(false, true, p.m, p.n, p.k, 1, memory->a, p.k, memory->b, p.k, 0, memory->c, p.n);
        return;
    }
    if (kind == PRODUCT_PACKED) {
        mb_pack_parallel(true, p.k, p.n, memory->b, p.k, memory->panels);
        mb_packed_gemm_parallel(p.m, p.n, p.k, mb_left_rows(memory->a, p.k), memory->panels, mb_to_rows(memory->c, p.n, false));
        return;
    }
    const mb_bf16_factor left = {.data = memory->left, .stride = p.k};
    const mb_bf16_factor right = {.data = memory->b, .stride = p.k, .transposed = true, .is_real = true};
    mb_bf16_store store = {.c = memory->c, .stride = p.n, .alpha = 1};
    mb_bf16_write(memory->a, p.m * p.k, memory->left);
    mb_bf16_pack_parallel(&right, p.k, p.n, memory->packed);
    mb_bf16_gemm_parallel(p.m, p.n, p.k, &left, (mb_bf16_packed){memory->packed, mb_bf16_padded(p.k)}, mb_bf16_to_real(&store));
}

/* The largest error in units of sqrt(k), the size of a sum. */
static double largest_error(product_case p, const product_memory *memory) {
    double worst = 0;
    for (int64_t i = 0; i < p.m; i++) {
        for (int64_t j = 0; j < p.n; j++) {
            double sum = 0;
            for (int64_t q = 0; q < p.k; q++) {
                sum += (double)memory->a[i * p.k + q] * (double)memory->b[j * p.k + q];
            }
            const double off = fabs(sum - (double)memory->c[i * p.n + j]);
            worst = off >= worst ? off : isnan(off) ? INFINITY : worst;
        }
    }
    return worst / sqrt((double)p.k);
}

static mb_status check_product(product_case p, int kind, json_t *list, bool *ok, mb_error *error) {
    const double bound = 1e-5; /* sums of fp32: a wrong index or a bf16 sum is off by 1e-3 at least */
    product_memory memory = {0};
    mb_status status = allocate_product(p, &memory) ? MB_OK : out_of_memory(error);
    if (status == MB_OK) {
        for (int64_t i = 0; i < p.m * p.k; i++) {
            memory.a[i] = made_up(0, i);
        }
        for (int64_t i = 0; i < p.n * p.k; i++) {
            memory.b[i] = made_up(1, i);
        }
        multiply(p, &memory, kind);
        const double worst = largest_error(p, &memory);
        char shape[64];
        snprintf(shape, sizeof shape, "%" PRId64 "x%" PRId64 "x%" PRId64, p.m, p.n, p.k);
        *ok = *ok && worst <= bound;
        json_t *entry =
            json_pack("{s:s, s:s, s:f, s:f, s:b}", "kernel",
                      kind == PRODUCT_BLAS     ? "cblas"
                      : kind == PRODUCT_PACKED ? "fp32"
                                               : mb_bf16_kernel_name(),
                      "shape", shape, "max_error", isfinite(worst) ? worst : 1e300, "bound", bound, "ok", worst <= bound);
        status = json_array_append_new(list, entry) == 0 ? MB_OK : out_of_memory(error);
    }
    free_product(&memory);
    return status;
}

static mb_status check_products(json_t *list, bool *ok, mb_error *error) {
    static const product_case cases[] = {{128, 256, 256}, {100, 96, 64}, {33, 65, 97}, {1, 7, 5}, {70, 40, 1030}};
    mb_status status = MB_OK;
    for (size_t i = 0; i < N_PRODUCTS * sizeof cases / sizeof *cases && status == MB_OK; i++) {
        status = check_product(cases[i / N_PRODUCTS], (int)(i % N_PRODUCTS), list, ok, error);
    }
    return status;
}

/* --- gradients --- */

enum { LAYERS = 3, HIDDEN = 64, INTERMEDIATE = 96, VOCABULARY = 200, SEQUENCES = 3, LENGTH = 24 };

typedef struct gradient_check {
    mb_model *model;
    mb_tape *tape;
    mb_batch batch;
    mb_real *fp32; /* the gradient in fp32 */
} gradient_check;

static mb_status loss_of(gradient_check *g, double *loss, mb_error *error) {
    const mb_batch *batch = &g->batch;
    mb_step_sums sums;
    const mb_masked_lm_objective objective = {.seed = 1};
    const mb_status status = mb_masked_lm_accumulate(g->model, g->tape, &batch, 1, &objective, 0, &sums, error);
    *loss = sums.loss;
    return status;
}

static mb_status gradient_of(gradient_check *g, mb_dtype dtype, mb_error *error) {
    mb_params *params = mb_model_params(g->model);
    double loss;
    memset(params->grads, 0, (size_t)params->count * sizeof *params->grads);
    const mb_status status = mb_model_set_dtype(g->model, dtype, true, error);
    return status == MB_OK ? loss_of(g, &loss, error) : status;
}

static double dot(const mb_real *a, const mb_real *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

/* (L(w + h d) - L(w - h d)) / 2h for the direction d of the view's gradient, which must be the gradient's length. */
static mb_status difference_along(gradient_check *g, const mb_param *view, double length, double *slope, mb_error *error) {
    mb_params *params = mb_model_params(g->model);
    mb_real *w = params->weights + view->offset;
    const mb_real *grad = g->fp32 + view->offset;
    const double step = 0.02 * fmax(sqrt(dot(w, w, view->count)), 0.1); /* far above the rounding of a loss in fp32 */
    double losses[2] = {0};
    mb_real *kept = malloc((size_t)view->count * sizeof *kept);
    mb_status status = kept ? MB_OK : out_of_memory(error);
    for (int side = 0; side < 2 && status == MB_OK; side++) {
        memcpy(kept, w, (size_t)view->count * sizeof *kept);
        for (int64_t i = 0; i < view->count; i++) {
            w[i] += (mb_real)((side ? -step : step) * (double)grad[i] / length);
        }
        status = loss_of(g, &losses[side], error);
        memcpy(w, kept, (size_t)view->count * sizeof *kept);
    }
    free(kept);
    *slope = (losses[0] - losses[1]) / (2 * step);
    return status;
}

static mb_status check_view(gradient_check *g, const mb_param *view, json_t *list, bool *ok, mb_error *error) {
    const double bound = 0.02, least_cosine = 0.99; /* of the curvature that the step sees; of bf16's rounding */
    const mb_real *fp32 = g->fp32 + view->offset, *bf16 = mb_model_params(g->model)->grads + view->offset;
    const double length = sqrt(dot(fp32, fp32, view->count)), other = sqrt(dot(bf16, bf16, view->count));
    if (length < 1e-6) { /* a key's bias moves no probability: its gradient is rounding */
        return MB_OK;
    }
    const double cosine = dot(fp32, bf16, view->count) / fmax(length * other, 1e-30);
    double slope;
    const mb_status status = difference_along(g, view, length, &slope, error);
    if (status != MB_OK) {
        return status;
    }
    const double off = fabs(slope - length) / length;
    const bool good = off <= bound && cosine >= least_cosine;
    *ok = *ok && good;
    json_t *entry =
        json_pack("{s:s, s:f, s:f, s:f, s:f, s:b}", "tensor", view->name, "gradient", length, "difference", slope,
                  "relative_error", isfinite(off) ? off : 1e300, "bf16_cosine", isfinite(cosine) ? cosine : 0, "ok", good);
    return json_array_append_new(list, entry) == 0 ? MB_OK : out_of_memory(error);
}

static mb_status small_model(const mb_check_options *o, mb_model **model, mb_error *error) {
    mb_check_options small = *o;
    mb_model_config config = {0};
    small.size = 0;
    small.vocab_size = VOCABULARY;
    small.seq_length = LENGTH;
    mb_status status = mb_check_config(&small, &config, error);
    if (status == MB_OK) {
        config.n_layers = LAYERS;
        config.hidden_size = HIDDEN;
        config.n_heads = 2;
        config.intermediate_size = INTERMEDIATE;
        config.local_attention = LENGTH / 2;
        config.initializer_range = 0.1; /* so that every part has a share in the loss */
        status = mb_model_new(&config, MB_HEAD_MASKED_LM, (uint64_t)o->seed, model, error);
        mb_model_config_free(&config);
    }
    if (status == MB_OK) {
        mb_model_set_dropout(*model, 0, 0, 0);
    }
    return status;
}

/* fp32's gradient is kept apart; bf16's stays in the table while the losses of the differences add to another copy. */
static mb_status compare_gradients(gradient_check *g, json_t *list, bool *ok, mb_error *error) {
    mb_params *params = mb_model_params(g->model);
    const size_t n_bytes = (size_t)params->count * sizeof *params->grads;
    g->fp32 = malloc(n_bytes);
    mb_real *bf16 = malloc(n_bytes);
    mb_status status = g->fp32 && bf16 ? gradient_of(g, MB_F32, error) : out_of_memory(error);
    if (status == MB_OK) {
        memcpy(g->fp32, params->grads, n_bytes);
        status = gradient_of(g, MB_BF16, error);
    }
    if (status == MB_OK) {
        memcpy(bf16, params->grads, n_bytes);
        status = mb_model_set_dtype(g->model, MB_F32, true, error);
    }
    for (size_t v = 0; v < params->n_views && status == MB_OK; v++) {
        memcpy(params->grads, bf16, n_bytes);
        status = check_view(g, &params->views[v], list, ok, error);
    }
    free(bf16);
    return status;
}

static mb_status check_gradients(const mb_check_options *o, json_t *list, bool *ok, mb_error *error) {
    gradient_check g = {.tape = mb_tape_new(true)};
    const mb_made_up_text text = {.n_sequences = SEQUENCES,
                                  .length = LENGTH,
                                  .vocab_size = VOCABULARY,
                                  .mlm_probability = 0.4,
                                  .seed = (uint64_t)o->seed};
    mb_status status = g.tape ? small_model(o, &g.model, error) : out_of_memory(error);
    status = status == MB_OK ? mb_made_up_batch(&text, &g.batch, error) : status;
    status = status == MB_OK ? compare_gradients(&g, list, ok, error) : status;
    free(g.fp32);
    mb_batch_free(&g.batch);
    mb_tape_free(g.tape);
    mb_model_free(g.model);
    return status;
}

/* --- all --- */

mb_status mb_check(const mb_check_options *options, const mb_job *job, json_t **result, mb_error *error) {
    bool ok = true;
    json_t *all = json_pack("{s:o, s:[]}", "machine", mb_machine_describe(), "products");
    mb_status status = all ? check_products(json_object_get(all, "products"), &ok, error) : out_of_memory(error);
    if (status == MB_OK && options->gradients) {
        json_t *list = json_array();
        status = json_object_set_new(all, "gradients", list) == 0 ? check_gradients(options, list, &ok, error)
                                                                  : out_of_memory(error);
    }
    if (status == MB_OK && options->roofline) {
        json_t *roofline = NULL;
        status = mb_roofline(options, job, &roofline, error);
        if (status == MB_OK && json_object_set_new(all, "roofline", roofline) != 0) {
            status = out_of_memory(error);
        }
    }
    if (status == MB_OK && json_object_set_new(all, "ok", json_boolean(ok)) != 0) {
        status = out_of_memory(error);
    }
    if (status != MB_OK) {
        json_decref(all);
        return status;
    }
    *result = all;
    return MB_OK;
}
