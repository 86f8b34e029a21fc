/* A model directory opened for inference: tokenizer and weights that fit each other. */
#ifndef MB_TASKS_TEXT_MODEL_H
#define MB_TASKS_TEXT_MODEL_H

#include "base/job.h"
#include "minibert/status.h"
#include "minibert/tokenizer.h"
#include "model/model.h"

typedef struct mb_text_model {
    mb_tokenizer *tokenizer;
    mb_model *model; /* not trainable */
} mb_text_model;

/* MB_ERROR_MISMATCH when the vocabulary has ids that the model has no embedding for, or when `head` is a head whose weights
 * the directory lacks (an inference with random weights would look like a result). `job` (may be NULL) says in which precision
 * the model computes. */
mb_status mb_text_model_load(const char *dir, mb_head head, const mb_job *job, mb_text_model *out, mb_error *error);
void mb_text_model_free(mb_text_model *model);

#endif
