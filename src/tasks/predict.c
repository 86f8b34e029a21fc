#include "tasks/predict.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "tasks/classifier.h"
#include "tasks/text_escape.h"
#include "tasks/text_model.h"
#include "tasks/tokenizer_fit.h"
#include "tasks/trained_task.h"

enum { FORMAT_TSV, FORMAT_JSONL };
static const char *const format_names[] = {"tsv", "jsonl", NULL};

#define FIELD(name) offsetof(mb_predict_options, name)
const mb_option mb_predict_option_table[] = {
    {"model", MB_OPTION_TEXT, FIELD(model), NULL, "DIR", .help = "a fine-tuned directory", .required = true},
    {"input", MB_OPTION_TEXT, FIELD(input), "-", "FILE", .help = "TSV with a header line, or JSONL; -: standard input"},
    {"task", MB_OPTION_CHOICE, FIELD(task), "auto", NULL,
     .help = "auto: what the directory was trained for, or the file's columns", .choices = mb_trained_task_names},
    {"format", MB_OPTION_CHOICE, FIELD(format), "tsv", NULL, .help = "tsv: label, score; jsonl: also the score of every label",
     .choices = format_names},
    {"batch-size", MB_OPTION_INT, FIELD(batch_size), "32", "B", .help = "examples of a batch: a matter of speed and memory",
     .min = 1, .max = 65536},
    {"max-length", MB_OPTION_INT, FIELD(max_length), "0", "N", .help = "tokens of an example; 0: as the model was trained",
     .min = 0, .max = 8192},
    {0},
};

static mb_status out_of_memory(mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "out of memory");
}

/* --- rows --- */

static int32_t most_probable(const float *probabilities, int32_t n) {
    int32_t best = 0;
    for (int32_t c = 1; c < n; c++) {
        best = probabilities[c] > probabilities[best] ? c : best;
    }
    return best;
}

static bool append_tsv(mb_buffer *out, char *const *labels, int32_t best, const float *p) {
    return mb_buffer_printf(out, "%s\t%.6f\n", labels[best], (double)p[best]);
}

static bool append_jsonl(mb_buffer *out, char *const *labels, int32_t n, int32_t best, const float *p) {
    bool ok = mb_buffer_append_text(out, "{\"label\": ") && mb_append_json_text(out, labels[best], strlen(labels[best])) &&
              mb_buffer_printf(out, ", \"score\": %.6f, \"scores\": {", (double)p[best]);
    for (int32_t c = 0; c < n; c++) {
        ok = ok && mb_buffer_append_text(out, c > 0 ? ", " : "") && mb_append_json_text(out, labels[c], strlen(labels[c])) &&
             mb_buffer_printf(out, ": %.6f", (double)p[c]);
    }
    return ok && mb_buffer_append_text(out, "}}\n");
}

static mb_status write_rows(const mb_model_config *config, int format, const float *probabilities, int64_t n, mb_buffer *buffer,
                            FILE *rows, mb_error *error) {
    mb_buffer_clear(buffer);
    for (int64_t i = 0; i < n; i++) {
        const float *p = probabilities + i * config->n_labels;
        const int32_t best = most_probable(p, config->n_labels);
        if (format == FORMAT_TSV ? !append_tsv(buffer, config->labels, best, p)
                                 : !append_jsonl(buffer, config->labels, config->n_labels, best, p)) {
            return out_of_memory(error);
        }
    }
    return fwrite(buffer->data, 1, buffer->n_bytes, rows) == buffer->n_bytes
               ? MB_OK
               : mb_fail(error, MB_ERROR_IO, "cannot write the predictions: %s", strerror(errno));
}

/* --- all examples --- */

static mb_status load_examples(const mb_predict_options *o, const mb_text_model *m, const mb_job *job, mb_classifier_set *set,
                               mb_error *error) {
    const char *input = o->input != NULL ? o->input : "-";
    const int32_t max_length = mb_tokenizer_fit_max_length(m->tokenizer, mb_model_get_config(m->model), o->max_length);
    mb_task_kind kind = MB_TASK_CLASSIFY;
    mb_labelled labelled = {0};
    mb_status status = mb_trained_task(o->model, o->task, input, &kind, error);
    status = status == MB_OK ? mb_labelled_load(input, kind, false, &labelled, error) : status;
    if (status == MB_OK) {
        status = mb_classifier_set_new(&labelled, m->tokenizer, max_length, NULL, 0, NULL, set, error);
    }
    if (status == MB_OK && set->n_cut > 0) {
        mb_job_message(job, MB_LEVEL_INFO, "%" PRId64 " of the %" PRId64 " examples in '%s' are longer than %d tokens: cut",
                       set->n_cut, set->n, input, (int)max_length);
    }
    mb_labelled_free(&labelled);
    return status;
}

static mb_status predict_all(const mb_predict_options *o, const mb_text_model *m, const mb_classifier_set *set,
                             mb_classifier_batch *batch, const mb_job *job, FILE *rows, mb_error *error) {
    const mb_model_config *config = mb_model_get_config(m->model);
    mb_tape *tape = mb_tape_new(false);
    mb_buffer buffer = {0};
    float *probabilities = calloc((size_t)batch->capacity * (size_t)config->n_labels, sizeof *probabilities);
    mb_status status = tape == NULL || probabilities == NULL ? out_of_memory(error) : MB_OK;
    for (int64_t begin = 0; begin < set->n && status == MB_OK; begin += batch->capacity) {
        const int64_t end = begin + batch->capacity < set->n ? begin + batch->capacity : set->n;
        status = mb_classifier_predict(m->model, tape, set, batch, begin, end, probabilities, error);
        status = status == MB_OK ? write_rows(config, o->format, probabilities, end - begin, &buffer, rows, error) : status;
        mb_job_progress(job, &(mb_progress){.phase = "predict",
                                            .unit = "examples",
                                            .done = end,
                                            .total = set->n,
                                            .loss = NAN,
                                            .learning_rate = NAN,
                                            .tokens_per_second = NAN,
                                            .elapsed_seconds = NAN,
                                            .eta_seconds = NAN});
        if (status == MB_OK && mb_job_should_stop(job)) {
            status = mb_fail(error, MB_ERROR_INTERRUPTED, "stopped after %" PRId64 " of %" PRId64 " examples", end, set->n);
        }
    }
    free(probabilities);
    mb_buffer_free(&buffer);
    mb_tape_free(tape);
    return status;
}

mb_status mb_predict(const mb_predict_options *options, const mb_job *job, FILE *rows, mb_error *error) {
    mb_text_model m = {0};
    mb_classifier_set set = {0};
    mb_classifier_batch batch = {0};
    mb_status status = mb_text_model_load(options->model, MB_HEAD_CLASSIFIER, job, &m, error);
    status = status == MB_OK ? load_examples(options, &m, job, &set, error) : status;
    status = status == MB_OK ? mb_classifier_batch_new(&set, options->batch_size, &batch, error) : status;
    status = status == MB_OK ? predict_all(options, &m, &set, &batch, job, rows, error) : status;
    mb_classifier_batch_free(&batch);
    mb_classifier_set_free(&set);
    mb_text_model_free(&m);
    return status;
}
