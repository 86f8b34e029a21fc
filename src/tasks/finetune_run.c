/* finetune: one run. */
#include "tasks/finetune_run.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_EMBEDDINGS = 0 }; /* the first view of every model; a classifier reads them as rows alone */

/* A run while it trains. */
typedef struct run {
    const mb_finetune_data *data;
    mb_finetune_outcome *outcome;
    mb_optimizer optimizer;
    mb_tape *tape, *inference;
    mb_classifier_batch train_batch, dev_batch;
    mb_real *best_weights; /* of the best epoch so far; NULL without dev */
    int64_t number, steps_per_epoch;
} run;

static mb_status out_of_memory(mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "out of memory");
}

/* --- the trainer's hooks --- */

static mb_status accumulate(void *context, int64_t step, mb_step_sums *sums, mb_error *error) {
    run *r = context;
    const mb_tokenizer *tokenizer = r->data->tokenizer;
    const mb_classifier_trainee trainee = {
        .model = r->outcome->model,
        .tape = r->tape,
        .optimizer = &r->optimizer,
        .seed = r->outcome->seed,
        .word_dropout = {.probability = r->data->options->word_dropout,
                         .mask_id = mb_tokenizer_special(tokenizer, MB_SPECIAL_MASK),
                         .cls_id = mb_tokenizer_special(tokenizer, MB_SPECIAL_CLS),
                         .sep_id = mb_tokenizer_special(tokenizer, MB_SPECIAL_SEP)},
    };
    return mb_classifier_accumulate(&trainee, &r->data->train, &r->train_batch, r->data->options->grad_accum, step, sums,
                                    error);
}

/* A run that went astray early, by too large steps, ends at the shares of the labels: its accuracy alone may look well. */
static void warn_of_one_answer(const run *r) {
    if (r->outcome->scores.n_answers == 1 && r->outcome->scores.majority < 1) {
        mb_job_message(r->data->job, MB_LEVEL_WARNING,
                       "run %" PRId64 " gives all %" PRId64 " dev texts the same label: it has learnt nothing but the labels' "
                       "shares. Try a lower --lr (it was %g), a longer --warmup, more --epochs or another --seed",
                       r->number, r->outcome->scores.n, r->data->options->lr);
    }
}

/* Scores the epoch and keeps its weights if it is the best so far. */
static mb_status evaluate(void *context, int64_t step, bool final, json_t *record, mb_error *error) {
    run *r = context;
    mb_class_scores scores = {0};
    mb_status status =
        mb_classifier_evaluate(r->outcome->model, r->inference, &r->data->dev, &r->dev_batch, r->data->job, &scores, error);
    status = status == MB_OK ? mb_class_scores_to_json(&scores, record, error) : status;
    if (status != MB_OK) {
        return status;
    }
    const double epoch = (double)step / (double)r->steps_per_epoch;
    if (json_object_set_new(record, "epoch", json_real(epoch)) != 0) {
        return out_of_memory(error);
    }
    mb_job_message(r->data->job, MB_LEVEL_INFO, "run %" PRId64 ", epoch %.3g: dev accuracy %.4f, macro-F1 %.4f, loss %.4f",
                   r->number, epoch, scores.accuracy, scores.macro_f1, scores.loss);
    const mb_class_scores *best = &r->outcome->scores;
    if (best->n == 0 || scores.accuracy > best->accuracy || (scores.accuracy == best->accuracy && scores.loss < best->loss)) {
        const mb_params *params = mb_model_params(r->outcome->model);
        memcpy(r->best_weights, params->weights, (size_t)params->count * sizeof *params->weights);
        r->outcome->scores = scores;
        r->outcome->epoch = epoch;
    }
    if (final) {
        warn_of_one_answer(r);
    }
    return MB_OK;
}

/* --- setting up --- */

static mb_status make_model(run *r, mb_error *error) {
    const mb_finetune_options *o = r->data->options;
    mb_model **model = &r->outcome->model;
    /* Weights have a mean that is worth something only if they began as the same. */
    const uint64_t seed = o->merge_runs ? (uint64_t)o->seed : r->outcome->seed;
    mb_status status = o->from_scratch
                           ? mb_model_new(&r->data->config, MB_HEAD_CLASSIFIER, seed, model, error)
                           : mb_model_load(o->model, MB_HEAD_CLASSIFIER, &r->data->config, seed, true, model, error);
    if (status == MB_OK && r->number == 1 && !o->from_scratch) {
        mb_job_message(r->data->job, MB_LEVEL_INFO,
                       "%zu tensors of the classifier are not in '%s' and begin with random weights",
                       mb_model_n_new_views(*model), o->model);
    }
    if (status == MB_OK && r->data->adapted != NULL) {
        mb_params_copy_weights(mb_model_params(*model), mb_model_params(r->data->adapted));
    }
    if (status == MB_OK) {
        mb_model_set_rates(*model, o->layer_decay, o->word_rate);
    }
    if (status == MB_OK && o->freeze_encoder) {
        mb_model_freeze_encoder(*model, true);
    }
    return status;
}

static mb_status set_up(run *r, mb_error *error) {
    const mb_finetune_options *o = r->data->options;
    const mb_optimizer_options adamw = {
        .beta1 = o->adam_beta1, .beta2 = o->adam_beta2, .epsilon = o->adam_eps, .weight_decay = o->weight_decay};
    mb_status status = make_model(r, error);
    status = status == MB_OK && r->data->job && r->data->job->bf16 ? mb_model_set_dtype(r->outcome->model, MB_BF16, true, error)
                                                                   : status;
    status = status == MB_OK ? mb_optimizer_init(&r->optimizer, mb_model_params(r->outcome->model), &adamw, error) : status;
    if (status == MB_OK && !o->freeze_encoder) {
        status = mb_optimizer_update_rows(&r->optimizer, mb_model_params(r->outcome->model), WORD_EMBEDDINGS, error);
    }
    status = status == MB_OK ? mb_classifier_batch_new(&r->data->train, o->batch_size, &r->train_batch, error) : status;
    if (status == MB_OK && r->data->has_dev) {
        const size_t count = (size_t)mb_model_params(r->outcome->model)->count;
        status = mb_classifier_batch_new(&r->data->dev, o->batch_size, &r->dev_batch, error);
        r->best_weights = calloc(count, sizeof *r->best_weights);
        status = status == MB_OK && r->best_weights == NULL ? out_of_memory(error) : status;
    }
    r->tape = mb_tape_new(true);
    r->inference = mb_tape_new(false);
    return status == MB_OK && (r->tape == NULL || r->inference == NULL) ? out_of_memory(error) : status;
}

static void tear_down(run *r) {
    mb_optimizer_free(&r->optimizer);
    mb_classifier_batch_free(&r->train_batch);
    mb_classifier_batch_free(&r->dev_batch);
    mb_tape_free(r->tape);
    mb_tape_free(r->inference);
    free(r->best_weights);
}

mb_status mb_finetune_run(const mb_finetune_data *data, int64_t number, mb_metrics *metrics, mb_finetune_outcome *outcome,
                          mb_error *error) {
    const mb_finetune_options *o = data->options;
    run r = {.data = data, .outcome = outcome, .number = number};
    *outcome = (mb_finetune_outcome){.seed = (uint64_t)(o->seed + number - 1), .epoch = o->epochs};
    mb_status status = set_up(&r, error);
    if (status == MB_OK) {
        const double batches = (double)mb_classifier_batches_per_epoch(&data->train, r.train_batch.capacity);
        r.steps_per_epoch = (int64_t)ceil(batches / (double)o->grad_accum);
        mb_trainer trainer = {
            .model = outcome->model,
            .optimizer = &r.optimizer,
            .state = {.seed = outcome->seed},
            .metrics = metrics,
            .job = data->job,
            .n_steps = (int64_t)fmax(1, ceil(o->epochs * batches / (double)o->grad_accum)),
            .learning_rate = o->lr,
            .schedule = {(mb_schedule_shape)o->lr_schedule, o->warmup, o->decay_fraction},
            .max_grad_norm = o->max_grad_norm,
            .log_every = o->log_every,
            .eval_every = r.steps_per_epoch,
            .run = number,
            .phase = "train",
            .context = &r,
            .accumulate = accumulate,
            .evaluate = data->has_dev ? evaluate : NULL,
        };
        status = mb_trainer_run(&trainer, error);
    }
    if (status == MB_OK && data->has_dev) {
        mb_params *params = mb_model_params(outcome->model);
        memcpy(params->weights, r.best_weights, (size_t)params->count * sizeof *params->weights);
        mb_model_pack_weights(outcome->model);
    }
    tear_down(&r);
    if (status != MB_OK) {
        mb_finetune_outcome_free(outcome);
    }
    return status;
}

mb_status mb_finetune_score(const mb_finetune_data *data, mb_finetune_outcome *outcome, mb_error *error) {
    mb_model_pack_weights(outcome->model);
    if (!data->has_dev) {
        return MB_OK;
    }
    mb_classifier_batch batch = {0};
    mb_tape *inference = mb_tape_new(false);
    mb_status status = inference == NULL ? out_of_memory(error) : MB_OK;
    status = status == MB_OK ? mb_classifier_batch_new(&data->dev, data->options->batch_size, &batch, error) : status;
    status = status == MB_OK
                 ? mb_classifier_evaluate(outcome->model, inference, &data->dev, &batch, data->job, &outcome->scores, error)
                 : status;
    mb_classifier_batch_free(&batch);
    mb_tape_free(inference);
    return status;
}

void mb_finetune_outcome_free(mb_finetune_outcome *outcome) {
    mb_model_free(outcome->model);
    *outcome = (mb_finetune_outcome){0};
}
