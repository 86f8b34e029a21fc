/* pretrain: tokenizer, text and model. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/file.h"
#include "data/corpus.h"
#include "tasks/init_embeddings.h"
#include "tasks/learn_embeddings.h"
#include "tasks/pretrain_run.h"
#include "tasks/tokenizer_fit.h"
#include "tensor/gemm_bf16.h"
#include "train/schedule.h"

static mb_status out_of_memory(mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "out of memory");
}

/* --- tokenizer --- */

static bool report_vocabulary(void *user, const char *phase, double fraction) {
    const mb_job *job = user;
    mb_job_progress(job, &(mb_progress){.phase = phase,
                                        .unit = "%",
                                        .done = (int64_t)(100 * fraction),
                                        .total = 100,
                                        .loss = NAN,
                                        .learning_rate = NAN,
                                        .tokens_per_second = NAN,
                                        .elapsed_seconds = NAN,
                                        .eta_seconds = NAN});
    return !mb_job_should_stop(job);
}

static mb_status train_vocabulary(mb_pretrain_run *run, mb_error *error) {
    const mb_pretrain_options *o = run->options;
    mb_vocab_train_options options = {
        .files = o->corpus.items,
        .n_files = o->corpus.n,
        .vocab_size = (size_t)o->vocab_size,
        .min_frequency = 2,
        .limit_alphabet = 1000,
        .config = mb_tokenizer_config_default(),
        .progress = report_vocabulary,
        .user = (void *)(uintptr_t)run->job,
    };
    options.config.do_lower_case = !o->cased;
    options.config.model_max_length = (int32_t)o->seq_length;
    mb_job_message(run->job, MB_LEVEL_INFO, "training a vocabulary of %" PRId64 " wordpieces", o->vocab_size);
    return mb_tokenizer_train(&options, &run->tokenizer, error);
}

/* How many positions the model has: those of --init, else the training sequences'. */
static mb_status count_positions(const mb_pretrain_options *o, int32_t *out, mb_error *error) {
    *out = (int32_t)o->seq_length;
    if (o->init == NULL) {
        return MB_OK;
    }
    mb_model_config config = {0};
    char *path = mb_path_join(o->init, "config.json");
    mb_status status = path == NULL ? out_of_memory(error) : mb_model_config_load(path, &config, error);
    free(path);
    if (status == MB_OK) {
        *out = !config.rotary || config.max_positions > *out ? config.max_positions : *out;
        mb_model_config_free(&config);
    }
    return status;
}

mb_status mb_pretrain_tokenizer(mb_pretrain_run *run, mb_error *error) {
    const mb_pretrain_options *o = run->options;
    const char *source = o->tokenizer != NULL ? o->tokenizer : run->resuming ? o->out : o->init;
    int32_t max_length = 0;
    mb_status status = count_positions(o, &max_length, error);
    if (status == MB_OK) {
        status = source != NULL ? mb_tokenizer_load(source, &run->tokenizer, error) : train_vocabulary(run, error);
    }
    return status == MB_OK ? mb_tokenizer_fit_length(&run->tokenizer, max_length, error) : status;
}

/* --- text --- */

static mb_status open_shard(const mb_pretrain_run *run, const mb_text_list *files, mb_split split, mb_shard *shard,
                            mb_error *error) {
    const mb_pretrain_options *o = run->options;
    char *cache = o->cache_dir != NULL ? NULL : mb_path_join(o->out, "cache"), *path = NULL;
    if (o->cache_dir == NULL && cache == NULL) {
        return out_of_memory(error);
    }
    const mb_corpus_options options = {.files = files->items,
                                       .n_files = files->n,
                                       .cache_dir = cache != NULL ? cache : o->cache_dir,
                                       .split = split,
                                       .dedup = o->dedup};
    mb_status status = mb_corpus_prepare(&options, run->tokenizer, run->job, &path, error);
    if (status == MB_OK) {
        status = mb_shard_open(path, false, shard, error); /* mb_corpus_prepare has checked the checksum */
    }
    free(path);
    free(cache);
    return status;
}

void mb_pretrain_cut_batches(mb_pretrain_run *run) {
    int64_t sequences = run->options->batch_size, n_parts = run->options->grad_accum;
    const int64_t least_parts = run->options->batch_ramp > 0 ? (int64_t)(1 / MB_PRETRAIN_RAMP_BEGIN) : 1;
    while (sequences % 2 == 0 && (sequences * run->options->seq_length > MB_PRETRAIN_PART_TOKENS || n_parts < least_parts)) {
        sequences /= 2;
        n_parts *= 2;
    }
    run->part_sequences = (int32_t)sequences;
    run->n_parts = (int32_t)n_parts;
}

int32_t mb_pretrain_parts_at(const mb_pretrain_run *run, double progress) {
    const double ramp = run->options->batch_ramp;
    const double share = progress < ramp ? mb_schedule_between(MB_PRETRAIN_RAMP_BEGIN, 1, progress / ramp) : 1;
    const double parts = round(share * run->n_parts);
    return parts < 1 ? 1 : (int32_t)parts;
}

int32_t mb_pretrain_depth_at(const mb_pretrain_run *run, double progress) {
    const int32_t n_layers = mb_model_get_config(run->model)->n_layers;
    return progress < run->options->depth_ramp ? (n_layers + 1) / 2 : n_layers;
}

mb_masked_lm_objective mb_pretrain_objective_at(const mb_pretrain_run *run, double progress) {
    return (mb_masked_lm_objective){
        .next_sentence = run->options->nsp,
        .seed = (uint64_t)run->options->seed,
        .sampler = progress < run->options->sampled_softmax ? run->sampler : NULL,
    };
}

mb_status mb_pretrain_data(mb_pretrain_run *run, mb_error *error) {
    const mb_pretrain_options *o = run->options;
    const bool own_valid = o->valid.n > 0;
    mb_status status = open_shard(run, &o->corpus, own_valid ? MB_SPLIT_ALL : MB_SPLIT_TRAIN, &run->train, error);
    if (status == MB_OK) {
        status =
            open_shard(run, own_valid ? &o->valid : &o->corpus, own_valid ? MB_SPLIT_ALL : MB_SPLIT_VALID, &run->valid, error);
    }
    mb_batch_options options = {
        .seq_length = (int32_t)o->seq_length,
        .batch_size = run->part_sequences,
        .mask_probability = o->mlm_probability,
        .mask_probability_end = o->mlm_probability_end,
        .mask_style = (mb_mask_style)o->mask_style,
        .mask_unit = o->span_masking         ? MB_MASK_SPANS
                     : o->whole_word_masking ? MB_MASK_WORDS
                                             : MB_MASK_PIECES,
        .next_sentence = o->nsp,
        .seed = (uint64_t)o->seed,
    };
    if (status == MB_OK) {
        status = mb_batcher_new(&run->train, run->tokenizer, &options, &run->train_batcher, error);
    }
    options.evaluation = true;
    options.mask_probability = MB_PRETRAIN_EVAL_MASKS;
    options.mask_probability_end = 0;
    options.mask_style = MB_MASK_STYLE_BERT;
    options.mask_unit = MB_MASK_PIECES;
    options.batch_size = run->part_sequences < MB_PRETRAIN_EVAL_SEQUENCES ? run->part_sequences : MB_PRETRAIN_EVAL_SEQUENCES;
    if (status == MB_OK) {
        status = mb_batcher_new(&run->valid, run->tokenizer, &options, &run->valid_batcher, error);
    }
    if (status == MB_OK) {
        run->unigram_entropy = mb_shard_unigram_entropy(&run->valid);
        mb_job_message(run->job, MB_LEVEL_INFO,
                       "text: %" PRIu64 " tokens in %" PRId64 " sequences; held out: %" PRIu64 " tokens in %" PRId64
                       " sequences, unigram entropy %.3f",
                       run->train.n_tokens, mb_batcher_n_sequences(run->train_batcher), run->valid.n_tokens,
                       mb_batcher_n_sequences(run->valid_batcher), run->unigram_entropy);
    }
    return status;
}

/* --- model --- */

static mb_status load_initial_model(mb_pretrain_run *run, mb_head head, mb_error *error) {
    const mb_pretrain_options *o = run->options;
    mb_status status = mb_model_load(o->init, head, NULL, (uint64_t)o->seed, true, &run->model, error);
    if (status != MB_OK) {
        return status;
    }
    const mb_model_config *config = mb_model_get_config(run->model);
    status = mb_tokenizer_fit_check(run->tokenizer, config, o->init, error);
    if (status != MB_OK) {
        return status;
    }
    /* Another tokenizer of another size cannot be the one that the embeddings were learnt with. */
    if (o->tokenizer != NULL && mb_tokenizer_vocab_size(run->tokenizer) != (size_t)config->vocab_size) {
        return mb_fail(error, MB_ERROR_MISMATCH, "the tokenizer in '%s' has %zu pieces, the model in '%s' %d", o->tokenizer,
                       mb_tokenizer_vocab_size(run->tokenizer), o->init, (int)config->vocab_size);
    }
    if (o->seq_length > config->max_positions && !config->rotary) {
        return mb_fail(error, MB_ERROR_USAGE, "--seq-length %" PRId64 " is more than the %d positions of the model in '%s'",
                       o->seq_length, (int)config->max_positions, o->init);
    }
    status = mb_model_extend_positions(run->model, (int32_t)o->seq_length, error);
    if (status != MB_OK) {
        return status;
    }
    if (mb_model_n_new_views(run->model) > 0) {
        mb_job_message(run->job, MB_LEVEL_INFO, "'%s' has no %s head: %zu tensors of it begin with random weights", o->init,
                       o->nsp ? "pretraining" : "masked-LM", mb_model_n_new_views(run->model));
    }
    mb_model_set_dropout(run->model, o->dropout, o->dropout, o->dropout);
    return MB_OK;
}

static mb_status make_new_model(mb_pretrain_run *run, mb_head head, size_t vocab_size, mb_error *error) {
    mb_model_config config = {0};
    mb_status status = mb_pretrain_new_config(run->options, vocab_size, &config, error);
    if (status == MB_OK && run->tokenizer != NULL) { /* --dry-run may do without */
        config.cls_token_id = mb_tokenizer_special(run->tokenizer, MB_SPECIAL_CLS);
        config.sep_token_id = mb_tokenizer_special(run->tokenizer, MB_SPECIAL_SEP);
    }
    if (status == MB_OK) {
        status = mb_model_new(&config, head, (uint64_t)run->options->seed, &run->model, error);
        mb_model_config_free(&config);
    }
    return status;
}

/* Tokens that Skip-Gram learns from: four times those of the run, or as many as take it about 3% of a budget (256 wide, 2 cores
 * of Zen 4: 0.95 million a second); more than MOST bring little. */
static int64_t tokens_to_learn_from(const mb_pretrain_run *run) {
    const mb_pretrain_options *o = run->options;
    static const double most = 40e6, tokens_a_second = 30e3, width = 256;
    const double tokens = (double)(o->batch_size * o->grad_accum * o->seq_length);
    const double epochs = o->epochs > 0 ? o->epochs : 1;
    const double wanted = o->budget_seconds > 0 ? tokens_a_second * o->budget_seconds * width /
                                                      (double)mb_model_get_config(run->model)->hidden_size
                          : o->steps > 0 ? 4 * tokens * (double)o->steps
                                         : 4 * epochs * (double)run->train.n_tokens;
    return (int64_t)fmin(wanted, most);
}

static mb_status begin_embeddings(mb_pretrain_run *run, mb_error *error) {
    const mb_pretrain_options *o = run->options;
    if (mb_pretrain_embeddings_are(o, "none")) {
        return MB_OK;
    }
    if (!mb_pretrain_embeddings_are(o, "skipgram")) {
        return mb_init_embeddings(run->model, run->tokenizer, o->init_embeddings, (uint64_t)o->seed, run->job, error);
    }
    const double began = mb_clock_seconds();
    const mb_learn_embeddings what = {.shard = &run->train,
                                      .tokenizer = run->tokenizer,
                                      .n_tokens = tokens_to_learn_from(run),
                                      .dir = o->out,
                                      .seed = (uint64_t)o->seed};
    const mb_status status = mb_learn_embeddings_run(&what, run->model, run->job, error);
    run->begun_seconds = mb_clock_seconds() - began;
    return status;
}

/* By how often pieces occur in the text; a dry run has none. */
static mb_status make_sampler(mb_pretrain_run *run, mb_error *error) {
    const size_t n = (size_t)mb_model_get_config(run->model)->vocab_size;
    uint64_t *counts = run->options->dry_run ? calloc(n, sizeof *counts) : mb_shard_count_ids(&run->train);
    const mb_status status =
        counts == NULL ? out_of_memory(error) : mb_class_sampler_new(counts, (int64_t)n, &run->sampler, error);
    free(counts);
    return status;
}

mb_status mb_pretrain_model(mb_pretrain_run *run, size_t vocab_size, mb_error *error) {
    const mb_pretrain_options *o = run->options;
    const mb_head head = o->nsp ? MB_HEAD_PRETRAINING : MB_HEAD_MASKED_LM;
    mb_status status = o->init != NULL ? load_initial_model(run, head, error) : make_new_model(run, head, vocab_size, error);
    if (status == MB_OK && run->tokenizer != NULL && !run->resuming && !o->dry_run) {
        status = begin_embeddings(run, error);
        if (status == MB_OK && o->init_attention == MB_PRETRAIN_ATTENTION_NEAR) {
            mb_model_begin_near(run->model);
        }
        if (status == MB_OK && o->depth_ramp > 0) {
            mb_model_begin_shallow(run->model, mb_pretrain_depth_at(run, 0));
        }
    }
    if (status == MB_OK && o->sampled_softmax > 0) {
        status = make_sampler(run, error);
    }
    if (status != MB_OK) {
        return status;
    }
    const bool bf16 = run->job && run->job->bf16;
    const mb_optimizer_options optimizer = {
        .kind = (mb_optimizer_kind)o->optimizer,
        .beta1 = o->adam_beta1,
        .beta2 = o->adam_beta2,
        .epsilon = o->adam_eps,
        .weight_decay = o->weight_decay,
        .momentum = o->muon_momentum,
        .muon_rate = o->muon_lr > 0 ? o->muon_lr / o->lr : 1,
        .bf16 = bf16,
    };
    mb_model_set_rates(run->model, 1, o->word_rate);
    status = mb_optimizer_init(&run->optimizer, mb_model_params(run->model), &optimizer, error);
    if (status != MB_OK) {
        return status;
    }
    status = mb_model_set_dtype(run->model, bf16 ? MB_BF16 : MB_F32, true, error);
    if (status != MB_OK) {
        return status;
    }
    run->tape = mb_tape_new(true);
    run->inference = mb_tape_new(false);
    run->group = calloc((size_t)run->n_parts, sizeof *run->group);
    if (run->tape == NULL || run->inference == NULL || run->group == NULL) {
        return out_of_memory(error);
    }
    const mb_model_config *config = mb_model_get_config(run->model);
    mb_job_message(run->job, MB_LEVEL_INFO, "model: %d layers, %d wide, %d heads, %d pieces: %.2f million parameters, in %s%s",
                   (int)config->n_layers, (int)config->hidden_size, (int)config->n_heads, (int)config->vocab_size,
                   1e-6 * (double)mb_params_n_weights(mb_model_params(run->model)), bf16 ? "bf16 by " : "fp32",
                   bf16 ? mb_bf16_kernel_name() : "");
    return MB_OK;
}

void mb_pretrain_run_free(mb_pretrain_run *run) {
    mb_prefetch_free(run->prefetch); /* its thread reads the batcher */
    free(run->group);
    mb_batch_free(&run->eval_batch);
    mb_tape_free(run->tape);
    mb_tape_free(run->inference);
    mb_optimizer_free(&run->optimizer);
    mb_class_sampler_free(run->sampler);
    mb_model_free(run->model);
    mb_batcher_free(run->train_batcher);
    mb_batcher_free(run->valid_batcher);
    mb_shard_close(&run->train);
    mb_shard_close(&run->valid);
    mb_tokenizer_free(run->tokenizer);
}
