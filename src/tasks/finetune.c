#include "tasks/finetune.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/file.h"
#include "tasks/finetune_run.h"
#include "tasks/training_record.h"
#include "train/lock.h"

static mb_status out_of_memory(mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "out of memory");
}

/* --- what is told about the runs --- */

static const double *metric(const mb_class_scores *scores, int which) {
    const double *const all[] = {&scores->accuracy, &scores->macro_f1, &scores->matthews};
    return all[which];
}
static const char *const metric_names[] = {"accuracy", "macro_f1", "matthews"};
enum { N_METRICS = 3 };

/* Mean and sample standard deviation over the runs, one object each. */
static mb_status add_statistics(const mb_class_scores *scores, int64_t n, json_t *result, mb_error *error) {
    json_t *means = json_object(), *deviations = json_object();
    int failed = means == NULL || deviations == NULL;
    for (int m = 0; m < N_METRICS; m++) {
        double mean = 0, squares = 0;
        for (int64_t i = 0; i < n; i++) {
            mean += *metric(&scores[i], m) / (double)n;
        }
        for (int64_t i = 0; i < n; i++) {
            squares += (*metric(&scores[i], m) - mean) * (*metric(&scores[i], m) - mean);
        }
        failed |= json_object_set_new(means, metric_names[m], json_real(mean));
        failed |= json_object_set_new(deviations, metric_names[m], json_real(n > 1 ? sqrt(squares / (double)(n - 1)) : 0));
    }
    failed |= json_object_set_new(result, "mean", means);
    failed |= json_object_set_new(result, "std", deviations);
    return failed ? out_of_memory(error) : MB_OK;
}

static mb_status describe_run(const mb_finetune_outcome *outcome, json_t *list, mb_error *error) {
    json_t *object = json_pack("{s:I, s:f}", "seed", (json_int_t)outcome->seed, "epoch", outcome->epoch);
    mb_status status = object == NULL ? out_of_memory(error) : MB_OK;
    if (status == MB_OK && outcome->scores.n > 0) {
        status = mb_class_scores_to_json(&outcome->scores, object, error);
    }
    if (status != MB_OK) {
        json_decref(object);
        return status;
    }
    return json_array_append_new(list, object) == 0 ? MB_OK : out_of_memory(error);
}

/* --- all runs --- */

typedef struct results {
    mb_finetune_outcome best;
    int64_t best_number;
    mb_class_scores *scores; /* one a run */
    json_t *runs;
} results;

/* Makes *best the mean of the first `number` runs: a uniform soup (Wortsman et al. 2022, "Model soups"). */
static void merge(results *all, mb_finetune_outcome *outcome, int64_t number) {
    if (number == 1) {
        all->best = *outcome;
        return;
    }
    mb_params *mean = mb_model_params(all->best.model);
    const mb_params *last = mb_model_params(outcome->model);
    for (int64_t i = 0; i < mean->count; i++) {
        mean->weights[i] += (last->weights[i] - mean->weights[i]) / (mb_real)number;
    }
    mb_finetune_outcome_free(outcome);
}

static void keep_if_best(results *all, mb_finetune_outcome *outcome, int64_t number) {
    if (number == 1 || outcome->scores.accuracy > all->best.scores.accuracy) {
        mb_finetune_outcome_free(&all->best);
        all->best = *outcome;
        all->best_number = number;
    } else {
        mb_finetune_outcome_free(outcome);
    }
}

static mb_status run_all(const mb_finetune_data *data, mb_metrics *metrics, results *all, mb_error *error) {
    const int64_t n = data->options->runs;
    all->scores = calloc((size_t)n, sizeof *all->scores);
    all->runs = json_array();
    if (all->scores == NULL || all->runs == NULL) {
        return out_of_memory(error);
    }
    mb_status status = MB_OK;
    for (int64_t i = 0; i < n && status == MB_OK; i++) {
        mb_finetune_outcome outcome = {0};
        status = mb_finetune_run(data, i + 1, metrics, &outcome, error);
        if (status != MB_OK) {
            break;
        }
        all->scores[i] = outcome.scores;
        status = describe_run(&outcome, all->runs, error);
        if (data->options->merge_runs) {
            merge(all, &outcome, i + 1);
        } else {
            keep_if_best(all, &outcome, i + 1);
        }
    }
    return status == MB_OK && data->options->merge_runs ? mb_finetune_score(data, &all->best, error) : status;
}

static mb_status describe_results(const mb_finetune_data *data, const results *all, json_t **out, mb_error *error) {
    const mb_finetune_options *o = data->options;
    json_t *result = json_pack("{s:s, s:s, s:i, s:I, s:I, s:s}", "model", o->out, "task", mb_task_names[o->task], "labels",
                               (int)data->config.n_labels, "train_examples", (json_int_t)data->train.n, "dev_examples",
                               (json_int_t)data->dev.n, "kept",
                               o->merge_runs   ? "mean of the runs"
                               : data->has_dev ? "best epoch on dev"
                                               : "last epoch");
    mb_status status = result == NULL ? out_of_memory(error) : MB_OK;
    if (status == MB_OK && !o->merge_runs &&
        (json_object_set_new(result, "kept_run", json_integer(all->best_number)) != 0 ||
         json_object_set_new(result, "kept_epoch", json_real(all->best.epoch)) != 0)) {
        status = out_of_memory(error);
    }
    if (status == MB_OK && data->has_dev) {
        status = mb_class_scores_to_json(&all->best.scores, result, error);
        status = status == MB_OK && o->runs > 1 ? add_statistics(all->scores, o->runs, result, error) : status;
    }
    if (status == MB_OK && json_object_set(result, "runs", all->runs) != 0) {
        status = out_of_memory(error);
    }
    if (status != MB_OK) {
        json_decref(result);
        return status;
    }
    *out = result;
    return MB_OK;
}

/* --- writing --- */

static mb_status save_record(const mb_finetune_data *data, const json_t *result, mb_error *error) {
    const mb_finetune_options *o = data->options;
    json_t *record = NULL;
    mb_status status = mb_training_record_new("finetune", o->seed, o->configuration, &record, error);
    if (status == MB_OK && json_object_set_new(record, "task", json_string(mb_task_names[o->task])) != 0) {
        status = out_of_memory(error);
    }
    status = status == MB_OK ? mb_training_record_add_files(record, "train", &o->train, 1, error) : status;
    if (status == MB_OK && o->dev != NULL) {
        status = mb_training_record_add_files(record, "dev", &o->dev, 1, error);
    }
    if (status == MB_OK && json_object_set(record, "result", (json_t *)(uintptr_t)result) != 0) {
        status = out_of_memory(error);
    }
    status = status == MB_OK ? mb_training_record_save(record, o->out, error) : status;
    json_decref(record);
    return status;
}

/* The directory holds nothing but the records of a run until there is a model worth keeping. */
static mb_status train_and_save(mb_finetune_data *data, json_t **result, mb_error *error) {
    const char *out = data->options->out;
    results all = {0};
    mb_metrics *metrics = NULL;
    json_t *summary = NULL;
    mb_error close_error = {0};
    mb_status status = mb_metrics_open(out, -1, &metrics, error);
    if (status == MB_OK && data->options->adapt_epochs > 0) {
        status = mb_finetune_adapt(data, metrics, &data->adapted, error);
    }
    status = status == MB_OK ? run_all(data, metrics, &all, error) : status;
    if (mb_metrics_close(metrics, &close_error) != MB_OK && status == MB_OK) {
        status = mb_fail(error, close_error.status, "%s", close_error.message);
    }
    status = status == MB_OK ? mb_model_save(all.best.model, out, error) : status;
    status = status == MB_OK ? mb_tokenizer_save(data->tokenizer, out, error) : status;
    status = status == MB_OK ? describe_results(data, &all, &summary, error) : status;
    status = status == MB_OK ? save_record(data, summary, error) : status;
    mb_finetune_outcome_free(&all.best);
    free(all.scores);
    json_decref(all.runs);
    if (status != MB_OK) {
        json_decref(summary);
        return status;
    }
    *result = summary;
    return MB_OK;
}

mb_status mb_finetune(const mb_finetune_options *options, const mb_job *job, json_t **result, mb_error *error) {
    *result = NULL;
    mb_finetune_data data = {.options = options, .job = job};
    mb_lock *lock = NULL;
    mb_status status = mb_finetune_options_check(options, error);
    status = status == MB_OK ? mb_finetune_data_load(&data, error) : status;
    const bool out_existed = status == MB_OK && mb_path_exists(options->out);
    status = status == MB_OK ? mb_lock_acquire(options->out, &lock, error) : status;
    if (status == MB_OK) {
        status = train_and_save(&data, result, error);
        if (status != MB_OK && !out_existed) {
            mb_path_remove(options->out, NULL); /* the first error is the one to report */
        }
    }
    mb_lock_release(lock);
    mb_finetune_data_free(&data);
    return status;
}
