/* The training loop, used by pretraining and by fine-tuning alike. It knows steps, rates, clocks, records and checkpoints; what
 * a step computes comes in through two hooks.
 *
 *     mb_trainer trainer = {.model = model, .optimizer = &optimizer, .n_steps = 1000, .learning_rate = 1e-3, ...};
 *     status = mb_trainer_run(&trainer, &error);
 *
 * In steady state a step calls no allocator (records, evaluations and checkpoints do). */
#ifndef MB_TRAIN_TRAINER_H
#define MB_TRAIN_TRAINER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/job.h"
#include "minibert/status.h"
#include "model/model.h"
#include "train/checkpoint.h"
#include "train/metrics.h"
#include "train/optimizer.h"
#include "train/schedule.h"

/* What one optimizer step saw. */
typedef struct mb_step_sums {
    double loss;       /* mean over the step's targets: the function whose gradient was accumulated */
    int64_t n_targets; /* masked positions, or labelled examples */
    int64_t n_correct; /* of those, predicted right (0 if not counted) */
    int64_t n_tokens;  /* packed tokens that went through the model */
    int64_t n_batches; /* micro-batches; 0 where they are not counted */
} mb_step_sums;

typedef struct mb_trainer {
    mb_model *model;         /* trainable; gradients zero */
    mb_optimizer *optimizer; /* initialised for the model's parameters */
    mb_train_state state;    /* {0} apart from seed and fingerprints, or as read from a checkpoint; kept up to date */
    mb_metrics *metrics;     /* may be NULL: no records */
    const mb_job *job;       /* may be NULL */

    /* The run ends after n_steps updates, or, when budget_seconds > 0, when that much time has been spent in the loop over all
     * resumes (evaluations and checkpoints included). The rate follows steps / n_steps or elapsed / budget, so that a run
     * always ends fully decayed. A run by steps is the same to the byte however often it was resumed; in a run by the clock
     * rates depend on what the clock said, and state.progress and the records tell what they were. */
    int64_t n_steps;
    double budget_seconds;
    double learning_rate; /* the peak */
    mb_schedule schedule;
    double max_grad_norm; /* clip threshold of the L2 norm of all gradients; 0: no clipping */

    int64_t log_every;   /* steps between records; 0: one about every 5 seconds */
    int64_t eval_every;  /* steps between evaluations; 0: ten times a run; there is always one at the end */
    int64_t save_every;  /* steps between checkpoints; 0: every 5 minutes; there is always one at the end */
    int64_t keep;        /* checkpoints kept, >= 1 */
    const char *out_dir; /* where checkpoints/ is; NULL: the run is not checkpointed */
    int64_t run;         /* number of this run among several, told in the records; 0: not told */
    const char *phase;   /* of progress reports and records: "train", "adapt" */
    /* Of a masked-LM run: the loss of one who knows word frequencies alone, in nats, which reports compare with; 0: none. */
    double unigram_entropy;
    bool usual_loss; /* such a run's usual loss is known (mb_masked_lm_usual): reports name it */

    void *context;
    /* Adds to the model's gradients the gradient of the mean loss of step `step` (0 is the first). */
    mb_status (*accumulate)(void *context, int64_t step, mb_step_sums *sums, mb_error *error);
    /* Measures the model after `step` updates and adds members to `record`; may be NULL. A loss that is not finite is
     * MB_ERROR_DIVERGED. `final`: the last evaluation of the run. */
    mb_status (*evaluate)(void *context, int64_t step, bool final, json_t *record, mb_error *error);
} mb_trainer;

/* Runs to the end, or returns early with
 *   MB_ERROR_INTERRUPTED  the job was asked to stop: a checkpoint is saved (if out_dir is set) and the message says how to go
 * on; MB_ERROR_DIVERGED     a loss, gradient norm or final weight was not finite, or the loss has long been above that of the
 * first steps (train/loss_watch.h). A checkpoint of step s is written only after loss and gradient norm AT its weights were
 * seen to be finite, so that a run that diverges never replaces a good checkpoint by a useless one. */
mb_status mb_trainer_run(mb_trainer *trainer, mb_error *error);

#endif
