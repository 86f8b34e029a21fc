/* The parts of pretraining (private to src/tasks): options -> text and tokenizer -> model -> run. */
#ifndef MB_TASKS_PRETRAIN_RUN_H
#define MB_TASKS_PRETRAIN_RUN_H

#include "autograd/tape.h"
#include "data/batch.h"
#include "data/prefetch.h"
#include "data/shard.h"
#include "minibert/tokenizer.h"
#include "model/model.h"
#include "tasks/pretrain.h"
#include "train/masked_lm.h"
#include "train/optimizer.h"

/* Sequences scored by the evaluations on the way, and by the one at the end; both take the first of the held-out text. Ten of
 * the former cost what training on 430 sequences does: two hundredths of a run of three minutes. */
enum { MB_PRETRAIN_EVAL_SEQUENCES = 128, MB_PRETRAIN_FINAL_EVAL_SEQUENCES = 1024 };

/* Share of the held-out tokens that are masked: BERT's, whatever the training masks are, so that the losses of all runs
 * compare, and compare with what `evaluate` says. */
#define MB_PRETRAIN_EVAL_MASKS 0.15

/* What a run is made of. Begins as {0} with options and job; mb_pretrain_run_free releases whatever is there. */
enum { MB_PRETRAIN_PART_TOKENS = 2048 };

typedef struct mb_pretrain_run {
    const mb_pretrain_options *options;
    const mb_job *job;
    /* A batch is computed in n_parts / grad_accum parts of part_sequences, so that activations take the memory of about
     * MB_PRETRAIN_PART_TOKENS tokens; the gradient is that of the whole batch. */
    int32_t part_sequences, n_parts;
    bool resuming;               /* a checkpoint exists and is to be used */
    const mb_train_state *state; /* the trainer's */

    mb_tokenizer *tokenizer;
    mb_shard train, valid;
    mb_batcher *train_batcher, *valid_batcher;
    double unigram_entropy; /* of the held-out text, nats */
    double begun_seconds;   /* what the embeddings took before the first step: part of a --budget */

    mb_model *model;
    mb_class_sampler *sampler; /* NULL without --sampled-softmax */
    mb_optimizer optimizer;
    mb_tape *tape, *inference;
    mb_prefetch *prefetch;
    const mb_batch **group; /* the parts of a step, at most n_parts */
    mb_batch eval_batch;
    mb_masked_lm_score score; /* of the last evaluation */
    bool warned;              /* of the plateau */
} mb_pretrain_run;

/* Sets part_sequences and n_parts from the checked options. */
void mb_pretrain_cut_batches(mb_pretrain_run *run);
/* The share of the batch that --batch-ramp begins with. */
#define MB_PRETRAIN_RAMP_BEGIN 0.25
/* How many of the n_parts a step computes when `progress` of the run is over: all, unless --batch-ramp is under way. */
int32_t mb_pretrain_parts_at(const mb_pretrain_run *run, double progress);
/* How many of the layers a step computes when `progress` of the run is over: all, unless --depth-ramp is under way. */
int32_t mb_pretrain_depth_at(const mb_pretrain_run *run, double progress);
/* What a step minimises when `progress` of the run is over. */
mb_masked_lm_objective mb_pretrain_objective_at(const mb_pretrain_run *run, double progress);
/* Whether the run is one of those whose usual loss was measured: a new tiny or mini of the default recipe. */
bool mb_pretrain_is_usual(const mb_pretrain_options *options);
/* One line: what the run is made with, whoever chose it. */
void mb_pretrain_tell_recipe(const mb_pretrain_options *options, const mb_job *job);
/* Whether --init-embeddings is this word; not given it is "none". */
bool mb_pretrain_embeddings_are(const mb_pretrain_options *options, const char *what);
mb_status mb_pretrain_options_check(const mb_pretrain_options *options, mb_error *error);
/* The shape of a new model; the caller frees it. */
mb_status mb_pretrain_new_config(const mb_pretrain_options *options, size_t vocab_size, mb_model_config *out, mb_error *error);

/* Why a run that has seen `n_tokens` in `step` updates may still lose `loss`, as one who knows word frequencies alone does, and
 * what to do; NULL when it has left them or has not had the time to. */
const char *mb_pretrain_plateau_cause(const mb_pretrain_options *options, int64_t step, int64_t n_tokens, double loss,
                                      double unigram_entropy);
/* Says so, once a run. */
void mb_pretrain_warn_of_plateau(mb_pretrain_run *run, int64_t step);

/* Loads the tokenizer (--tokenizer, --init, or OUT when resuming) or trains one. */
mb_status mb_pretrain_tokenizer(mb_pretrain_run *run, mb_error *error);
/* Token shards and batchers of the training and the held-out text. */
mb_status mb_pretrain_data(mb_pretrain_run *run, mb_error *error);
/* The model (new or --init), its optimizer and tapes. vocab_size: of the tokenizer. */
mb_status mb_pretrain_model(mb_pretrain_run *run, size_t vocab_size, mb_error *error);
void mb_pretrain_run_free(mb_pretrain_run *run);

/* Steps on made-up batches of full length, timed: the result of --dry-run. */
mb_status mb_pretrain_estimate(mb_pretrain_run *run, json_t **result, mb_error *error);

#endif
