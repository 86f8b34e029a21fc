/* A batch of random tokens of full length: the work of a training step without text, to time it. */
#ifndef MB_TASKS_MADE_UP_BATCH_H
#define MB_TASKS_MADE_UP_BATCH_H

#include "data/batch.h"
#include "minibert/status.h"

typedef struct mb_made_up_text {
    int32_t n_sequences, length, vocab_size;
    double mlm_probability;
    uint64_t seed;
} mb_made_up_text;

/* Released by mb_batch_free. Uniform ids: what they are does not change the work; all types and next-sentence labels are 0. */
mb_status mb_made_up_batch(const mb_made_up_text *text, mb_batch *out, mb_error *error);

#endif
