#include "tasks/evaluate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "data/batch.h"
#include "data/corpus.h"
#include "data/labelled.h"
#include "data/shard.h"
#include "tasks/classifier.h"
#include "tasks/pseudo_likelihood.h"
#include "tasks/text_model.h"
#include "tasks/tokenizer_fit.h"
#include "tasks/trained_task.h"
#include "train/masked_lm.h"

#define FIELD(name) offsetof(mb_evaluate_options, name)
const mb_option mb_evaluate_option_table[] = {
    {"model", MB_OPTION_TEXT, FIELD(model), NULL, "DIR", .help = "a fine-tuned or a masked-LM directory", .required = true},
    {"data", MB_OPTION_TEXT, FIELD(data), NULL, "FILE", .help = "labelled examples, or text for a masked LM", .required = true},
    {"task", MB_OPTION_CHOICE, FIELD(task), "auto", NULL,
     .help = "auto: what the directory was trained for, or the file's columns", .choices = mb_trained_task_names},
    {"pll", MB_OPTION_BOOL, FIELD(pll), "false", NULL,
     .help = "score each line of the text by its pseudo-log-likelihood, one a line"},
    {"batch-size", MB_OPTION_INT, FIELD(batch_size), "32", "B", .help = "sequences of a batch: a matter of speed and memory",
     .min = 1, .max = 65536},
    {"max-length", MB_OPTION_INT, FIELD(max_length), "0", "N",
     .help = "tokens of an example or sequence; 0: as the model was trained", .min = 0, .max = 8192},
    {"mlm-probability", MB_OPTION_REAL, FIELD(mlm_probability), "0.15", "P", .help = "share of the tokens to predict", .min = 0,
     .max = 0.9, .exclusive_min = true},
    {0},
};

static mb_status out_of_memory(mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "out of memory");
}

/* --- a classifier on labelled examples --- */

static mb_status load_examples(const mb_evaluate_options *o, const mb_text_model *m, const mb_job *job, mb_classifier_set *set,
                               mb_error *error) {
    const mb_model_config *config = mb_model_get_config(m->model);
    const int32_t max_length = mb_tokenizer_fit_max_length(m->tokenizer, config, o->max_length);
    mb_task_kind kind = MB_TASK_ANY;
    mb_labelled labelled = {0};
    mb_status status = mb_trained_task(o->model, o->task, &kind, error);
    status = status == MB_OK ? mb_labelled_load(o->data, kind, true, &labelled, error) : status;
    if (status == MB_OK) {
        status = mb_classifier_set_new(&labelled, m->tokenizer, max_length, (const char *const *)config->labels,
                                       config->n_labels, "the model", set, error);
    }
    if (status == MB_OK && set->n_cut > 0) {
        mb_job_message(job, MB_LEVEL_INFO, "%" PRId64 " of the %" PRId64 " examples in '%s' are longer than %d tokens: cut",
                       set->n_cut, set->n, o->data, (int)max_length);
    }
    mb_labelled_free(&labelled);
    return status;
}

static mb_status evaluate_classifier(const mb_evaluate_options *o, const mb_job *job, json_t *result, mb_error *error) {
    mb_text_model m = {0};
    mb_classifier_set set = {0};
    mb_classifier_batch batch = {0};
    mb_class_scores scores = {0};
    mb_tape *tape = mb_tape_new(false);
    mb_status status = tape == NULL ? out_of_memory(error) : mb_text_model_load(o->model, MB_HEAD_CLASSIFIER, job, &m, error);
    status = status == MB_OK ? load_examples(o, &m, job, &set, error) : status;
    status = status == MB_OK ? mb_classifier_batch_new(&set, o->batch_size, &batch, error) : status;
    status = status == MB_OK ? mb_classifier_evaluate(m.model, tape, &set, &batch, job, &scores, error) : status;
    status = status == MB_OK ? mb_class_scores_to_json(&scores, result, error) : status;
    mb_classifier_batch_free(&batch);
    mb_classifier_set_free(&set);
    mb_tape_free(tape);
    mb_text_model_free(&m);
    return status;
}

/* --- a masked LM on text --- */

/* The text's tokens, in a directory that is gone afterwards: a measurement leaves nothing behind. */
static mb_status open_text(const mb_evaluate_options *o, const mb_tokenizer *tokenizer, const mb_job *job, mb_shard *shard,
                           mb_error *error) {
    const char *base = getenv("TMPDIR");
    char *dir = mb_path_join(base != NULL && base[0] != '\0' ? base : "/tmp", "minibert-XXXXXX"), *path = NULL;
    if (dir == NULL || mkdtemp(dir) == NULL) {
        mb_status status =
            dir == NULL ? out_of_memory(error)
                        : mb_fail(error, MB_ERROR_IO, "cannot make a temporary directory '%s': %s", dir, strerror(errno));
        free(dir);
        return status;
    }
    const mb_corpus_options options = {.files = &o->data, .n_files = 1, .cache_dir = dir, .split = MB_SPLIT_ALL};
    mb_status status = mb_corpus_prepare(&options, tokenizer, job, &path, error);
    status = status == MB_OK ? mb_shard_open(path, false, shard, error) : status;
    mb_error remove_error = {0};
    if (mb_path_remove(dir, &remove_error) != MB_OK && status == MB_OK) { /* the map outlives the file's name */
        status = mb_fail(error, remove_error.status, "%s", remove_error.message);
    }
    free(path);
    free(dir);
    return status;
}

static mb_status score_text(const mb_evaluate_options *o, const mb_text_model *m, const mb_shard *shard, const mb_job *job,
                            json_t *result, mb_error *error) {
    const mb_batch_options options = {
        .seq_length = mb_tokenizer_fit_max_length(m->tokenizer, mb_model_get_config(m->model), o->max_length),
        .batch_size = (int32_t)o->batch_size,
        .mask_probability = o->mlm_probability,
        .seed = (uint64_t)o->seed,
        .evaluation = true,
        .next_sentence = false, /* also for a model that has that head: the pairs would change what is masked */
    };
    mb_batcher *batcher = NULL;
    mb_batch batch = {0};
    mb_masked_lm_score score = {0};
    mb_tape *tape = mb_tape_new(false);
    mb_status status = tape == NULL ? out_of_memory(error) : mb_batcher_new(shard, m->tokenizer, &options, &batcher, error);
    const mb_masked_lm_evaluation what = {.batcher = batcher, .stoppable = true, .job = job};
    status = status == MB_OK ? mb_masked_lm_evaluate(m->model, tape, &what, &batch, &score, error) : status;
    status = status == MB_OK ? mb_masked_lm_score_to_json(&score, result, error) : status;
    if (status == MB_OK && json_object_set_new(result, "unigram_entropy", json_real(mb_shard_unigram_entropy(shard))) != 0) {
        status = out_of_memory(error);
    }
    mb_batch_free(&batch);
    mb_batcher_free(batcher);
    mb_tape_free(tape);
    return status;
}

static mb_status evaluate_masked_lm(const mb_evaluate_options *o, mb_head head, const mb_job *job, FILE *rows, json_t *result,
                                    mb_error *error) {
    mb_text_model m = {0};
    mb_shard shard = {0};
    mb_status status = mb_text_model_load(o->model, head, job, &m, error);
    if (status == MB_OK && o->pll) {
        const int32_t max_length = mb_tokenizer_fit_max_length(m.tokenizer, mb_model_get_config(m.model), o->max_length);
        status = mb_pseudo_likelihood(&m, o->data, max_length, job, rows, error);
    } else if (status == MB_OK) {
        status = open_text(o, m.tokenizer, job, &shard, error);
        status = status == MB_OK ? score_text(o, &m, &shard, job, result, error) : status;
    }
    mb_shard_close(&shard);
    mb_text_model_free(&m);
    return status;
}

mb_status mb_evaluate(const mb_evaluate_options *options, const mb_job *job, FILE *rows, json_t **result, mb_error *error) {
    *result = NULL;
    mb_head head = MB_HEAD_NONE;
    mb_status status = mb_model_detect_head(options->model, &head, error);
    json_t *object = json_object();
    if (status == MB_OK && object == NULL) {
        status = out_of_memory(error);
    }
    if (status == MB_OK && (head == MB_HEAD_MASKED_LM || head == MB_HEAD_PRETRAINING)) {
        status = evaluate_masked_lm(options, head, job, rows, object, error);
    } else if (status == MB_OK && head == MB_HEAD_CLASSIFIER && !options->pll) {
        status = evaluate_classifier(options, job, object, error);
    } else if (status == MB_OK) {
        status = mb_fail(error, MB_ERROR_MISMATCH, "'%s' holds %s: %s", options->model, mb_head_description(head),
                         options->pll ? "--pll needs a masked language model"
                                      : "only masked language models and sequence classifiers can be evaluated");
    }
    if (status != MB_OK || options->pll) {
        json_decref(object);
        return status;
    }
    *result = object;
    return MB_OK;
}
