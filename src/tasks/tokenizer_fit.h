/* Making sure that a tokenizer belongs to a model. */
#ifndef MB_TASKS_TOKENIZER_FIT_H
#define MB_TASKS_TOKENIZER_FIT_H

#include <stdint.h>

#include "minibert/status.h"
#include "minibert/tokenizer.h"
#include "model/config.h"

/* MB_ERROR_MISMATCH when the tokenizer can produce ids that the model has no row for. */
mb_status mb_tokenizer_fit_check(const mb_tokenizer *tokenizer, const mb_model_config *config, const char *dir,
                                 mb_error *error);
/* Replaces the tokenizer by one that says model_max_length = max_length, so that Hugging Face cuts texts where we do. */
mb_status mb_tokenizer_fit_length(mb_tokenizer **tokenizer, int32_t max_length, mb_error *error);
/* The tokens a text may have: `wanted`, or (0) the tokenizer's model_max_length; never more than the model's positions. */
int32_t mb_tokenizer_fit_max_length(const mb_tokenizer *tokenizer, const mb_model_config *config, int64_t wanted);

#endif
