/* Labels for unlabelled texts by a fine-tuned directory. */
#ifndef MB_TASKS_PREDICT_H
#define MB_TASKS_PREDICT_H

#include <stdint.h>
#include <stdio.h>

#include "base/job.h"
#include "base/options.h"
#include "minibert/status.h"

typedef struct mb_predict_options {
    const char *model, *input; /* input "-": standard input */
    int task;                  /* as in mb_evaluate_options */
    int format;                /* 0 tsv: label<TAB>score; 1 jsonl: {"label", "score", "scores": {label: score, ...}} */
    int64_t batch_size, max_length;
} mb_predict_options;

extern const mb_option mb_predict_option_table[];

/* Writes one line for each input example, in order, to `rows`, a block of lines at a time (of a pipe, as they come), and of
 * a line that cannot be read only those before it. The score is the softmax probability of the label. */
mb_status mb_predict(const mb_predict_options *options, const mb_job *job, FILE *rows, mb_error *error);

#endif
