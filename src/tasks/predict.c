#include "tasks/predict.h"

#include <errno.h>
#include <inttypes.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/threads.h"
#include "tasks/classifier.h"
#include "tasks/text_escape.h"
#include "tasks/text_input.h"
#include "tasks/text_model.h"
#include "tasks/tokenizer_fit.h"
#include "tasks/trained_task.h"

/* Lines that are in memory at once. */
enum { BLOCK_LINES = 1024, BLOCK_BYTES = 1 << 20 };

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

/* What a thread needs for itself. */
typedef struct worker {
    mb_tape *tape;
    mb_classifier_batch batch; /* of the block at work */
} worker;

typedef struct run {
    const mb_predict_options *options;
    const mb_job *job;
    FILE *rows;
    mb_text_model m;
    int32_t max_length;
    worker *workers; /* one a thread */
    int n_workers;
    mb_text_input *input;
    mb_text_block block;
    mb_labelled labelled; /* the block's examples */
    mb_buffer text;       /* their rows */
    int64_t n, n_cut;     /* examples written, and of all those longer than max_length */
} run;

static mb_status write_rows(run *r, const float *probabilities, int64_t n, mb_error *error) {
    const mb_model_config *config = mb_model_get_config(r->m.model);
    mb_buffer_clear(&r->text);
    for (int64_t i = 0; i < n; i++) {
        const float *p = probabilities + i * config->n_labels;
        const int32_t best = most_probable(p, config->n_labels);
        if (r->options->format == FORMAT_TSV ? !append_tsv(&r->text, config->labels, best, p)
                                             : !append_jsonl(&r->text, config->labels, config->n_labels, best, p)) {
            return out_of_memory(error);
        }
    }
    r->n += n;
    return fwrite(r->text.data, 1, r->text.n_bytes, r->rows) == r->text.n_bytes && fflush(r->rows) == 0
               ? MB_OK
               : mb_fail(error, MB_ERROR_IO, "cannot write the predictions: %s", strerror(errno));
}

/* --- a block of lines --- */

/* A batch belongs to one thread, and only where there are fewer batches than threads do the threads share one (as in
 * embedder.c). */
static mb_status predict_batches(run *r, const mb_classifier_set *set, float *probabilities, mb_error *error) {
    const int64_t size = r->options->batch_size, n_batches = (set->n + size - 1) / size;
    const int32_t n_labels = mb_model_get_config(r->m.model)->n_labels;
    mb_status status = MB_OK;
#pragma omp parallel for schedule(dynamic) if (n_batches >= r->n_workers)
    for (int64_t i = 0; i < n_batches; i++) {
        worker *mine = &r->workers[omp_get_thread_num()];
        const int64_t begin = i * size, end = set->n - begin < size ? set->n : begin + size;
        mb_error failure;
        const mb_status s = mb_job_should_stop(r->job)
                                ? mb_fail(&failure, MB_ERROR_INTERRUPTED, "stopped after %" PRId64 " examples", r->n)
                                : mb_classifier_predict(r->m.model, mine->tape, set, &mine->batch, begin, end,
                                                        probabilities + begin * n_labels, &failure);
        if (s != MB_OK) {
#pragma omp critical(mb_predict_failure)
            if (status == MB_OK) {
                status = s;
                if (error) {
                    *error = failure;
                }
            }
        }
    }
    return status;
}

static mb_status predict_set(run *r, const mb_classifier_set *set, mb_error *error) {
    const size_t n_labels = (size_t)mb_model_get_config(r->m.model)->n_labels;
    float *probabilities = calloc((size_t)set->n * n_labels, sizeof *probabilities);
    mb_status status = probabilities == NULL ? out_of_memory(error) : MB_OK;
    for (int i = 0; i < r->n_workers && status == MB_OK; i++) {
        status = mb_classifier_batch_new(set, r->options->batch_size, &r->workers[i].batch, error);
    }
    status = status == MB_OK ? predict_batches(r, set, probabilities, error) : status;
    status = status == MB_OK ? write_rows(r, probabilities, set->n, error) : status;
    for (int i = 0; i < r->n_workers; i++) {
        mb_classifier_batch_free(&r->workers[i].batch);
    }
    free(probabilities);
    return status;
}

static mb_status predict_block(run *r, mb_error *error) {
    mb_classifier_set set = {0};
    mb_status status = MB_OK, read = MB_OK;
    mb_labelled_clear(&r->labelled);
    for (size_t i = 0; i < r->block.n && read == MB_OK; i++) {
        read = mb_labelled_add_line(&r->labelled, r->block.lines[i].text, r->block.lines[i].n_bytes, error);
    }
    if (r->labelled.n > 0) { /* what lies before a line that cannot be read has its labels all the same */
        status = mb_classifier_set_new(&r->labelled, r->m.tokenizer, r->max_length, NULL, 0, NULL, &set, error);
        status = status == MB_OK ? predict_set(r, &set, error) : status;
        r->n_cut += set.n_cut;
    }
    mb_classifier_set_free(&set);
    return status == MB_OK ? read : status;
}

/* --- all of them --- */

static mb_status make_workers(run *r, mb_error *error) {
    r->n_workers = mb_threads_count();
    r->workers = calloc((size_t)r->n_workers, sizeof *r->workers);
    mb_status status = r->workers == NULL ? out_of_memory(error) : MB_OK;
    for (int i = 0; i < r->n_workers && status == MB_OK; i++) {
        r->workers[i].tape = mb_tape_new(false);
        status = r->workers[i].tape == NULL ? out_of_memory(error) : MB_OK;
    }
    return status;
}

static mb_status set_up(run *r, mb_error *error) {
    const mb_predict_options *o = r->options;
    mb_task_kind kind = MB_TASK_ANY;
    mb_status status = mb_text_model_load(o->model, MB_HEAD_CLASSIFIER, r->job, &r->m, error);
    if (status == MB_OK && !(r->job != NULL && r->job->bf16)) { /* packed once, where every thread would for every batch */
        status = mb_model_set_dtype(r->m.model, MB_REAL_DTYPE, false, error);
    }
    if (status == MB_OK) {
        r->max_length = mb_tokenizer_fit_max_length(r->m.tokenizer, mb_model_get_config(r->m.model), o->max_length);
        status = make_workers(r, error);
    }
    status = status == MB_OK ? mb_trained_task(o->model, o->task, &kind, error) : status;
    status = status == MB_OK ? mb_text_input_open(o->input, &r->input, error) : status;
    if (status == MB_OK) {
        mb_text_input_answer_early(r->input);
        status = mb_labelled_begin(mb_text_input_name(r->input), kind, false, &r->labelled, error);
    }
    return status;
}

static void tear_down(run *r) {
    for (int i = 0; r->workers != NULL && i < r->n_workers; i++) {
        mb_tape_free(r->workers[i].tape);
    }
    free(r->workers);
    mb_buffer_free(&r->text);
    mb_labelled_free(&r->labelled);
    mb_text_block_free(&r->block);
    mb_text_input_close(r->input);
    mb_text_model_free(&r->m);
}

static mb_status predict_all(run *r, mb_error *error) {
    while (true) {
        mb_status status = mb_text_input_next(r->input, BLOCK_LINES, BLOCK_BYTES, r->job, &r->block, error);
        if (status == MB_OK && r->block.n == 0) {
            return mb_labelled_end(&r->labelled, error);
        }
        status = status == MB_OK ? predict_block(r, error) : status;
        if (status != MB_OK) {
            return status;
        }
        mb_text_input_report(r->input, r->job, "predict", 0);
    }
}

mb_status mb_predict(const mb_predict_options *options, const mb_job *job, FILE *rows, mb_error *error) {
    run r = {.options = options, .job = job, .rows = rows};
    mb_status status = set_up(&r, error);
    status = status == MB_OK ? predict_all(&r, error) : status;
    if (status == MB_OK && r.n_cut > 0) {
        mb_job_message(job, MB_LEVEL_INFO, "%" PRId64 " of the %" PRId64 " examples in '%s' are longer than %d tokens: cut",
                       r.n_cut, r.n, r.labelled.path, (int)r.max_length);
    }
    tear_down(&r);
    return status;
}
