/* Pretraining: raw text to a masked-LM model directory.
 *
 * OUT becomes a Hugging Face directory (config.json, model.safetensors, tokenizer files) with training.json, metrics.jsonl,
 * checkpoints/ and, unless --cache-dir names another place, cache/ with the token shards. */
#ifndef MB_TASKS_PRETRAIN_H
#define MB_TASKS_PRETRAIN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/job.h"
#include "base/options.h"
#include "minibert/status.h"

typedef struct mb_pretrain_options {
    mb_text_list corpus, valid;
    const char *out, *cache_dir, *tokenizer, *init, *init_embeddings;
    int64_t vocab_size;
    bool cased, dedup;
    int arch, recipe, optimizer, size, lr_schedule, init_attention; /* choices */
    int64_t layers, hidden, heads, intermediate;                    /* 0: as --size */
    int64_t global_every, local_attention;                          /* of the modern architecture */
    int64_t seq_length, batch_size, grad_accum;
    double batch_ramp;                           /* share of the run in which the batch grows; 0: none */
    double depth_ramp;                           /* share of the run with the lower half of the layers; 0: none */
    double sampled_softmax;                      /* share of the run with a sample of the vocabulary; 0: none */
    double mlm_probability, mlm_probability_end; /* the latter 0: the same to the end */
    int mask_style;                              /* choice */
    bool whole_word_masking, span_masking, nsp;
    int64_t steps; /* of steps, epochs and budget at most one is not 0; none: one epoch */
    double epochs, budget_seconds;
    double lr, word_rate, muon_lr, muon_momentum, warmup, decay_fraction, weight_decay, adam_beta1, adam_beta2, adam_eps,
        max_grad_norm, dropout;
    int64_t eval_every, save_every, keep;
    bool resume, dry_run;
    /* Set by the caller from the options common to all commands. */
    int64_t seed, log_every;
    const json_t *configuration; /* resolved options, stored in training.json; may be NULL */
} mb_pretrain_options;

extern const mb_option mb_pretrain_option_table[];
extern const char *const mb_pretrain_recipe_names[];
enum { MB_PRETRAIN_ATTENTION_RANDOM, MB_PRETRAIN_ATTENTION_NEAR };
extern const char *const mb_pretrain_attention_names[];

/* What --recipe classic begins from: Devlin et al. 2019, appendix A.2. */
#define MB_RECIPE_CLASSIC                                                                               \
    "--arch bert --optimizer adamw --lr 1e-4 --lr-schedule linear --warmup 0.01 --adam-beta2 0.999\n  " \
    "--batch-size 256 --mlm-probability 0.15 --dropout 0.1"
/* What --arch bert and --init begin from: the same for runs of minutes and hours. */
#define MB_RECIPE_BERT \
    "--optimizer adamw --lr 1e-3 --lr-schedule linear --warmup 0.06 --batch-size 64 --mlm-probability 0.15 --dropout 0.1"

/* Fills in what the user did not give and the table's defaults leave to the recipe: what a new model begins as and with how
 * many layers, the batch by the budget, the rates, and with --recipe classic, --arch bert or --init what the texts above say.
 * `set` is bound to `options`. */
mb_status mb_pretrain_apply_recipe(mb_option_set *set, mb_pretrain_options *options, mb_error *error);

/* *result (new reference): what was trained and how good it is ("loss", "unigram_entropy", ...), or, with dry_run, the model,
 * its parameter count, the memory and the time of a step, with nothing written. *result is NULL on failure. */
mb_status mb_pretrain(const mb_pretrain_options *options, const mb_job *job, json_t **result, mb_error *error);

#endif
