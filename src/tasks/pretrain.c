#include "tasks/pretrain.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/file.h"
#include "tasks/pretrain_run.h"
#include "tasks/training_record.h"
#include "train/checkpoint.h"
#include "train/lock.h"
#include "train/trainer.h"

/* --- the trainer's hooks --- */

static void set_depth(mb_pretrain_run *run, int64_t step) {
    const int32_t depth = mb_pretrain_depth_at(run, run->state->progress);
    if (depth > mb_model_depth(run->model)) {
        mb_job_message(run->job, MB_LEVEL_INFO, "from step %" PRId64 " on all %d layers learn", step + 1, (int)depth);
    }
    mb_model_set_depth(run->model, depth);
}

static mb_status accumulate(void *context, int64_t step, mb_step_sums *sums, mb_error *error) {
    mb_pretrain_run *run = context;
    const int32_t n = mb_pretrain_parts_at(run, run->state->progress);
    set_depth(run, step);
    if (run->options->budget_seconds > 0) {
        mb_batcher_set_progress(run->train_batcher, run->state->progress);
    }
    const mb_masked_lm_objective objective = mb_pretrain_objective_at(run, run->state->progress);
    mb_status status = mb_prefetch_next(run->prefetch, n, run->group, error);
    return status != MB_OK
               ? status
               : mb_masked_lm_accumulate(run->model, run->tape, run->group, n, &objective, run->state->n_batches, sums, error);
}

static mb_status evaluate(void *context, int64_t step, bool final, json_t *record, mb_error *error) {
    mb_pretrain_run *run = context;
    const mb_masked_lm_evaluation what = {
        .batcher = run->valid_batcher,
        .max_sequences = final ? MB_PRETRAIN_FINAL_EVAL_SEQUENCES : MB_PRETRAIN_EVAL_SEQUENCES,
        .next_sentence = run->options->nsp,
        .job = run->job,
    };
    mb_status status = mb_masked_lm_evaluate(run->model, run->inference, &what, &run->eval_batch, &run->score, error);
    status = status == MB_OK ? mb_masked_lm_score_to_json(&run->score, record, error) : status;
    if (status == MB_OK && json_object_set_new(record, "unigram_entropy", json_real(run->unigram_entropy)) != 0) {
        status = mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    if (status == MB_OK) {
        const char *stage = mb_masked_lm_stage(run->score.loss, run->unigram_entropy);
        mb_job_message(run->job, MB_LEVEL_INFO,
                       "step %" PRId64 ": held-out loss %.4f%s%s (unigram entropy %.4f), accuracy %.4f on %" PRId64
                       " sequences",
                       step, run->score.loss, stage != NULL ? ", " : "", stage != NULL ? stage : "", run->unigram_entropy,
                       run->score.accuracy, run->score.n_sequences);
        mb_pretrain_warn_of_plateau(run, step);
    }
    return status;
}

/* --- is OUT free, or does it hold what is to be resumed? --- */

static mb_status inspect_out(mb_pretrain_run *run, mb_error *error) {
    const mb_pretrain_options *o = run->options;
    size_t n_checkpoints = 0;
    char *weights = mb_path_join(o->out, "model.safetensors");
    mb_status status =
        weights == NULL ? mb_fail(error, MB_ERROR_MEMORY, "out of memory") : mb_checkpoint_count(o->out, &n_checkpoints, error);
    const bool has_model = status == MB_OK && mb_path_exists(weights);
    free(weights);
    if (status != MB_OK) {
        return status;
    }
    if (!o->resume && (has_model || n_checkpoints > 0)) {
        return mb_fail(error, MB_ERROR_USAGE,
                       "'%s' already holds a %s: go on with it by --resume, give another --out, or remove it", o->out,
                       has_model ? "model" : "run");
    }
    if (o->resume && n_checkpoints == 0) {
        if (has_model) {
            return mb_fail(error, MB_ERROR_USAGE,
                           "'%s' holds a model but no checkpoints to resume from: go on from the model by --init '%s' and "
                           "another --out",
                           o->out, o->out);
        }
        mb_job_message(run->job, MB_LEVEL_INFO, "no checkpoint in '%s' yet: starting at the beginning", o->out);
    }
    run->resuming = n_checkpoints > 0;
    return MB_OK;
}

static mb_status load_checkpoint(mb_pretrain_run *run, mb_train_state *state, mb_error *error) {
    const mb_pretrain_options *o = run->options;
    mb_train_state found_state = {0};
    bool found = false;
    mb_status status = mb_checkpoint_load_newest(o->out, run->model, &run->optimizer, &found_state, &found, run->job, error);
    if (status != MB_OK || !found) {
        return status;
    }
    if (found_state.tokenizer_fingerprint != state->tokenizer_fingerprint) {
        return mb_fail(error, MB_ERROR_MISMATCH,
                       "the run in '%s' was made with another tokenizer than '%s': resume with its own", o->out,
                       o->tokenizer != NULL ? o->tokenizer : o->out);
    }
    if (found_state.corpus_fingerprint != state->corpus_fingerprint) {
        return mb_fail(error, MB_ERROR_MISMATCH,
                       "the run in '%s' was made with another text than --corpus: resume with the same files, or begin a run "
                       "with --init '%s' and another --out",
                       o->out, o->out);
    }
    status = mb_training_record_report_changes(o->out, o->configuration, run->job, error);
    if (status == MB_OK) {
        found_state.seed = state->seed;
        found_state.n_batches = found_state.n_batches < 0 ? found_state.step * run->n_parts : found_state.n_batches;
        *state = found_state;
        mb_job_message(run->job, MB_LEVEL_INFO, "resuming after step %" PRId64 ", %.0f seconds into the run", state->step,
                       state->elapsed_seconds);
    }
    return status;
}

/* --- the record --- */

static mb_status new_record(mb_pretrain_run *run, json_t **out, mb_error *error) {
    const mb_pretrain_options *o = run->options;
    json_t *record = NULL;
    mb_status status = mb_training_record_new("pretrain", o->seed, o->configuration, &record, error);
    status = status == MB_OK ? mb_training_record_add_shard(record, "corpus", &o->corpus, &run->train, error) : status;
    if (status == MB_OK) {
        const mb_text_list *files = o->valid.n > 0 ? &o->valid : &o->corpus;
        status = mb_training_record_add_shard(record, "held_out", files, &run->valid, error);
    }
    if (status == MB_OK &&
        (json_object_set_new(record, "tokenizer", json_sprintf("%016" PRIx64, mb_tokenizer_fingerprint(run->tokenizer))) != 0 ||
         json_object_set_new(record, "parameters", json_integer(mb_params_n_weights(mb_model_params(run->model)))) != 0)) {
        status = mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    if (status != MB_OK) {
        json_decref(record);
        return status;
    }
    *out = record;
    return MB_OK;
}

static mb_status describe_result(const mb_pretrain_run *run, const mb_train_state *state, json_t **out, mb_error *error) {
    const double seconds = fmax(state->elapsed_seconds, 1e-9);
    json_t *result = json_pack(
        "{s:s, s:I, s:I, s:f, s:f, s:I, s:f}", "model", run->options->out, "steps", (json_int_t)state->step, "tokens",
        (json_int_t)state->n_tokens_seen, "seconds", seconds, "tokens_per_second", (double)state->n_tokens_seen / seconds,
        "parameters", (json_int_t)mb_params_n_weights(mb_model_params(run->model)), "unigram_entropy", run->unigram_entropy);
    mb_status status = result == NULL ? mb_fail(error, MB_ERROR_MEMORY, "out of memory")
                                      : mb_masked_lm_score_to_json(&run->score, result, error);
    if (status != MB_OK) {
        json_decref(result);
        return status;
    }
    *out = result;
    return MB_OK;
}

/* --- the run --- */

static int64_t count_steps(const mb_pretrain_run *run) {
    const mb_pretrain_options *o = run->options;
    if (o->steps > 0) {
        return o->steps;
    }
    const double epochs = o->epochs > 0 ? o->epochs : 1;
    const double batches = epochs * (double)mb_batcher_batches_per_epoch(run->train_batcher);
    const double mean_share = 1 - 0.5 * (1 - MB_PRETRAIN_RAMP_BEGIN) * o->batch_ramp;
    return (int64_t)fmax(1, ceil(batches / (mean_share * (double)run->n_parts)));
}

/* Micro-batches of a run by steps. */
static int64_t count_batches(const mb_pretrain_run *run, int64_t n_steps) {
    int64_t n = 0, step = 0;
    for (; step < n_steps && (double)step < run->options->batch_ramp * (double)n_steps; step++) {
        n += mb_pretrain_parts_at(run, (double)step / (double)n_steps);
    }
    return n + (n_steps - step) * run->n_parts;
}

static mb_trainer new_trainer(mb_pretrain_run *run) {
    const mb_pretrain_options *o = run->options;
    return (mb_trainer){
        .model = run->model,
        .optimizer = &run->optimizer,
        .state = {.seed = (uint64_t)o->seed,
                  .elapsed_seconds = run->begun_seconds,
                  .corpus_fingerprint = run->train.fingerprint,
                  .tokenizer_fingerprint = mb_tokenizer_fingerprint(run->tokenizer)},
        .job = run->job,
        .n_steps = count_steps(run),
        .budget_seconds = o->budget_seconds,
        .learning_rate = o->lr,
        .schedule = {(mb_schedule_shape)o->lr_schedule, o->warmup, o->decay_fraction},
        .max_grad_norm = o->max_grad_norm,
        .log_every = o->log_every,
        .eval_every = o->eval_every,
        .save_every = o->save_every,
        .keep = o->keep,
        .out_dir = o->out,
        .phase = "train",
        .unigram_entropy = run->unigram_entropy,
        .usual_loss = mb_pretrain_is_usual(o),
        .context = run,
        .accumulate = accumulate,
        .evaluate = evaluate,
    };
}

/* From a whole setup to a finished directory. */
static mb_status train(mb_pretrain_run *run, json_t **result, mb_error *error) {
    const mb_pretrain_options *o = run->options;
    const int32_t slots = 2 * run->n_parts;
    mb_trainer trainer = new_trainer(run);
    run->state = &trainer.state;
    json_t *record = NULL, *summary = NULL;
    mb_error close_error = {0};
    mb_status status = run->resuming ? load_checkpoint(run, &trainer.state, error) : MB_OK;
    status = status == MB_OK ? new_record(run, &record, error) : status;
    status = status == MB_OK ? mb_tokenizer_save(run->tokenizer, o->out, error) : status;
    status = status == MB_OK ? mb_training_record_save(record, o->out, error) : status;
    if (status == MB_OK) {
        status = mb_metrics_open(o->out, run->resuming ? trainer.state.step : -1, &trainer.metrics, error);
    }
    if (status == MB_OK) {
        if (o->budget_seconds > 0) {
            mb_batcher_set_progress(run->train_batcher, trainer.state.progress);
        } else {
            mb_batcher_set_run_length(run->train_batcher, count_batches(run, trainer.n_steps));
        }
        status = mb_prefetch_new(run->train_batcher, trainer.state.n_batches, slots, &run->prefetch, error);
    }
    status = status == MB_OK ? mb_trainer_run(&trainer, error) : status;
    status = status == MB_OK ? mb_model_save(run->model, o->out, error) : status;
    status = status == MB_OK ? describe_result(run, &trainer.state, &summary, error) : status;
    if (status == MB_OK && json_object_set(record, "result", summary) != 0) {
        status = mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    status = status == MB_OK ? mb_training_record_save(record, o->out, error) : status;
    if (mb_metrics_close(trainer.metrics, &close_error) != MB_OK && status == MB_OK) {
        status = mb_fail(error, close_error.status, "%s", close_error.message);
    }
    run->state = NULL; /* ends with this call */
    json_decref(record);
    if (status != MB_OK) {
        json_decref(summary);
        return status;
    }
    *result = summary;
    return MB_OK;
}

/* Setup may fail on bad input; then a directory that did not exist before must not exist after. An interrupted one stays, for
 * the token shards in it. */
static mb_status set_up(mb_pretrain_run *run, bool out_existed, mb_error *error) {
    mb_status status = mb_pretrain_tokenizer(run, error);
    status = status == MB_OK ? mb_pretrain_data(run, error) : status;
    status = status == MB_OK ? mb_pretrain_model(run, mb_tokenizer_vocab_size(run->tokenizer), error) : status;
    if (status != MB_OK && status != MB_ERROR_INTERRUPTED && !out_existed) {
        mb_path_remove(run->options->out, NULL); /* the first error is the one to report */
    }
    return status;
}

static mb_status run_for_real(mb_pretrain_run *run, json_t **result, mb_error *error) {
    const bool out_existed = mb_path_exists(run->options->out);
    mb_lock *lock = NULL;
    mb_status status = inspect_out(run, error);
    status = status == MB_OK ? mb_lock_acquire(run->options->out, &lock, error) : status;
    status = status == MB_OK ? set_up(run, out_existed, error) : status;
    status = status == MB_OK ? train(run, result, error) : status;
    mb_lock_release(lock);
    return status;
}

static mb_status run_dry(mb_pretrain_run *run, json_t **result, mb_error *error) {
    const mb_pretrain_options *o = run->options;
    size_t vocab_size = (size_t)o->vocab_size;
    mb_status status = MB_OK;
    if (o->tokenizer != NULL || o->init != NULL) {
        status = mb_pretrain_tokenizer(run, error);
        vocab_size = status == MB_OK ? mb_tokenizer_vocab_size(run->tokenizer) : 0;
    }
    status = status == MB_OK ? mb_pretrain_model(run, vocab_size, error) : status;
    return status == MB_OK ? mb_pretrain_estimate(run, result, error) : status;
}

mb_status mb_pretrain(const mb_pretrain_options *options, const mb_job *job, json_t **result, mb_error *error) {
    *result = NULL;
    mb_status status = mb_pretrain_options_check(options, error);
    if (status != MB_OK) {
        return status;
    }
    mb_pretrain_run run = {.options = options, .job = job};
    mb_pretrain_tell_recipe(options, job);
    mb_pretrain_cut_batches(&run);
    status = options->dry_run ? run_dry(&run, result, error) : run_for_real(&run, result, error);
    mb_pretrain_run_free(&run);
    return status;
}
