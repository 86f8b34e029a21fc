/* Labelled texts as packed token batches for a sequence classifier: joins data/labelled.h and model/model.h. */
#ifndef MB_TASKS_CLASSIFIER_H
#define MB_TASKS_CLASSIFIER_H

#include <stdint.h>

#include "autograd/tape.h"
#include "base/job.h"
#include "data/labelled.h"
#include "minibert/tokenizer.h"
#include "model/model.h"
#include "tasks/scores.h"
#include "train/trainer.h"

/* All examples of a file as [CLS] a [SEP] or [CLS] a [SEP] b [SEP], end to end. Begins as {0}. */
typedef struct mb_classifier_set {
    int64_t n;
    int64_t *starts;      /* n + 1: example i is tokens starts[i] .. starts[i+1]-1 */
    int32_t *ids, *types; /* starts[n] */
    int32_t *labels;      /* n; NULL for unlabelled examples */
    int64_t n_cut;        /* examples that were longer than max_length */
    int32_t max_length;   /* of any example */
} mb_classifier_set;

/* `labels` NULL: labels are not wanted. A label that is not among them is MB_ERROR_MISMATCH with the line; `labels_of` names
 * what the labels belong to in that message. */
mb_status mb_classifier_set_new(const mb_labelled *labelled, const mb_tokenizer *tokenizer, int32_t max_length,
                                const char *const *labels, int32_t n_labels, const char *labels_of, mb_classifier_set *out,
                                mb_error *error);
void mb_classifier_set_free(mb_classifier_set *set);

/* How many examples a batch has, and memory for the part of it that is at work: a batch is computed in parts of about 4,096
 * packed tokens. */
typedef struct mb_classifier_batch {
    int32_t *ids, *types, *labels, *offsets;
    int32_t capacity, n, max_length;
    int64_t n_tokens;
} mb_classifier_batch;

mb_status mb_classifier_batch_new(const mb_classifier_set *set, int64_t batch_size, mb_classifier_batch *out, mb_error *error);
void mb_classifier_batch_free(mb_classifier_batch *batch);

/* Training hides each piece behind [MASK] with a probability, drawn anew each epoch ("word dropout", Iyyer et al. 2015, "Deep
 * Unordered Composition Rivals Syntactic Methods for Text Classification", section 3). */
typedef struct mb_word_dropout {
    double probability; /* 0: none */
    int32_t mask_id, cls_id, sep_id;
} mb_word_dropout;

/* What learns. */
typedef struct mb_classifier_trainee {
    mb_model *model;
    mb_tape *tape;           /* recording */
    mb_optimizer *optimizer; /* is told which word embeddings a part reads; NULL: none is */
    uint64_t seed;
    mb_word_dropout word_dropout;
} mb_classifier_trainee;

/* Batches of an epoch; the last one may be smaller. */
int64_t mb_classifier_batches_per_epoch(const mb_classifier_set *set, int64_t batch_size);
/* Gradient of the mean cross entropy over the grad_accum batches of optimizer step `step`, the examples drawn in the order
 * mb_rng_permute(seed, epoch). */
mb_status mb_classifier_accumulate(const mb_classifier_trainee *trainee, const mb_classifier_set *set,
                                   mb_classifier_batch *batch, int64_t grad_accum, int64_t step, mb_step_sums *sums,
                                   mb_error *error);

/* Class probabilities of examples begin .. end-1 (in parts, however many they are): (end - begin, C), row-major. */
mb_status mb_classifier_predict(mb_model *model, mb_tape *inference, const mb_classifier_set *set, mb_classifier_batch *batch,
                                int64_t begin, int64_t end, float *probabilities, mb_error *error);
/* The whole labelled set measured. */
mb_status mb_classifier_evaluate(mb_model *model, mb_tape *inference, const mb_classifier_set *set, mb_classifier_batch *batch,
                                 const mb_job *job, mb_class_scores *scores, mb_error *error);

#endif
