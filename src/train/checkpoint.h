/* Checkpoints: DIR/checkpoints/step-NNNNNNNN/, written under a temporary name, fsynced and renamed; the newest whole one is
 * found at --resume. A checkpoint holds weights (safetensors + config.json), moments, and state.json with step, tokens seen,
 * elapsed seconds, seed, fingerprints and an XXH64 of each file. */
#ifndef MB_TRAIN_CHECKPOINT_H
#define MB_TRAIN_CHECKPOINT_H

#include <jansson.h>

#include "base/job.h"
#include "minibert/status.h"
#include "model/model.h"
#include "train/optimizer.h"

/* Where a run is. Everything else of a run is a function of its configuration and this. */
typedef struct mb_train_state {
    int64_t step; /* optimizer updates made */
    int64_t n_tokens_seen;
    double elapsed_seconds; /* of training, over all resumes: what --budget counts */
    uint64_t seed;
    uint64_t corpus_fingerprint, tokenizer_fingerprint;
} mb_train_state;

mb_status mb_checkpoint_save(const char *out_dir, const mb_model *model, const mb_optimizer *optimizer,
                             const mb_train_state *state, int64_t keep, mb_error *error);
/* Loads the newest checkpoint whose checksums hold into an existing model and optimizer of the same shape. A broken one is
 * reported by name through `job` as a warning and the one before it is tried. *found false: there is none. */
mb_status mb_checkpoint_load_newest(const char *out_dir, mb_model *model, mb_optimizer *optimizer, mb_train_state *state,
                                    bool *found, const mb_job *job, mb_error *error);

#endif
