/* AdamW for a table of which a step touches few rows, as the word embeddings of a classifier: a batch of 32 sentences has some
 * 300 of 30,522 words, and three quarters of a mini's weights are words.
 *
 * A row without a gradient still changes: its moments decay, and they and the weight decay move its weights. But nobody reads
 * it before a batch has its word, and until then it need not be written. So an update touches only the rows that have a
 * gradient and notes its factors; a row that is wanted is first brought up to date, all updates that it missed done in one go
 * while it is in cache. The numbers are, to the bit, those that an update of the whole table gives. */
#ifndef MB_TRAIN_ROW_UPDATES_H
#define MB_TRAIN_ROW_UPDATES_H

#include <stdbool.h>
#include <stdint.h>

#include "minibert/status.h"
#include "model/params.h"
#include "train/adamw.h"

typedef struct mb_row_updates {
    size_t view;
    int64_t offset, n_rows, width;
    mb_adamw_factors *missed; /* the factors of the updates since all rows were last up to date */
    int32_t n_missed;
    int32_t *done;     /* per row: of the missed ones, how many it has */
    bool *has_moments; /* per row: its moments may be other than zero */
    bool *is_touched;  /* per row: may have a gradient */
    int32_t *touched;  /* the rows that may have one */
    int64_t n_touched;
} mb_row_updates;

/* Of the matrix that is view `view`. `moments_are_zero`: as those of a new optimizer. The gradients must be zero. */
mb_status mb_row_updates_init(mb_row_updates *rows, const mb_params *params, size_t view, bool moments_are_zero,
                              mb_error *error);
void mb_row_updates_free(mb_row_updates *rows);
/* Brings rows up to date and notes that they may get a gradient. A row may be named more than once. */
void mb_row_updates_touch(mb_row_updates *rows, mb_params *params, mb_real *moment1, mb_real *moment2, const int32_t *ids,
                          int64_t n_ids);
/* One update: of the touched rows now, of the others when they are wanted. */
void mb_row_updates_update(mb_row_updates *rows, mb_params *params, mb_real *moment1, mb_real *moment2,
                           const mb_adamw_factors *factors);
/* How many elements of the gradients, from element `at` on, are zero because their rows are not touched. */
int64_t mb_row_updates_zeros(const mb_row_updates *rows, int64_t at);
/* Brings all rows up to date. */
void mb_row_updates_catch_up(mb_row_updates *rows, mb_params *params, mb_real *moment1, mb_real *moment2);

#endif
