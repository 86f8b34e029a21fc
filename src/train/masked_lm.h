/* The masked-LM objective (Devlin et al. 2019, 3.1): joins data/batch.h and model/model.h. With `next_sentence` (batches of
 * pairs, a model with MB_HEAD_PRETRAINING) the next-sentence loss is added, as BERT does. */
#ifndef MB_TRAIN_MASKED_LM_H
#define MB_TRAIN_MASKED_LM_H

#include "autograd/tape.h"
#include "data/batch.h"
#include "minibert/status.h"
#include "model/model.h"
#include "train/class_sampler.h"
#include "train/trainer.h"

typedef struct mb_masked_lm_objective {
    bool next_sentence;
    uint64_t seed;             /* of dropout masks and samples */
    mb_class_sampler *sampler; /* the loss is computed over a sample of the vocabulary; NULL: over all of it */
} mb_masked_lm_objective;

/* Forward and backward of one optimizer step over `n_batches` micro-batches. Every micro-batch is scaled by one over the
 * targets of the whole group, so that the gradient is that of one big batch, whatever each holds. `first`: the number of the
 * first micro-batch, counted from the start of the run; dropout masks and samples depend on (seed, number). `sums` is
 * overwritten. */
mb_status mb_masked_lm_accumulate(mb_model *model, mb_tape *tape, const mb_batch *const *batches, int32_t n_batches,
                                  const mb_masked_lm_objective *objective, int64_t first, mb_step_sums *sums, mb_error *error);

/* A masked-LM model measured on batches with fixed masks. */
typedef struct mb_masked_lm_score {
    double loss; /* mean -log p over the masked tokens, nats */
    double perplexity, accuracy;
    int64_t n_masked, n_sequences;
    double next_sentence_loss, next_sentence_accuracy; /* NAN without next-sentence pairs */
} mb_masked_lm_score;

/* Below this share of the unigram entropy a loss cannot be had from word frequencies. */
#define MB_PLATEAU_END 0.97

/* How far a loss has come, in words: "learning word frequencies", "at word frequencies", "using context"; NULL without an
 * entropy (0 or NAN). A text's unigram entropy is what the best guess without any context loses. */
const char *mb_masked_lm_stage(double loss, double unigram_entropy);
/* Between what the loss of a new tiny or mini of the default recipe usually is once it has seen `n_tokens`; `fallen`: how far
 * its learning rate has come down from the peak, 0 to 1. False without an entropy, and outside of what was measured
 * (scripts/ablate/RESULTS.md, "What to expect"). */
bool mb_masked_lm_usual(double unigram_entropy, int64_t n_tokens, double fallen, double *low, double *high);

/* What is measured, and how. */
typedef struct mb_masked_lm_evaluation {
    const mb_batcher *batcher; /* with options.evaluation */
    int64_t max_sequences;     /* whole batches from the first on, until there are as many; 0: all */
    bool next_sentence;
    bool stoppable; /* a stop request ends it with MB_ERROR_INTERRUPTED */
    const mb_job *job;
} mb_masked_lm_evaluation;

/* `tape` is an inference tape, `batch` scratch. MB_ERROR_DIVERGED when the loss is not finite. */
mb_status mb_masked_lm_evaluate(mb_model *model, mb_tape *tape, const mb_masked_lm_evaluation *what, mb_batch *batch,
                                mb_masked_lm_score *score, mb_error *error);
/* Adds "loss", "perplexity", "accuracy", "masked_tokens", "sequences" (and next-sentence members) to an object. */
mb_status mb_masked_lm_score_to_json(const mb_masked_lm_score *score, json_t *object, mb_error *error);

#endif
