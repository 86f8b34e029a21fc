/* The parts of fine-tuning (private to src/tasks): files -> examples (-> adapted model) -> runs -> the one that
 * is kept. */
#ifndef MB_TASKS_FINETUNE_RUN_H
#define MB_TASKS_FINETUNE_RUN_H

#include "data/labelled.h"
#include "minibert/tokenizer.h"
#include "model/model.h"
#include "tasks/classifier.h"
#include "tasks/finetune.h"
#include "train/metrics.h"

/* What all runs share. Begins as {0} with options and job. */
typedef struct mb_finetune_data {
    const mb_finetune_options *options;
    const mb_job *job;
    mb_tokenizer *tokenizer;
    mb_model_config config; /* of the model, with the labels of the training file */
    mb_classifier_set train, dev;
    bool has_dev;
    mb_model *adapted; /* what mb_finetune_adapt made, which all runs begin from; NULL: they begin from options->model */
} mb_finetune_data;

mb_status mb_finetune_options_check(const mb_finetune_options *options, mb_error *error);
mb_status mb_finetune_data_load(mb_finetune_data *data, mb_error *error);
void mb_finetune_data_free(mb_finetune_data *data);

/* options->adapt_epochs passes of masked language modelling over the texts of `train`: a masked LM, the caller's to free. */
mb_status mb_finetune_adapt(const mb_finetune_data *data, mb_metrics *metrics, mb_model **out, mb_error *error);

/* A finished run, its weights those that are kept of it. Begins as {0}. */
typedef struct mb_finetune_outcome {
    mb_model *model;
    uint64_t seed;
    double epoch;           /* after which the weights were taken */
    mb_class_scores scores; /* on dev; n == 0 without one */
} mb_finetune_outcome;

/* Trains once. `number`: 1 is the first; its seed is options->seed + number - 1. */
mb_status mb_finetune_run(const mb_finetune_data *data, int64_t number, mb_metrics *metrics, mb_finetune_outcome *outcome,
                          mb_error *error);
/* Makes the packed weights and `scores` those of the model's weights, which have changed. */
mb_status mb_finetune_score(const mb_finetune_data *data, mb_finetune_outcome *outcome, mb_error *error);
void mb_finetune_outcome_free(mb_finetune_outcome *outcome);

#endif
