/* The likeliest pieces in the place of [MASK]. */
#ifndef MB_TASKS_FILL_MASK_H
#define MB_TASKS_FILL_MASK_H

#include <stdint.h>
#include <stdio.h>

#include "base/job.h"
#include "base/options.h"
#include "minibert/status.h"

typedef struct mb_fill_mask_options {
    const char *model;
    int64_t top_k;
    int format; /* 0 tsv, 1 jsonl */
    mb_text_list texts;
} mb_fill_mask_options;

extern const mb_option mb_fill_mask_option_table[];

/* Writes to `rows`, best first, for each [MASK] of each text:
 *   tsv    token<TAB>probability<TAB>filled text; a blank line between texts. A text with several [MASK]s has top_k lines for
 * the first one, then top_k for the second, ...; each line fills in one of them. jsonl  {"text": 0, "mask": 0, "token": ...,
 * "id": ..., "probability": ..., "filled": ...}: which text and which of its masks All texts are checked before anything is
 * written. Errors: MB_ERROR_USAGE for a text without [MASK] or longer than the model reads; MB_ERROR_MISMATCH for a model
 * without a masked-LM head. */
mb_status mb_fill_mask(const mb_fill_mask_options *options, const mb_job *job, FILE *rows, mb_error *error);

#endif
