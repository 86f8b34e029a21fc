/* finetune: options, and the files as examples. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "tasks/finetune_run.h"
#include "tasks/tokenizer_fit.h"
#include "train/schedule.h"

#define FIELD(name) offsetof(mb_finetune_options, name)
const mb_option mb_finetune_option_table[] = {
    {"model", MB_OPTION_TEXT, FIELD(model), NULL, "DIR", .help = "the pretrained model directory", .required = true},
    {"task", MB_OPTION_CHOICE, FIELD(task), "classify", NULL,
     .help = "columns: classify label, text; pair label, text_a, text_b", .choices = mb_task_names},
    {"train", MB_OPTION_TEXT, FIELD(train), NULL, "FILE", .help = "TSV with a header line, or JSONL", .required = true},
    {"dev", MB_OPTION_TEXT, FIELD(dev), NULL, "FILE", .help = "scored after every epoch; the best epoch is kept"},
    {"out", MB_OPTION_TEXT, FIELD(out), NULL, "DIR", .help = "the model directory to make", .required = true},
    {"epochs", MB_OPTION_REAL, FIELD(epochs), "3", "E", .help = "passes over the training file", .exclusive_min = true},
    {"lr", MB_OPTION_REAL, FIELD(lr), "5e-5", "RATE", .help = "peak learning rate", .exclusive_min = true},
    {"batch-size", MB_OPTION_INT, FIELD(batch_size), "32", "B", .help = "examples of a batch", .min = 1, .max = 65536},
    {"grad-accum", MB_OPTION_INT, FIELD(grad_accum), "1", "N", .help = "batches of one step", .min = 1, .max = 65536},
    {"max-length", MB_OPTION_INT, FIELD(max_length), "128", "N", .help = "tokens of an example; longer ones are cut", .min = 3,
     .max = 8192},
    {"warmup", MB_OPTION_REAL, FIELD(warmup), "0.1", "F", .help = "share of the run in which the rate rises", .min = 0,
     .max = 1},
    {"lr-schedule", MB_OPTION_CHOICE, FIELD(lr_schedule), "linear", NULL, .help = "how the rate falls after that",
     .choices = mb_schedule_names},
    {"decay-fraction", MB_OPTION_REAL, FIELD(decay_fraction), "0.5", "F",
     .help = "share of the run in which the rate of a trapezoid falls", .min = 0, .max = 1},
    {"weight-decay", MB_OPTION_REAL, FIELD(weight_decay), "0.01", "D", .help = "of matrices; biases and LayerNorm have none",
     .min = 0, .max = 100},
    {"adam-beta1", MB_OPTION_REAL, FIELD(adam_beta1), "0.9", "B", .help = "decay of the first moment", .min = 0,
     .max = 0.999999},
    {"adam-beta2", MB_OPTION_REAL, FIELD(adam_beta2), "0.999", "B", .help = "decay of the second moment", .min = 0,
     .max = 0.999999},
    {"adam-eps", MB_OPTION_REAL, FIELD(adam_eps), "1e-6", "E", .help = "added to the root of the second moment",
     .exclusive_min = true},
    {"max-grad-norm", MB_OPTION_REAL, FIELD(max_grad_norm), "1", "X",
     .help = "gradients are scaled down to this norm; 0: never", .min = 0, .max = 1e30},
    {"runs", MB_OPTION_INT, FIELD(runs), "1", "N",
     .help = "runs with seeds S, S+1, ...; mean and deviation are told, the best "
             "on dev is kept",
     .min = 1, .max = 1000},
    {"merge-runs", MB_OPTION_BOOL, FIELD(merge_runs), "false", NULL,
     .help = "keep the mean of the runs' weights instead of the best run; they begin with one classifier"},
    {"layer-decay", MB_OPTION_REAL, FIELD(layer_decay), "1", "D",
     .help = "the rate of a layer is D times that of the one above; 1: all learn at the same rate", .min = 0, .max = 1,
     .exclusive_min = true},
    {"word-rate", MB_OPTION_REAL, FIELD(word_rate), "1", "F",
     .help = "the word embeddings learn F times as fast; 3 helps where single words tell the label", .min = 0, .max = 1000},
    {"word-dropout", MB_OPTION_REAL, FIELD(word_dropout), "0", "F",
     .help = "share of the wordpieces that training hides behind [MASK], others each epoch; 0.3 may help where texts are few",
     .min = 0, .max = 1},
    {"adapt-epochs", MB_OPTION_REAL, FIELD(adapt_epochs), "0", "E",
     .help = "passes of masked language modelling over the training texts, with Muon, before their labels are learnt; 5 to 20 "
             "help where texts are few and unlike those of pretraining",
     .min = 0, .max = 1e6},
    {"adapt-lr", MB_OPTION_REAL, FIELD(adapt_lr), "1e-3", "RATE", .help = "peak learning rate of these passes",
     .exclusive_min = true},
    {"freeze-encoder", MB_OPTION_BOOL, FIELD(freeze_encoder), "false", NULL, .help = "train only pooler and classifier"},
    {"from-scratch", MB_OPTION_BOOL, FIELD(from_scratch), "false", NULL,
     .help = "random weights in the model's shape: what pretraining is worth is the difference"},
    {"overwrite", MB_OPTION_BOOL, FIELD(overwrite), "false", NULL, .help = "replace a model that is in OUT"},
    {0},
};

/* Whether two paths are the same directory. */
static bool same_place(const char *a, const char *b) {
    char *real_a = realpath(a, NULL), *real_b = realpath(b, NULL);
    const bool same = real_a != NULL && real_b != NULL && strcmp(real_a, real_b) == 0;
    free(real_a);
    free(real_b);
    return same;
}

mb_status mb_finetune_options_check(const mb_finetune_options *o, mb_error *error) {
    if (o->model == NULL || o->train == NULL || o->out == NULL) {
        return mb_fail(error, MB_ERROR_USAGE, "finetune needs --model, --train and --out");
    }
    if (!isfinite(o->lr) || o->lr <= 0 || !(o->epochs > 0) || o->batch_size < 1 || o->grad_accum < 1 || o->runs < 1) {
        return mb_fail(error, MB_ERROR_USAGE, "--lr, --epochs, --batch-size, --grad-accum and --runs must be above 0");
    }
    if (o->adapt_epochs > 0 && o->from_scratch) {
        return mb_fail(error, MB_ERROR_USAGE, "--from-scratch takes no weights to adapt: leave out --adapt-epochs");
    }
    if (o->merge_runs && o->runs < 2) {
        return mb_fail(error, MB_ERROR_USAGE, "--merge-runs needs --runs 2 or more");
    }
    if (o->runs > 1 && o->dev == NULL && !o->merge_runs) {
        return mb_fail(error, MB_ERROR_USAGE, "--runs %" PRId64 " needs --dev, to tell which run is best, or --merge-runs",
                       o->runs);
    }
    const mb_schedule schedule = {(mb_schedule_shape)o->lr_schedule, o->warmup, o->decay_fraction};
    if (mb_schedule_check(&schedule, error) != MB_OK) {
        return error->status;
    }
    if (same_place(o->model, o->out)) {
        return mb_fail(error, MB_ERROR_USAGE, "--out '%s' is the model itself: give another directory", o->out);
    }
    char *weights = mb_path_join(o->out, "model.safetensors");
    if (weights == NULL) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    const bool occupied = mb_path_exists(weights);
    free(weights);
    return occupied && !o->overwrite
               ? mb_fail(error, MB_ERROR_USAGE, "'%s' already holds a model: give another --out, or --overwrite", o->out)
               : MB_OK;
}

static mb_status load_config(mb_finetune_data *data, mb_error *error) {
    char *path = mb_path_join(data->options->model, "config.json");
    mb_status status =
        path == NULL ? mb_fail(error, MB_ERROR_MEMORY, "out of memory") : mb_model_config_load(path, &data->config, error);
    free(path);
    return status == MB_OK ? mb_tokenizer_fit_check(data->tokenizer, &data->config, data->options->model, error) : status;
}

static void report_cut(const mb_finetune_data *data, const mb_classifier_set *set, const char *path, int32_t max_length) {
    if (set->n_cut > 0) {
        mb_job_message(data->job, MB_LEVEL_INFO,
                       "%" PRId64 " of the %" PRId64 " examples in '%s' are longer than %d tokens: cut", set->n_cut, set->n,
                       path, (int)max_length);
    }
}

/* Training examples and the label names, which go into the configuration. */
static mb_status load_train(mb_finetune_data *data, int32_t max_length, mb_error *error) {
    const mb_finetune_options *o = data->options;
    mb_labelled labelled = {0};
    const char **names = NULL;
    int32_t n_names = 0;
    mb_status status = mb_labelled_load(o->train, (mb_task_kind)o->task, true, &labelled, error);
    status = status == MB_OK ? mb_labelled_label_names(&labelled, &names, &n_names, error) : status;
    if (status == MB_OK && n_names < 2) {
        status = mb_fail(error, MB_ERROR_FORMAT,
                         "cannot train on '%s': all examples have the label '%.100s', at least two labels "
                         "are needed",
                         o->train, names[0]);
    }
    if (status == MB_OK && n_names > MB_MAX_LABELS) {
        status = mb_fail(error, MB_ERROR_FORMAT,
                         "cannot train on '%s': it has %d labels, at most %d are possible; is its label "
                         "column the right one?",
                         o->train, (int)n_names, (int)MB_MAX_LABELS);
    }
    status = status == MB_OK ? mb_model_config_set_labels(&data->config, names, n_names, error) : status;
    if (status == MB_OK) {
        snprintf(data->config.problem_type, sizeof data->config.problem_type, "single_label_classification");
        status = mb_classifier_set_new(&labelled, data->tokenizer, max_length, names, n_names, o->train, &data->train, error);
    }
    free(names);
    mb_labelled_free(&labelled);
    return status;
}

static mb_status load_dev(mb_finetune_data *data, int32_t max_length, mb_error *error) {
    const mb_finetune_options *o = data->options;
    mb_labelled labelled = {0};
    mb_status status = mb_labelled_load(o->dev, (mb_task_kind)o->task, true, &labelled, error);
    if (status == MB_OK) {
        char labels_of[512];
        snprintf(labels_of, sizeof labels_of, "'%.400s'", o->train);
        status = mb_classifier_set_new(&labelled, data->tokenizer, max_length, (const char *const *)data->config.labels,
                                       data->config.n_labels, labels_of, &data->dev, error);
    }
    mb_labelled_free(&labelled);
    data->has_dev = status == MB_OK;
    return status;
}

mb_status mb_finetune_data_load(mb_finetune_data *data, mb_error *error) {
    const mb_finetune_options *o = data->options;
    mb_status status = mb_tokenizer_load(o->model, &data->tokenizer, error);
    status = status == MB_OK ? load_config(data, error) : status;
    if (status != MB_OK) {
        return status;
    }
    const int32_t max_length = mb_tokenizer_fit_max_length(data->tokenizer, &data->config, o->max_length);
    if (max_length < o->max_length) {
        mb_job_message(data->job, MB_LEVEL_INFO,
                       "the model has %d positions: examples are cut there, not at %" PRId64 " tokens", (int)max_length,
                       o->max_length);
    }
    status = load_train(data, max_length, error);
    status = status == MB_OK && o->dev != NULL ? load_dev(data, max_length, error) : status;
    status = status == MB_OK ? mb_tokenizer_fit_length(&data->tokenizer, max_length, error) : status;
    if (status == MB_OK) {
        mb_job_message(data->job, MB_LEVEL_INFO, "%" PRId64 " training examples, %" PRId64 " dev examples, %d labels",
                       data->train.n, data->dev.n, (int)data->config.n_labels);
        report_cut(data, &data->train, o->train, max_length);
        report_cut(data, &data->dev, o->dev, max_length);
    }
    return status;
}

void mb_finetune_data_free(mb_finetune_data *data) {
    mb_classifier_set_free(&data->train);
    mb_classifier_set_free(&data->dev);
    mb_model_config_free(&data->config);
    mb_model_free(data->adapted);
    mb_tokenizer_free(data->tokenizer);
}
