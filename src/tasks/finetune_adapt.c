/* finetune --adapt-epochs: masked language modelling on the training texts, before their labels are looked at ("task-adaptive
 * pretraining", Gururangan et al. 2020, section 4). */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "data/batch.h"
#include "tasks/finetune_run.h"
#include "train/class_sampler.h"
#include "train/masked_lm.h"

/* The recipe of a new model (scripts/ablate/RESULTS.md), whose rate is --adapt-lr, but for fewer masks: the texts are short. */
static const double mask_probability = 0.3, sampled_share = 0.9, max_grad_norm = 1;
static const mb_schedule schedule = {MB_SCHEDULE_TRAPEZOID, 0.05, 0.5};
static const mb_optimizer_options muon = {.kind = MB_OPTIMIZER_MUON,
                                          .beta1 = 0.9,
                                          .beta2 = 0.98,
                                          .epsilon = 1e-6,
                                          .weight_decay = 0.01,
                                          .momentum = 0.95,
                                          .muon_rate = 1};
/* A step is as many examples as are so many tokens on average. */
enum { STEP_TOKENS = 2048 };

typedef struct adaptation {
    const mb_finetune_data *data;
    mb_model *model;
    mb_optimizer optimizer;
    mb_tape *tape;
    mb_masker masker;
    mb_class_sampler *sampler;
    mb_batch batch;
    int64_t examples, steps_per_epoch, n_steps; /* examples: of a step; the last of an epoch may have fewer */
} adaptation;

static mb_status out_of_memory(mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "out of memory for --adapt-epochs");
}

/* --- one step --- */

static void add_example(adaptation *a, uint32_t epoch, int64_t example) {
    const mb_classifier_set *set = &a->data->train;
    mb_batch *batch = &a->batch;
    const int64_t begin = set->starts[example], length = set->starts[example + 1] - begin, first_row = batch->n_tokens;
    memcpy(batch->ids + first_row, set->ids + begin, (size_t)length * sizeof *batch->ids);
    memcpy(batch->types + first_row, set->types + begin, (size_t)length * sizeof *batch->types);
    batch->n_masked +=
        mb_masker_apply(&a->masker, epoch, (uint32_t)example, batch->ids + first_row, (int32_t)length, (int32_t)first_row,
                        batch->masked_rows + batch->n_masked, batch->masked_targets + batch->n_masked);
    batch->n_tokens += length;
    batch->max_length = length > batch->max_length ? (int32_t)length : batch->max_length;
    batch->offsets[++batch->n_sequences] = (int32_t)batch->n_tokens;
}

static mb_status accumulate(void *context, int64_t step, mb_step_sums *sums, mb_error *error) {
    adaptation *a = context;
    const uint64_t seed = (uint64_t)a->data->options->seed, n = (uint64_t)a->data->train.n;
    const uint32_t epoch = (uint32_t)(step / a->steps_per_epoch);
    const uint64_t begin = (uint64_t)(step % a->steps_per_epoch * a->examples), end = begin + (uint64_t)a->examples;
    mb_batch_begin(&a->batch);
    for (uint64_t i = begin; i < end && i < n; i++) {
        add_example(a, epoch, (int64_t)mb_rng_permute(seed, MB_STREAM_SHUFFLE, epoch, i, n));
    }
    if (a->batch.n_masked == 0) {
        return mb_fail(error, MB_ERROR_FORMAT, "--adapt-epochs has nothing to learn from '%s': too many of its texts are empty",
                       a->data->options->train);
    }
    const bool sampled = (double)step < sampled_share * (double)a->n_steps;
    const mb_masked_lm_objective objective = {.seed = seed, .sampler = sampled ? a->sampler : NULL};
    const mb_batch *const group[] = {&a->batch};
    return mb_masked_lm_accumulate(a->model, a->tape, group, 1, &objective, step, sums, error);
}

/* --- setting up --- */

static mb_status load_model(adaptation *a, mb_error *error) {
    const mb_finetune_options *o = a->data->options;
    mb_status status = mb_model_load(o->model, MB_HEAD_MASKED_LM, NULL, (uint64_t)o->seed, true, &a->model, error);
    if (status == MB_OK && mb_model_n_new_views(a->model) > 0) {
        mb_job_message(a->data->job, MB_LEVEL_WARNING,
                       "'%s' has no masked-LM head: --adapt-epochs begins with a random one, which costs the encoder something",
                       o->model);
    }
    return status;
}

static mb_status make_sampler(adaptation *a, mb_error *error) {
    const mb_classifier_set *set = &a->data->train;
    const int64_t n_pieces = mb_model_get_config(a->model)->vocab_size;
    uint64_t *counts = calloc((size_t)n_pieces, sizeof *counts);
    for (int64_t i = 0; counts != NULL && i < set->starts[set->n]; i++) {
        counts[set->ids[i]]++;
    }
    const mb_status status = counts == NULL ? out_of_memory(error) : mb_class_sampler_new(counts, n_pieces, &a->sampler, error);
    free(counts);
    return status;
}

static void plan_steps(adaptation *a) {
    const mb_classifier_set *set = &a->data->train;
    const double examples = round((double)STEP_TOKENS * (double)set->n / (double)set->starts[set->n]);
    a->examples = examples < 1 ? 1 : examples < (double)set->n ? (int64_t)examples : set->n;
    a->steps_per_epoch = (set->n + a->examples - 1) / a->examples;
    a->n_steps = (int64_t)fmax(1, ceil(a->data->options->adapt_epochs * (double)a->steps_per_epoch));
}

static mb_status set_up(adaptation *a, mb_error *error) {
    const mb_finetune_data *data = a->data;
    mb_optimizer_options options = muon;
    options.bf16 = data->job != NULL && data->job->bf16;
    plan_steps(a);
    mb_status status = load_model(a, error);
    status = status == MB_OK ? mb_model_set_dtype(a->model, options.bf16 ? MB_BF16 : MB_REAL_DTYPE, true, error) : status;
    status = status == MB_OK ? mb_optimizer_init(&a->optimizer, mb_model_params(a->model), &options, error) : status;
    status = status == MB_OK ? mb_masker_init(&a->masker, data->tokenizer, mask_probability, MB_MASK_PIECES, MB_MASK_STYLE_BERT,
                                              (uint64_t)data->options->seed, error)
                             : status;
    status = status == MB_OK ? make_sampler(a, error) : status;
    if (status != MB_OK) {
        return status;
    }
    a->tape = mb_tape_new(true);
    const bool has_room = mb_batch_reserve(&a->batch, a->examples * data->train.max_length, (int32_t)a->examples);
    return a->tape == NULL || !has_room ? out_of_memory(error) : MB_OK;
}

static void tear_down(adaptation *a) {
    mb_optimizer_free(&a->optimizer);
    mb_class_sampler_free(a->sampler);
    mb_tape_free(a->tape);
    mb_batch_free(&a->batch);
}

mb_status mb_finetune_adapt(const mb_finetune_data *data, mb_metrics *metrics, mb_model **out, mb_error *error) {
    const mb_finetune_options *o = data->options;
    adaptation a = {.data = data};
    mb_status status = set_up(&a, error);
    if (status == MB_OK) {
        mb_trainer trainer = {
            .model = a.model,
            .optimizer = &a.optimizer,
            .state = {.seed = (uint64_t)o->seed},
            .metrics = metrics,
            .job = data->job,
            .n_steps = a.n_steps,
            .learning_rate = o->adapt_lr,
            .schedule = schedule,
            .max_grad_norm = max_grad_norm,
            .log_every = o->log_every,
            .phase = "adapt",
            .context = &a,
            .accumulate = accumulate,
        };
        mb_job_message(data->job, MB_LEVEL_INFO,
                       "adapting: %" PRId64 " steps of masked language modelling on the %" PRId64 " training texts", a.n_steps,
                       data->train.n);
        status = mb_trainer_run(&trainer, error);
    }
    tear_down(&a);
    if (status != MB_OK) {
        mb_model_free(a.model);
        return status;
    }
    *out = a.model;
    return MB_OK;
}
