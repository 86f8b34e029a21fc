/* The masked-LM objective (Devlin et al. 2019, 3.1): joins data/batch.h and model/model.h. With next-sentence batches and
 * MB_HEAD_PRETRAINING the next-sentence loss is added, as BERT does. */
#ifndef MB_TRAIN_MASKED_LM_H
#define MB_TRAIN_MASKED_LM_H

#include "autograd/tape.h"
#include "data/batch.h"
#include "minibert/status.h"
#include "model/model.h"
#include "train/trainer.h"

/* Forward and backward of one optimizer step over `n_batches` micro-batches. Every micro-batch is scaled by one over the
 * targets of the whole group, so that the gradient is that of one big batch, whatever each holds. Dropout masks depend on
 * (seed, step, micro-batch). `sums` is overwritten. */
mb_status mb_masked_lm_accumulate(mb_model *model, mb_tape *tape, const mb_batch *const *batches, int32_t n_batches,
                                  uint64_t seed, int64_t step, mb_step_sums *sums, mb_error *error);

/* A masked-LM model measured on batches with fixed masks. */
typedef struct mb_masked_lm_score {
    double loss; /* mean -log p over the masked tokens, nats */
    double perplexity, accuracy;
    int64_t n_masked, n_sequences;
    double next_sentence_loss, next_sentence_accuracy; /* NAN without next-sentence pairs */
} mb_masked_lm_score;

/* Scores at most `max_sequences` sequences (0: all) of an evaluation batcher, from the first on. `tape` is an inference tape,
 * `batch` scratch. MB_ERROR_DIVERGED when the loss is not finite; MB_ERROR_INTERRUPTED when the job is asked to stop and
 * `stoppable`. */
mb_status mb_masked_lm_evaluate(mb_model *model, mb_tape *tape, const mb_batcher *batcher, int64_t max_sequences,
                                mb_batch *batch, bool stoppable, const mb_job *job, mb_masked_lm_score *score, mb_error *error);
/* Adds "loss", "perplexity", "accuracy", "masked_tokens", "sequences" (and next-sentence members) to an object. */
mb_status mb_masked_lm_score_to_json(const mb_masked_lm_score *score, json_t *object, mb_error *error);

#endif
