/* Pseudo-log-likelihood of lines of text (Salazar et al. 2020, "Masked Language Model Scoring", eq. 1). */
#ifndef MB_TASKS_PSEUDO_LIKELIHOOD_H
#define MB_TASKS_PSEUDO_LIKELIHOOD_H

#include <stdint.h>
#include <stdio.h>

#include "base/job.h"
#include "minibert/status.h"
#include "tasks/text_model.h"

/* For each line of the file at `path` writes one number to `rows`: the sum over its tokens t of log p(t | all the others), in
 * nats, each token masked in turn. An empty line scores 0; a line of more than max_length tokens is scored by its first ones,
 * and the job is told how many there were. The model must have a masked-LM head. */
mb_status mb_pseudo_likelihood(const mb_text_model *m, const char *path, int32_t max_length, const mb_job *job, FILE *rows,
                               mb_error *error);

#endif
