#include <math.h>
#include <sys/stat.h>

#include "model/model.h"
#include "tasks/pretrain_run.h"
#include "train/lock.h"
#include "train/optimizer.h"
#include "training_support.h"

static json_t *pretrain(const mb_pretrain_options *options, notes *n) {
    json_t *result = NULL;
    mb_error error;
    const mb_job job = job_of(n);
    ASSERT_OK(mb_pretrain(options, &job, &result, &error), error);
    cr_assert_not_null(result);
    return result;
}

/* A run that is stopped after so many steps; says so in *error. */
static void pretrain_until(const mb_pretrain_options *options, int64_t step, mb_error *error) {
    notes n = {.stop_at_step = step};
    const mb_job job = job_of(&n);
    json_t *result = NULL;
    cr_assert_eq(mb_pretrain(options, &job, &result, error), MB_ERROR_INTERRUPTED);
}

static void refuses(const mb_pretrain_options *options, mb_status expected, const char *says) {
    json_t *result = NULL;
    mb_error error = {0};
    mb_status status = mb_pretrain(options, NULL, &result, &error);
    cr_assert_eq(status, expected, "status '%s': %s", mb_status_text(status), error.message);
    cr_assert_null(result);
    ASSERT_SAYS(error, says);
}

Test(pretrain, learns_and_leaves_a_whole_directory) {
    workplace w = workplace_begin();
    const char *corpus = write_language(&w, "corpus.txt", 1, 900), *tokenizer = write_tokenizer(&w, "tokenizer", "zebra");
    const char *out = path_of(&w, "model");
    mb_pretrain_options o = small_pretrain(&corpus, out, tokenizer);
    notes n = {0};
    const char *valid = write_language(&w, "valid.txt", 2, 300);
    o.valid = (mb_text_list){.items = &valid, .n = 1};
    o.hidden = 64;
    o.intermediate = 256;
    o.batch_size = 16;
    o.steps = 500;
    o.lr = 3e-3;
    o.dropout = 0;
    json_t *configuration = json_pack("{s:f}", "lr", o.lr);
    o.configuration = configuration;
    json_t *result = pretrain(&o, &n);
    const double loss = number(result, "loss"), entropy = number(result, "unigram_entropy");
    cr_assert_lt(loss, 0.8 * entropy, "loss %.3f, unigram entropy %.3f", loss, entropy);
    cr_assert_float_eq(entropy, log(LANGUAGE_WORDS), 0.02);
    cr_assert_float_eq(number(result, "perplexity"), exp(loss), 1e-6);
    cr_assert_eq(number(result, "steps"), 500);
    json_decref(result);

    static const char *const names[] = {
        "config.json",           "model.safetensors", "vocab.txt", "tokenizer.json",           "training.json",
        "tokenizer_config.json", "metrics.jsonl",     "cache",     "checkpoints/step-00000500"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = mb_path_join(out, names[i]);
        cr_assert(mb_path_exists(path), "no '%s'", path);
        free(path);
    }
    json_t *record = load_json(path_of(&w, "model/training.json"));
    cr_assert_str_eq(json_string_value(json_object_get(record, "command")), "pretrain");
    cr_assert_eq(number(json_object_get(record, "configuration"), "lr"), o.lr);
    cr_assert_eq(number(record, "seed"), 3);
    cr_assert(json_is_string(json_object_get(json_object_get(record, "corpus"), "fingerprint")));
    /* What explains other last bits on another machine. */
    const json_t *machine = json_object_get(record, "machine");
    cr_assert(json_is_array(json_object_get(machine, "compiled_for"))); /* empty for the first x86-64 */
    cr_assert_geq(json_array_size(json_object_get(machine, "cpu_features")),
                  json_array_size(json_object_get(machine, "compiled_for")));
    static const char *const versions[] = {"cpu",         "compiler", "blas",    "blas_kernel",
                                           "bf16_kernel", "libc",     "jansson", "utf8proc"};
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        cr_assert_gt(json_string_length(json_object_get(machine, versions[i])), 0, "no %s", versions[i]);
    }
    cr_assert_geq(number(machine, "openmp"), 201511);
    cr_assert_float_eq(number(json_object_get(record, "result"), "loss"), loss, 1e-7);
    json_decref(record);

    mb_model *model = NULL;
    mb_error error;
    ASSERT_OK(mb_model_load(out, MB_HEAD_MASKED_LM, NULL, 0, false, &model, &error), error);
    cr_assert_eq(mb_model_get_config(model)->max_positions, 32);
    mb_model_free(model);
    json_decref(configuration);
    workplace_end(&w);
}

Test(pretrain, trains_a_vocabulary_when_none_is_given) {
    workplace w = workplace_begin();
    const char *corpus = write_language(&w, "corpus.txt", 1, 300), *out = path_of(&w, "model");
    mb_pretrain_options o = small_pretrain(&corpus, out, NULL);
    notes n = {0};
    o.vocab_size = 120;
    o.steps = 2;
    json_decref(pretrain(&o, &n));
    mb_tokenizer *tokenizer = NULL;
    mb_error error;
    ASSERT_OK(mb_tokenizer_load(out, &tokenizer, &error), error);
    cr_assert_geq(mb_tokenizer_id(tokenizer, "quail"), 0);
    cr_assert_eq(mb_tokenizer_get_config(tokenizer)->model_max_length, 32);
    mb_tokenizer_free(tokenizer);
    workplace_end(&w);
}

Test(pretrain, stopped_and_resumed_gives_the_same_model_as_straight_through) {
    workplace w = workplace_begin();
    const char *corpus = write_language(&w, "corpus.txt", 1, 300), *tokenizer = write_tokenizer(&w, "tokenizer", "zebra");
    mb_pretrain_options o = small_pretrain(&corpus, path_of(&w, "straight"), tokenizer);
    notes n = {0};
    o.grad_accum = 2;
    o.log_every = 3;
    json_decref(pretrain(&o, &n));

    o.out = path_of(&w, "broken");
    o.log_every = 3;
    json_t *before = json_pack("{s:f, s:b, s:i}", "dropout", 0.1, "resume", 0, "threads", 1);
    json_t *after = json_pack("{s:f, s:b, s:i}", "dropout", 0.2, "resume", 1, "threads", 2);
    o.configuration = before;
    mb_error error;
    pretrain_until(&o, 11, &error);
    ASSERT_SAYS(error, "--resume");
    cr_assert(!mb_path_exists(path_of(&w, "broken/model.safetensors")));
    cr_assert(!mb_path_exists(path_of(&w, "broken/.lock")));

    o.resume = true;
    o.configuration = after;
    o.tokenizer = NULL; /* its own */
    notes resuming = {0};
    json_decref(pretrain(&o, &resuming));
    cr_assert_not_null(strstr(resuming.text, "resuming after step 11"), "%s", resuming.text);
    cr_assert_not_null(strstr(resuming.text, "--dropout was 0.1 before, from here on it is 0.2"), "%s", resuming.text);
    cr_assert_null(strstr(resuming.text, "--threads"), "%s", resuming.text);
    assert_same_path(path_of(&w, "straight/model.safetensors"), path_of(&w, "broken/model.safetensors"));
    assert_same_path(path_of(&w, "straight/vocab.txt"), path_of(&w, "broken/vocab.txt"));

    /* The history has each step once, in order. */
    mb_buffer text = read_path(path_of(&w, "broken/metrics.jsonl"));
    int64_t last = 0;
    for (char *rest = text.data, *line = strsep(&rest, "\n"); rest != NULL; line = strsep(&rest, "\n")) {
        json_t *record = json_loads(line, 0, NULL);
        if (strcmp(json_string_value(json_object_get(record, "event")), "train") == 0) {
            const int64_t step = json_integer_value(json_object_get(record, "step"));
            cr_assert_gt(step, last, "%s", line);
            last = step;
        }
        json_decref(record);
    }
    cr_assert_eq(last, 20);
    mb_buffer_free(&text);

    /* A finished run that is resumed is finished at once, and says the same. */
    json_t *again = pretrain(&o, &resuming);
    cr_assert_eq(number(again, "steps"), 20);
    json_decref(again);
    assert_same_path(path_of(&w, "straight/model.safetensors"), path_of(&w, "broken/model.safetensors"));
    json_decref(before);
    json_decref(after);
    workplace_end(&w);
}

Test(pretrain, what_does_not_belong_together_is_refused) {
    workplace w = workplace_begin();
    const char *corpus = write_language(&w, "corpus.txt", 1, 120), *other = write_language(&w, "other.txt", 2, 120);
    const char *tokenizer = write_tokenizer(&w, "tokenizer", "zebra"), *out = path_of(&w, "model");
    mb_pretrain_options o = small_pretrain(&corpus, out, tokenizer);
    notes n = {0};
    o.steps = 2;
    json_decref(pretrain(&o, &n));
    mb_buffer weights = read_path(path_of(&w, "model/model.safetensors"));

    refuses(&o, MB_ERROR_USAGE, "--resume"); /* it is finished */
    o.resume = true;
    o.steps = 4;
    mb_pretrain_options changed = o;
    changed.corpus.items = (const char **)(uintptr_t)&other;
    refuses(&changed, MB_ERROR_MISMATCH, "another text");
    changed = o;
    changed.tokenizer = write_tokenizer(&w, "tokenizer2", "yak");
    refuses(&changed, MB_ERROR_MISMATCH, "another tokenizer");
    changed = o;
    changed.hidden = 64;
    refuses(&changed, MB_ERROR_MISMATCH, "hidden_size is 32, this run's is 64");
    changed = o;
    changed.nsp = true;
    refuses(&changed, MB_ERROR_MISMATCH, "");

    mb_lock *lock = NULL;
    mb_error error;
    ASSERT_OK(mb_lock_acquire(out, &lock, &error), error);
    refuses(&o, MB_ERROR_IO, "another run");
    mb_lock_release(lock);

    mb_buffer still = read_path(path_of(&w, "model/model.safetensors"));
    cr_assert(still.n_bytes == weights.n_bytes && memcmp(still.data, weights.data, still.n_bytes) == 0);
    mb_buffer_free(&still);
    mb_buffer_free(&weights);
    workplace_end(&w);
}

Test(pretrain, bad_input_leaves_nothing) {
    workplace w = workplace_begin();
    const char *corpus = write_language(&w, "corpus.txt", 1, 120), *tokenizer = write_tokenizer(&w, "tokenizer", "zebra");
    const char *empty = write_text(&w, "empty.txt", ""), *missing = path_of(&w, "missing.txt"), *out = path_of(&w, "model");
    const mb_pretrain_options o = small_pretrain(&corpus, out, tokenizer);
    mb_pretrain_options bad = o;
    bad.corpus.items = (const char **)(uintptr_t)&missing;
    refuses(&bad, MB_ERROR_IO, "missing.txt");
    cr_assert(!mb_path_exists(out));
    bad.corpus.items = (const char **)(uintptr_t)&empty;
    mb_error error;
    json_t *result = NULL;
    cr_assert_neq(mb_pretrain(&bad, NULL, &result, &error), MB_OK);
    cr_assert(!mb_path_exists(out), "an empty corpus left '%s'", out);
    bad = o;
    bad.heads = 5; /* 32 is no multiple */
    refuses(&bad, MB_ERROR_USAGE, "");
    cr_assert(!mb_path_exists(out));
    bad = o;
    bad.budget_seconds = 10;
    refuses(&bad, MB_ERROR_USAGE, "--budget");
    bad = o;
    bad.init_attention = MB_PRETRAIN_ATTENTION_NEAR; /* of a BERT */
    refuses(&bad, MB_ERROR_USAGE, "--init-attention");
    bad = o;
    bad.lr = NAN;
    refuses(&bad, MB_ERROR_USAGE, "--lr");
    bad = o;
    bad.init = path_of(&w, "nowhere");
    refuses(&bad, MB_ERROR_USAGE, "--layers"); /* the shape is the initial model's */
    bad.layers = bad.hidden = bad.heads = bad.intermediate = 0;
    refuses(&bad, MB_ERROR_IO, "nowhere");
    cr_assert(!mb_path_exists(out));
    workplace_end(&w);
}

Test(pretrain, a_run_that_diverges_keeps_its_checkpoints_and_writes_no_model) {
    workplace w = workplace_begin();
    const char *corpus = write_language(&w, "corpus.txt", 1, 300), *tokenizer = write_tokenizer(&w, "tokenizer", "zebra");
    mb_pretrain_options o = small_pretrain(&corpus, path_of(&w, "model"), tokenizer);
    o.lr = 1e30;
    o.save_every = 1;
    refuses(&o, MB_ERROR_DIVERGED, "--lr");
    cr_assert(!mb_path_exists(path_of(&w, "model/model.safetensors")));
    workplace_end(&w);
}

Test(pretrain, a_dry_run_tells_and_writes_nothing) {
    workplace w = workplace_begin();
    const char *corpus = write_language(&w, "corpus.txt", 1, 120), *out = path_of(&w, "model");
    mb_pretrain_options o = small_pretrain(&corpus, out, NULL);
    notes n = {0};
    o.dry_run = true;
    o.vocab_size = 500;
    o.nsp = true;
    o.grad_accum = 4;
    json_t *result = pretrain(&o, &n);
    cr_assert(!mb_path_exists(out));
    /* embeddings (500 + 32 + 2) 32 + 64; layer 4 (32 32 + 32) + 64 + 2 32 64 + 64 + 32 + 64; pooler 32 32 + 32;
     * MLM 32 32 + 32 + 64 + 500; next sentence 66 */
    cr_assert_eq(number(result, "parameters"), 17152 + 8544 + 1056 + 1620 + 66);
    cr_assert_eq(number(json_object_get(result, "batch"), "tokens_per_step"), 8 * 32 * 4);
    cr_assert_gt(number(result, "seconds_per_step"), 0);
    cr_assert_gt(number(json_object_get(result, "memory_mb"), "activations"), 0);
    cr_assert_float_eq(number(json_object_get(result, "memory_mb"), "optimizer"), 8e-6 * number(result, "parameters"), 1e-9);
    json_decref(result);
    o.optimizer = MB_OPTIMIZER_MUON;
    result = pretrain(&o, &n);
    const double second_moments =
        28438 - 500 * 31 - 4 * 32 * 31 - 64 * 31 - 32 * 63; /* one a row of words and hidden matrices */
    cr_assert_float_eq(number(json_object_get(result, "memory_mb"), "optimizer"), 4e-6 * (28438 + second_moments), 1e-9);
    json_decref(result);
    workplace_end(&w);
}

Test(pretrain, goes_on_from_a_model_and_adds_the_next_sentence_head) {
    workplace w = workplace_begin();
    const char *corpus = write_language(&w, "corpus.txt", 1, 300), *tokenizer = write_tokenizer(&w, "tokenizer", "zebra");
    mb_pretrain_options o = small_pretrain(&corpus, path_of(&w, "first"), tokenizer);
    notes n = {0};
    o.steps = 200;
    o.dropout = 0;
    json_t *first = pretrain(&o, &n);

    o.init = o.out;
    o.tokenizer = NULL;
    o.out = path_of(&w, "second");
    o.layers = o.hidden = o.heads = o.intermediate = 0;
    o.lr = 1e-4;
    o.steps = 2;
    json_t *second = pretrain(&o, &n);
    cr_assert(fabs(number(first, "loss") - number(second, "loss")) < 0.2, "%.3f, then %.3f", number(first, "loss"),
              number(second, "loss"));
    assert_same_path(path_of(&w, "first/vocab.txt"), path_of(&w, "second/vocab.txt"));

    o.out = path_of(&w, "third");
    o.nsp = true;
    json_t *third = pretrain(&o, &n);
    cr_assert_gt(number(third, "next_sentence_loss"), 0);
    mb_head head;
    mb_error error;
    ASSERT_OK(mb_model_detect_head(o.out, &head, &error), error);
    cr_assert_eq(head, MB_HEAD_PRETRAINING);
    json_decref(first);
    json_decref(second);
    json_decref(third);

    o.out = path_of(&w, "fourth");
    o.seq_length = 64;
    refuses(&o, MB_ERROR_USAGE, "32 positions");
    o.seq_length = 32;
    o.tokenizer = write_tokenizer(&w, "short", NULL);
    refuses(&o, MB_ERROR_MISMATCH, "has 25 pieces");
    workplace_end(&w);
}

/* --- recipes --- */

Test(pretrain, a_recipe_fills_in_what_is_not_given) {
    enum { BERT = MB_LAYOUT_BERT, MODERN = MB_LAYOUT_MODERNBERT, ADAMW = MB_OPTIMIZER_ADAMW, MUON = MB_OPTIMIZER_MUON };
    static const struct {
        char *const arguments[6];
        bool is_new; /* neither BERT's, nor --init, nor classic */
        int arch, optimizer;
        int64_t batch;
        double lr, word_rate, muon_lr, momentum, masks, dropout, warmup;
    } cases[] = {
        {{0}, true, MODERN, MUON, 32, 2e-3, 1, 2e-3, 0.95, 0.4, 0, 0.05},
        {{"--budget", "5m"}, true, MODERN, MUON, 16, 2e-3, 0.25, 3e-3, 0.9, 0.4, 0, 0.05},
        {{"--budget", "30m"}, true, MODERN, MUON, 32, 2e-3, 1, 2e-3, 0.95, 0.4, 0, 0.05},
        {{"--budget", "3h"}, true, MODERN, MUON, 64, 2e-3, 1, 2e-3, 0.95, 0.4, 0, 0.05},
        {{"--budget", "5m", "--muon-lr", "5e-3", "--word-rate", "1"}, true, MODERN, MUON, 16, 2e-3, 1, 5e-3, 0.9, 0.4, 0, 0.05},
        {{"--budget", "5m", "--lr", "4e-3"}, true, MODERN, MUON, 16, 4e-3, 0.25, 6e-3, 0.9, 0.4, 0, 0.05},
        {{"--budget", "5m", "--init-embeddings", "none"}, true, MODERN, MUON, 16, 2e-3, 1, 3e-3, 0.9, 0.4, 0, 0.05},
        {{"--budget", "5m", "--optimizer", "adamw"}, true, MODERN, ADAMW, 16, 2e-3, 1, 0, 0.95, 0.4, 0, 0.05},
        {{"--arch", "bert"}, false, BERT, ADAMW, 64, 1e-3, 1, 0, 0.95, 0.15, 0.1, 0.06},
        {{"--nsp"}, false, BERT, ADAMW, 64, 1e-3, 1, 0, 0.95, 0.15, 0.1, 0.06},
        {{"--init", "DIR", "--lr", "5e-4"}, false, MODERN, ADAMW, 64, 5e-4, 1, 0, 0.95, 0.15, 0.1, 0.06},
        {{"--init", "DIR", "--optimizer", "muon", "--budget", "5m"},
         false,
         MODERN,
         MUON,
         64,
         1e-3,
         1,
         1.5e-3,
         0.9,
         0.15,
         0.1,
         0.06},
        {{"--recipe", "classic", "--dropout", "0.2"}, false, BERT, ADAMW, 256, 1e-4, 1, 0, 0.95, 0.15, 0.2, 0.01},
        {{"--recipe", "classic", "--arch", "modern"}, false, MODERN, ADAMW, 256, 1e-4, 1, 0, 0.95, 0.15, 0.1, 0.01},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mb_pretrain_options o = {0};
        char *arguments[10] = {"--corpus", "text", "--out", "model"};
        int n = 4;
        for (int k = 0; k < 6 && cases[i].arguments[k] != NULL; k++) {
            arguments[n++] = cases[i].arguments[k];
        }
        parse_pretrain(&o, n, arguments);
        cr_expect_eq(o.arch, cases[i].arch, "case %zu", i);
        cr_expect_eq(o.optimizer, cases[i].optimizer, "case %zu", i);
        cr_expect_eq(o.init_attention, cases[i].is_new ? MB_PRETRAIN_ATTENTION_NEAR : MB_PRETRAIN_ATTENTION_RANDOM, "case %zu",
                     i);
        cr_expect_eq(o.sampled_softmax, cases[i].is_new ? 0.9 : 0, "case %zu: %g", i, o.sampled_softmax);
        cr_expect_eq(o.batch_size, cases[i].batch, "case %zu: %ld", i, o.batch_size);
        cr_expect_eq(o.lr, cases[i].lr, "case %zu: %g", i, o.lr);
        cr_expect_eq(o.word_rate, cases[i].word_rate, "case %zu: %g", i, o.word_rate);
        cr_expect_float_eq(o.muon_lr, cases[i].muon_lr, 1e-12, "case %zu: %g", i, o.muon_lr);
        cr_expect_eq(o.muon_momentum, cases[i].momentum, "case %zu: %g", i, o.muon_momentum);
        cr_expect_eq(o.mlm_probability, cases[i].masks, "case %zu: %g", i, o.mlm_probability);
        cr_expect_eq(o.dropout, cases[i].dropout, "case %zu: %g", i, o.dropout);
        cr_expect_eq(o.warmup, cases[i].warmup, "case %zu: %g", i, o.warmup);
    }
}

/* The word embeddings of a run of so many steps. */
static mb_model *learnt_words(workplace *w, mb_pretrain_options o, const char *name, double rate, int64_t steps) {
    notes n = {0};
    mb_model *model = NULL;
    mb_error error;
    o.out = path_of(w, name);
    o.word_rate = rate;
    o.steps = steps;
    json_decref(pretrain(&o, &n));
    cr_expect_eq(strstr(n.text, "adamw at 0.01, word embeddings at 0,") != NULL, rate == 0, "%s", n.text);
    ASSERT_OK(mb_model_load(o.out, MB_HEAD_MASKED_LM, NULL, 1, true, &model, &error), error);
    return model;
}

Test(pretrain, word_embeddings_have_a_rate_of_their_own) {
    workplace w = workplace_begin();
    const char *corpus = write_language(&w, "corpus.txt", 1, 300), *tokenizer = write_tokenizer(&w, "tokenizer", "zebra");
    mb_pretrain_options o = small_pretrain(&corpus, path_of(&w, "any"), tokenizer);
    mb_model *one = learnt_words(&w, o, "one", 0, 1), *still = learnt_words(&w, o, "still", 0, 9);
    mb_model *moved = learnt_words(&w, o, "moved", 1, 9);
    const mb_param *words = &mb_model_params(one)->views[0];
    cr_assert_str_eq(words->name, "bert.embeddings.word_embeddings.weight");
    const size_t n_bytes = (size_t)words->count * sizeof(mb_real);
    const mb_real *at_first = mb_model_params(one)->weights + words->offset;
    cr_expect_eq(memcmp(at_first, mb_model_params(still)->weights + words->offset, n_bytes), 0, "a rate of 0 moves them");
    cr_expect_neq(memcmp(at_first, mb_model_params(moved)->weights + words->offset, n_bytes), 0, "a rate of 1 does not");
    mb_model_free(one);
    mb_model_free(still);
    mb_model_free(moved);
    workplace_end(&w);
}

/* The run that made "straight", stopped after 7 steps and resumed, makes the same weights. */
static void check_stopped_and_resumed(workplace *w, mb_pretrain_options o) {
    notes n = {0};
    mb_error error;
    o.out = path_of(w, "stopped");
    pretrain_until(&o, 7, &error);
    o.resume = true;
    json_decref(pretrain(&o, &n));
    assert_same_path(path_of(w, "straight/model.safetensors"), path_of(w, "stopped/model.safetensors"));
}

/* A mask rate that falls, spans and [MASK] alone: a run that was stopped goes on as if it had not been. */
Test(pretrain, a_falling_mask_rate_is_resumed_exactly) {
    workplace w = workplace_begin();
    const char *corpus = write_language(&w, "corpus.txt", 1, 300), *tokenizer = write_tokenizer(&w, "tokenizer", "zebra");
    mb_pretrain_options o = small_pretrain(&corpus, path_of(&w, "straight"), tokenizer);
    notes n = {0};
    o.arch = MB_LAYOUT_MODERNBERT;
    o.optimizer = MB_OPTIMIZER_MUON;
    o.mlm_probability = 0.5;
    o.mlm_probability_end = 0.1;
    o.span_masking = true;
    o.mask_style = 1;
    json_decref(pretrain(&o, &n));
    cr_expect_not_null(strstr(n.text, "recipe: default, modern, muon at 0.01"), "%s", n.text);
    cr_expect_not_null(strstr(n.text, "50% to 10% masked"), "%s", n.text);
    cr_expect_not_null(strstr(n.text, "word frequencies (unigram entropy"), "%s", n.text);

    check_stopped_and_resumed(&w, o);

    o.out = path_of(&w, "constant");
    o.mlm_probability_end = 0;
    json_decref(pretrain(&o, &n));
    mb_buffer falling = read_path(path_of(&w, "straight/model.safetensors"));
    mb_buffer constant = read_path(path_of(&w, "constant/model.safetensors"));
    cr_expect(falling.n_bytes == constant.n_bytes && memcmp(falling.data, constant.data, falling.n_bytes) != 0,
              "the rate at the end changes nothing");
    mb_buffer_free(&falling);
    mb_buffer_free(&constant);
    workplace_end(&w);
}

/* Which pieces are in a batch's sample is a function of seed and batch. The held-out loss is over the whole vocabulary. */
Test(pretrain, a_sampled_vocabulary_is_resumed_exactly) {
    workplace w = workplace_begin();
    const char *corpus = write_language(&w, "corpus.txt", 1, 300), *tokenizer = write_tokenizer(&w, "tokenizer", "zebra");
    mb_pretrain_options o = small_pretrain(&corpus, path_of(&w, "whole"), tokenizer);
    notes n = {0};
    o.arch = MB_LAYOUT_MODERNBERT;
    json_t *whole = pretrain(&o, &n);
    o.out = path_of(&w, "straight");
    o.sampled_softmax = 0.6;
    json_t *sampled = pretrain(&o, &n);
    cr_expect_not_null(strstr(n.text, "a sample of the vocabulary for 60%"), "%s", n.text);
    const double loss = number(whole, "loss");
    cr_expect(fabs(number(sampled, "loss") - loss) < 0.3 && number(sampled, "loss") != loss, "%f, over all pieces %f",
              number(sampled, "loss"), loss);
    json_decref(whole);
    json_decref(sampled);

    check_stopped_and_resumed(&w, o);
    workplace_end(&w);
}

/* 1, 1, 1, 2, 2 ... 4 quarters of a batch: where the run is in its text is no multiple of its steps. */
Test(pretrain, a_growing_batch_is_resumed_exactly) {
    workplace w = workplace_begin();
    const char *corpus = write_language(&w, "corpus.txt", 1, 300), *tokenizer = write_tokenizer(&w, "tokenizer", "zebra");
    mb_pretrain_options o = small_pretrain(&corpus, path_of(&w, "straight"), tokenizer);
    notes n = {0};
    o.batch_ramp = 0.8;
    o.mlm_probability = 0.5;
    o.mlm_probability_end = 0.1;
    json_decref(pretrain(&o, &n));
    cr_expect_not_null(strstr(n.text, "8x32 (a quarter of it at first, whole after 80% of the run)"), "%s", n.text);
    json_t *state = load_json(path_of(&w, "straight/checkpoints/step-00000020/state.json"));
    cr_expect_eq(number(state, "batches"), 3 * 1 + 5 * 2 + 6 * 3 + 6 * 4);
    json_decref(state);

    o.out = path_of(&w, "stopped");
    mb_error error;
    pretrain_until(&o, 7, &error);
    state = load_json(path_of(&w, "stopped/checkpoints/step-00000007/state.json"));
    cr_expect_eq(number(state, "batches"), 3 * 1 + 4 * 2);
    json_decref(state);
    o.resume = true;
    notes resuming = {0};
    json_decref(pretrain(&o, &resuming));
    assert_same_path(path_of(&w, "straight/model.safetensors"), path_of(&w, "stopped/model.safetensors"));

    o.out = path_of(&w, "odd");
    o.resume = false;
    o.batch_size = 6;
    refuses(&o, MB_ERROR_USAGE, "--batch-ramp");
    o.batch_ramp = 0;
    o.depth_ramp = 0.5;
    o.arch = MB_LAYOUT_BERT;
    refuses(&o, MB_ERROR_USAGE, "--depth-ramp");
    workplace_end(&w);
}

/* The made-up language is the easiest there is, a word says the next: a model that looks at what is near learns it at once. */
Test(pretrain, attention_to_what_is_near_learns_sooner) {
    workplace w = workplace_begin();
    const char *corpus = write_language(&w, "corpus.txt", 1, 900), *tokenizer = write_tokenizer(&w, "tokenizer", "zebra");
    double loss[2];
    for (int near = 0; near < 2; near++) {
        mb_pretrain_options o = small_pretrain(&corpus, path_of(&w, near ? "near" : "random"), tokenizer);
        notes n = {0};
        o.arch = MB_LAYOUT_MODERNBERT;
        o.optimizer = MB_OPTIMIZER_MUON;
        o.init_attention = near ? MB_PRETRAIN_ATTENTION_NEAR : MB_PRETRAIN_ATTENTION_RANDOM;
        o.hidden = 64;
        o.intermediate = 64;
        o.lr = o.muon_lr = 4e-3;
        o.dropout = 0;
        o.steps = 120;
        json_t *result = pretrain(&o, &n);
        loss[near] = number(result, "loss");
        cr_expect_eq(strstr(n.text, "attention to what is near") != NULL, near, "%s", n.text);
        json_decref(result);
    }
    cr_expect_gt(loss[0], 2.6, "at random %.3f", loss[0]);
    cr_expect_lt(loss[1], 1.8, "near %.3f", loss[1]);
    workplace_end(&w);
}

/* --- the plateau --- */

Test(pretrain, a_run_on_the_plateau_is_told_the_likely_cause) {
    static const struct {
        double lr, loss, masks;
        int64_t batch, n_tokens;
        int arch, optimizer;
        const char *cause; /* a word of it */
    } cases[] = {
        {2e-3, 6.9, 0.3, 32, 1000000, MB_LAYOUT_MODERNBERT, MB_OPTIMIZER_MUON, NULL}, /* too early to say */
        {2e-3, 6.7, 0.3, 32, 9000000, MB_LAYOUT_MODERNBERT, MB_OPTIMIZER_MUON, NULL}, /* it uses context */
        {5e-3, 6.9, 0.3, 32, 9000000, MB_LAYOUT_MODERNBERT, MB_OPTIMIZER_ADAMW, "rate is high"},
        {5e-3, 6.9, 0.3, 32, 9000000, MB_LAYOUT_MODERNBERT, MB_OPTIMIZER_MUON, "running text"},
        {2e-2, 6.9, 0.3, 32, 9000000, MB_LAYOUT_MODERNBERT, MB_OPTIMIZER_MUON, "rate is high"},
        {1e-4, 6.9, 0.3, 32, 9000000, MB_LAYOUT_BERT, MB_OPTIMIZER_ADAMW, "rate is low"},
        {1e-3, 6.9, 0.15, 256, 9000000, MB_LAYOUT_BERT, MB_OPTIMIZER_ADAMW, "--batch-size"},
        {1e-3, 6.9, 0.15, 32, 9000000, MB_LAYOUT_BERT, MB_OPTIMIZER_ADAMW, "--arch modern"},
        {1e-3, 6.9, 0.8, 32, 9000000, MB_LAYOUT_BERT, MB_OPTIMIZER_ADAMW, "--mlm-probability"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const mb_pretrain_options o = {.lr = cases[i].lr,
                                       .muon_lr = cases[i].lr,
                                       .mlm_probability = cases[i].masks,
                                       .arch = cases[i].arch,
                                       .optimizer = cases[i].optimizer};
        const char *cause =
            mb_pretrain_plateau_cause(&o, cases[i].n_tokens / (128 * cases[i].batch), cases[i].n_tokens, cases[i].loss, 7);
        cr_expect(cause == NULL ? cases[i].cause == NULL : cases[i].cause != NULL && strstr(cause, cases[i].cause) != NULL,
                  "case %zu: %s", i, cause != NULL ? cause : "none");
    }
    cr_expect_null(mb_masked_lm_stage(5, 0));
    cr_expect_str_eq(mb_masked_lm_stage(9, 7), "learning word frequencies");
    cr_expect_str_eq(mb_masked_lm_stage(7, 7), "at word frequencies");
    cr_expect_str_eq(mb_masked_lm_stage(6.7, 7), "using context");

    mb_pretrain_options usual = {.arch = MB_LAYOUT_MODERNBERT,
                                 .optimizer = MB_OPTIMIZER_MUON,
                                 .init_attention = MB_PRETRAIN_ATTENTION_NEAR,
                                 .init_embeddings = "skipgram",
                                 .mlm_probability = 0.4};
    cr_expect(mb_pretrain_is_usual(&usual));
    usual.mlm_probability = 0.15;
    cr_expect_not(mb_pretrain_is_usual(&usual), "fewer masks, a lower loss");
    usual.mlm_probability = 0.4;
    usual.layers = 3;
    cr_expect_not(mb_pretrain_is_usual(&usual), "3 layers were not measured");

    double low = 0, high = 0;
    cr_expect(mb_masked_lm_usual(7, 1000000, 0, &low, &high));
    cr_expect(low < 5.3 && 5.3 < high && high < 6.1, "%f to %f", low, high);
    const double before = high;
    cr_expect(mb_masked_lm_usual(7, 10000000, 0, &low, &high) && high < before - 0.5, "more text changes nothing");
    cr_expect(mb_masked_lm_usual(7, 1000000, 1, &low, &high) && high < before - 0.3, "a fallen rate changes nothing");
    cr_expect_not(mb_masked_lm_usual(0, 1000000, 0, &low, &high));
    cr_expect_not(mb_masked_lm_usual(7, 1000, 0, &low, &high), "nothing is known of so little text");
}
