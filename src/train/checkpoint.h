/* Checkpoints: DIR/checkpoints/step-NNNNNNNN/, written under a temporary name, fsynced and renamed; the newest whole one is
 * found at --resume. A checkpoint is itself a model directory; its files:
 *   config.json, model.safetensors   the weights
 *   optimizer.safetensors            "moment1.NAME" and "moment2.NAME" for every parameter; the second has one number a row
 *                                    where mb_optimizer_moment2_count says so
 *   state.json                       step, tokens seen, elapsed seconds, progress, sums since the last record, what the loss
 * was, seed, fingerprints; bytes and XXH64 of each other file; "xxh64" of the object itself (compact, sorted keys, without that
 * member) */
#ifndef MB_TRAIN_CHECKPOINT_H
#define MB_TRAIN_CHECKPOINT_H

#include <jansson.h>

#include "base/job.h"
#include "minibert/status.h"
#include "model/model.h"
#include "train/loss_watch.h"
#include "train/optimizer.h"

/* Where a run is. Everything else of a run is a function of its configuration and this. */
typedef struct mb_train_state {
    int64_t step; /* optimizer updates made */
    int64_t n_tokens_seen;
    int64_t n_batches;      /* micro-batches of those updates: where the run is in its text; -1: an older checkpoint */
    double elapsed_seconds; /* of training, over all resumes: what --budget counts */
    double progress;        /* how much of the run is over, in [0, 1]: what schedules follow */
    struct { /* since the last record of metrics.jsonl, so that a resumed run writes the records of one that was not stopped */
        double loss_sum;
        int64_t n_targets, n_correct, n_steps;
    } unrecorded;
    mb_loss_watch loss_watch;
    uint64_t seed;
    uint64_t corpus_fingerprint, tokenizer_fingerprint;
} mb_train_state;

/* Writes a checkpoint of `state->step` (replacing one of the same step), then removes all but the newest `keep`. */
mb_status mb_checkpoint_save(const char *out_dir, const mb_model *model, const mb_optimizer *optimizer,
                             const mb_train_state *state, int64_t keep, mb_error *error);
/* Loads the newest checkpoint whose checksums hold into an existing model and optimizer of the same shape. A broken one is
 * reported by name through `job` as a warning and the one before it is tried. *found false: there is none. A checkpoint that is
 * whole but of another shape is MB_ERROR_MISMATCH with the dimension's name. */
mb_status mb_checkpoint_load_newest(const char *out_dir, mb_model *model, mb_optimizer *optimizer, mb_train_state *state,
                                    bool *found, const mb_job *job, mb_error *error);
/* How many directories step-* there are, whole or not; 0 also when there is no checkpoints/. */
mb_status mb_checkpoint_count(const char *out_dir, size_t *n, mb_error *error);
/* MB_ERROR_MISMATCH unless two configurations describe the same weights; the message names the first difference. */
mb_status mb_model_config_match(const mb_model_config *wanted, const mb_model_config *found, const char *found_in,
                                mb_error *error);

#endif
