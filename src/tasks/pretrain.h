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
    bool cased;
    int arch, recipe, optimizer, size, lr_schedule; /* choices */
    int64_t layers, hidden, heads, intermediate;    /* 0: as --size */
    int64_t global_every, local_attention;          /* of the modern architecture */
    int64_t seq_length, batch_size, grad_accum;
    double mlm_probability;
    bool whole_word_masking, nsp;
    int64_t steps; /* of steps, epochs and budget at most one is not 0; none: one epoch */
    double epochs, budget_seconds;
    double lr, muon_lr, muon_momentum, warmup, decay_fraction, weight_decay, adam_beta1, adam_beta2, adam_eps, max_grad_norm,
        dropout;
    int64_t eval_every, save_every, keep;
    bool resume, dry_run;
    /* Set by the caller from the options common to all commands. */
    int64_t seed, log_every;
    const json_t *configuration; /* resolved options, stored in training.json; may be NULL */
} mb_pretrain_options;

extern const mb_option mb_pretrain_option_table[];

/* *result (new reference): what was trained and how good it is ("loss", "unigram_entropy", ...), or, with dry_run, the model,
 * its parameter count, the memory and the time of a step, with nothing written. *result is NULL on failure. */
mb_status mb_pretrain(const mb_pretrain_options *options, const mb_job *job, json_t **result, mb_error *error);

#endif
