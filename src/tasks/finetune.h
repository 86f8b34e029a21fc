/* Fine-tuning for classification of texts or of pairs of texts. OUT becomes a directory that Hugging Face's
 * BertForSequenceClassification loads, label names included. */
#ifndef MB_TASKS_FINETUNE_H
#define MB_TASKS_FINETUNE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/job.h"
#include "base/options.h"
#include "minibert/status.h"

typedef struct mb_finetune_options {
    const char *model, *train, *dev, *out;
    int task; /* mb_task_kind */
    double epochs;
    double lr, warmup, decay_fraction, weight_decay, adam_beta1, adam_beta2, adam_eps, max_grad_norm;
    double layer_decay;            /* 1: all layers learn at the same rate */
    double word_rate;              /* the rate of the word embeddings, times what it would be */
    double word_dropout;           /* share of the pieces that training hides behind [MASK] */
    double adapt_epochs, adapt_lr; /* masked language modelling on the training texts first; 0 epochs: none */
    int lr_schedule;
    int64_t batch_size, grad_accum, max_length, runs;
    bool merge_runs; /* keep the mean of the runs' weights */
    bool freeze_encoder, from_scratch, overwrite;
    /* Set by the caller from the options common to all commands. */
    int64_t seed, log_every;
    const json_t *configuration; /* resolved options, stored in training.json; may be NULL */
} mb_finetune_options;

extern const mb_option mb_finetune_option_table[];

/* OUT is touched only once there is a model to write, and refused if it holds one (unless `overwrite`).
 * With a dev file the best epoch (by accuracy; of equal ones the lower loss) of the best run is written, without one the last
 * epoch; with merge_runs the mean of what so each run would keep. *result (new reference, NULL on failure): the runs' dev
 * metrics, their mean and standard deviation, and what was kept.
 */
mb_status mb_finetune(const mb_finetune_options *options, const mb_job *job, json_t **result, mb_error *error);

#endif
