/* What the tests of training share: a directory, a tiny tokenizer, a made-up language, a tiny model. */
#ifndef MB_TESTS_TRAIN_TINY_H
#define MB_TESTS_TRAIN_TINY_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/threads.h"
#include "data/batch.h"
#include "data/shard.h"
#include "minibert/tokenizer.h"
#include "model/model.h"
#include "train/masked_lm.h"
#include "train/trainer.h"

#define ASSERT_OK(call, error) cr_assert_eq((call), MB_OK, "%s", (error).message)

enum { TINY_WORDS = 20, TINY_VOCAB = 5 + TINY_WORDS, TINY_SEQ_LENGTH = 16 };

static inline char *make_dir(void) {
    char *path = strdup("/tmp/minibert-train-XXXXXX");
    cr_assert_not_null(mkdtemp(path));
    return path;
}

static inline void remove_dir(char *path) {
    mb_error error;
    ASSERT_OK(mb_path_remove(path, &error), error);
    free(path);
}

static inline mb_buffer read_file(const char *dir, const char *name) {
    mb_buffer bytes = {0};
    mb_error error;
    char *path = mb_path_join(dir, name);
    ASSERT_OK(mb_file_read(path, &bytes, &error), error);
    free(path);
    return bytes;
}

static inline void assert_same_file(const char *dir_a, const char *dir_b, const char *name) {
    mb_buffer a = read_file(dir_a, name), b = read_file(dir_b, name);
    cr_assert_eq(a.n_bytes, b.n_bytes, "%s: %zu and %zu bytes", name, a.n_bytes, b.n_bytes);
    cr_assert(memcmp(a.data, b.data, a.n_bytes) == 0, "'%s' differs between '%s' and '%s'", name, dir_a, dir_b);
    mb_buffer_free(&a);
    mb_buffer_free(&b);
}

static inline mb_tokenizer *tiny_tokenizer(void) {
    char names[TINY_WORDS][8];
    const char *pieces[TINY_VOCAB] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    for (int i = 0; i < TINY_WORDS; i++) {
        snprintf(names[i], sizeof names[i], "w%d", i);
        pieces[5 + i] = names[i];
    }
    const mb_tokenizer_config config = mb_tokenizer_config_default();
    mb_tokenizer *tokenizer = NULL;
    mb_error error;
    ASSERT_OK(mb_tokenizer_new(pieces, TINY_VOCAB, &config, &tokenizer, &error), error);
    return tokenizer;
}

/* A language that can be learnt: each line counts upwards modulo TINY_WORDS from a random word, so that a word follows from its
 * neighbours, while all words are equally frequent: the unigram entropy is ln 20 = 3.0. */
static inline void tiny_shard(const char *dir, uint64_t n_lines, mb_shard *shard) {
    mb_error error;
    mb_shard_writer *writer = NULL;
    char *path = mb_path_join(dir, "text.shard");
    ASSERT_OK(mb_shard_writer_open(path, 7, TINY_VOCAB, &writer, &error), error);
    for (uint64_t line = 0; line < n_lines; line++) {
        const mb_rng_block random = mb_rng_at(1, MB_STREAM_TEST, 0, 0, (uint32_t)line);
        const uint32_t start = mb_rng_below(random.v[0], TINY_WORDS), length = 10 + mb_rng_below(random.v[1], 5);
        uint32_t tokens[14];
        for (uint32_t i = 0; i < length; i++) {
            tokens[i] = 5 + (start + i) % TINY_WORDS;
        }
        mb_shard_writer_add_line(writer, tokens, length, true);
    }
    ASSERT_OK(mb_shard_writer_commit(writer, &error), error);
    ASSERT_OK(mb_shard_open(path, true, shard, &error), error);
    free(path);
}

static inline mb_model *tiny_model(double dropout) {
    mb_model_config config;
    mb_error error;
    mb_model *model = NULL;
    ASSERT_OK(mb_model_config_preset("tiny", &config, &error), error);
    config.vocab_size = TINY_VOCAB;
    config.hidden_size = 32;
    config.n_heads = 2;
    config.intermediate_size = 64;
    config.n_layers = 2;
    config.max_positions = TINY_SEQ_LENGTH;
    config.initializer_range = 0.1; /* 0.02 is for hundreds of dimensions: here it would take long to learn anything */
    config.hidden_dropout = config.attention_dropout = dropout;
    ASSERT_OK(mb_model_new(&config, MB_HEAD_MASKED_LM, 3, &model, &error), error);
    mb_model_config_free(&config);
    return model;
}

/* Everything a masked-LM run needs, on the made-up language. */
typedef struct tiny_run {
    char *dir; /* for the shard */
    mb_tokenizer *tokenizer;
    mb_shard shard;
    mb_batcher *batcher;
    mb_model *model;
    mb_optimizer optimizer;
    mb_tape *tape;
    mb_batch batch;
    mb_trainer trainer;
    volatile sig_atomic_t stop;
    int64_t stop_at; /* the step that ends with a request to stop; -1: none */
    mb_job job;
} tiny_run;

static inline mb_status tiny_accumulate(void *context, int64_t step, mb_step_sums *sums, mb_error *error) {
    tiny_run *run = context;
    const mb_batch *batches[] = {&run->batch};
    ASSERT_OK(mb_batcher_get(run->batcher, step, &run->batch, error), *error);
    if (step == run->stop_at) {
        run->stop = 2;
    }
    return mb_masked_lm_accumulate(run->model, run->tape, batches, 1, &(mb_masked_lm_objective){.seed = 5}, step, sums, error);
}

static inline void tiny_run_begin(tiny_run *run, int32_t batch_size, double dropout) {
    mb_error error;
    mb_threads_set(1); /* the work of a step is too little to share */
    *run = (tiny_run){.dir = make_dir(), .tokenizer = tiny_tokenizer(), .stop_at = -1};
    tiny_shard(run->dir, 400, &run->shard);
    const mb_batch_options options = {
        .seq_length = TINY_SEQ_LENGTH, .batch_size = batch_size, .mask_probability = 0.15, .seed = 11};
    ASSERT_OK(mb_batcher_new(&run->shard, run->tokenizer, &options, &run->batcher, &error), error);
    run->model = tiny_model(dropout);
    const mb_optimizer_options adamw = {
        .beta1 = 0.9, .beta2 = 0.98, .epsilon = 1e-6, .weight_decay = 0.01, .momentum = 0.95, .muon_rate = 1};
    ASSERT_OK(mb_optimizer_init(&run->optimizer, mb_model_params(run->model), &adamw, &error), error);
    run->tape = mb_tape_new(true);
    cr_assert_not_null(run->tape);
    run->job = (mb_job){.stop_signal = &run->stop};
    run->trainer = (mb_trainer){.model = run->model,
                                .phase = "train",
                                .optimizer = &run->optimizer,
                                .job = &run->job,
                                .n_steps = 10,
                                .learning_rate = 5e-3,
                                .schedule = {.shape = MB_SCHEDULE_LINEAR, .warmup = 0.1},
                                .max_grad_norm = 1,
                                .log_every = 1000000,
                                .save_every = 1000000,
                                .keep = 2,
                                .context = run,
                                .accumulate = tiny_accumulate};
}

static inline void tiny_run_end(tiny_run *run) {
    mb_batch_free(&run->batch);
    mb_tape_free(run->tape);
    mb_optimizer_free(&run->optimizer);
    mb_model_free(run->model);
    mb_batcher_free(run->batcher);
    mb_shard_close(&run->shard);
    mb_tokenizer_free(run->tokenizer);
    remove_dir(run->dir);
}

#endif
