/* Measuring a model directory: a classifier on a labelled file, a masked-LM on text. */
#ifndef MB_TASKS_EVALUATE_H
#define MB_TASKS_EVALUATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/job.h"
#include "base/options.h"
#include "minibert/status.h"

typedef struct mb_evaluate_options {
    const char *model, *data;
    int task; /* 0 auto: from training.json or the file's columns; else 1 + mb_task_kind */
    bool pll;
    int64_t batch_size, max_length;
    double mlm_probability;
    /* Set by the caller from the options common to all commands. */
    int64_t seed;
} mb_evaluate_options;

extern const mb_option mb_evaluate_option_table[];

/* *result (new reference, NULL on failure):
 *   classifier  {"accuracy", "macro_f1", "matthews", "loss", "examples"}
 *   masked LM   {"loss", "perplexity", "accuracy", "unigram_entropy", "masked_tokens"}; the masks depend on the seed and the
 * text With `pll` the pseudo-log-likelihood of each line (Salazar et al. 2020: the sum over its tokens of log p(token | the
 * rest)) is written to `rows`, one a line in order, and *result is NULL. */
mb_status mb_evaluate(const mb_evaluate_options *options, const mb_job *job, FILE *rows, json_t **result, mb_error *error);

#endif
