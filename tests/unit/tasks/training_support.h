/* What the tests of pretraining and of classifiers share: a made-up text, a tokenizer directory, options with their defaults.
 */
#ifndef MB_TESTS_TASKS_TRAINING_SUPPORT_H
#define MB_TESTS_TASKS_TRAINING_SUPPORT_H

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/json.h"
#include "base/options.h"
#include "base/rng.h"
#include "base/threads.h"
#include "minibert/tokenizer.h"
#include "tasks/evaluate.h"
#include "tasks/finetune.h"
#include "tasks/predict.h"
#include "tasks/pretrain.h"

#define ASSERT_OK(call, error) cr_assert_eq((call), MB_OK, "%s", (error).message)
#define ASSERT_SAYS(error, text) cr_assert_not_null(strstr((error).message, text), "the message is '%s'", (error).message)

/* A directory, gone at the end, and paths in it. */
typedef struct workplace {
    char dir[64];
    char *paths[64];
    size_t n_paths;
} workplace;

static inline workplace workplace_begin(void) {
    workplace w = {.dir = "/tmp/minibert-tasks-XXXXXX"};
    cr_assert_not_null(mkdtemp(w.dir));
    mb_threads_set(1); /* the models are too small to share their work */
    return w;
}

static inline const char *path_of(workplace *w, const char *name) {
    cr_assert_lt(w->n_paths, sizeof w->paths / sizeof *w->paths);
    return w->paths[w->n_paths++] = mb_path_join(w->dir, name);
}

static inline void workplace_end(workplace *w) {
    mb_error error;
    ASSERT_OK(mb_path_remove(w->dir, &error), error);
    for (size_t i = 0; i < w->n_paths; i++) {
        free(w->paths[i]);
    }
}

static inline const char *write_text(workplace *w, const char *name, const char *text) {
    mb_error error;
    const char *path = path_of(w, name);
    ASSERT_OK(mb_file_write(path, text, strlen(text), &error), error);
    return path;
}

static inline mb_buffer read_path(const char *path) {
    mb_buffer bytes = {0};
    mb_error error;
    ASSERT_OK(mb_file_read(path, &bytes, &error), error);
    return bytes;
}

static inline void assert_same_path(const char *a, const char *b) {
    mb_buffer left = read_path(a), right = read_path(b);
    cr_assert(left.n_bytes == right.n_bytes && memcmp(left.data, right.data, left.n_bytes) == 0, "'%s' and '%s' differ", a, b);
    mb_buffer_free(&left);
    mb_buffer_free(&right);
}

static inline json_t *load_json(const char *path) {
    json_t *object = NULL;
    mb_error error;
    ASSERT_OK(mb_json_load(path, &object, &error), error);
    return object;
}

static inline double number(const json_t *object, const char *key) {
    cr_assert(json_is_number(json_object_get(object, key)), "no number '%s'", key);
    return json_number_value(json_object_get(object, key));
}

/* --- a language that can be learnt: lines that count upwards modulo 20, a document of three lines each --- */
enum { LANGUAGE_WORDS = 20 };
static const char *const language_words[LANGUAGE_WORDS] = {"ant", "bee",  "cat",   "dog", "elk",  "fox",  "gnu",
                                                           "hen", "ibis", "jay",   "koi", "lark", "mole", "newt",
                                                           "owl", "pig",  "quail", "rat", "seal", "toad"};

static inline const char *write_language(workplace *w, const char *name, uint32_t seed, uint32_t n_lines) {
    mb_buffer text = {0};
    for (uint32_t line = 0; line < n_lines; line++) {
        const mb_rng_block random = mb_rng_at(seed, MB_STREAM_TEST, 0, 0, line);
        const uint32_t start = mb_rng_below(random.v[0], LANGUAGE_WORDS), length = 8 + mb_rng_below(random.v[1], 5);
        for (uint32_t i = 0; i < length; i++) {
            cr_assert(mb_buffer_printf(&text, "%s ", language_words[(start + i) % LANGUAGE_WORDS]));
        }
        cr_assert(mb_buffer_append_text(&text, line % 3 == 2 ? "\n\n" : "\n"));
    }
    const char *path = write_text(w, name, text.data);
    mb_buffer_free(&text);
    return path;
}

/* The directory of a tokenizer that knows the language's words and one more (NULL: none). */
static inline const char *write_tokenizer(workplace *w, const char *name, const char *last_piece) {
    const char *pieces[5 + LANGUAGE_WORDS + 1] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    memcpy(pieces + 5, language_words, sizeof language_words);
    pieces[5 + LANGUAGE_WORDS] = last_piece;
    const mb_tokenizer_config config = mb_tokenizer_config_default();
    mb_tokenizer *tokenizer = NULL;
    mb_error error;
    const char *dir = path_of(w, name);
    ASSERT_OK(mb_dir_make(dir, &error), error);
    ASSERT_OK(mb_tokenizer_new(pieces, 5 + LANGUAGE_WORDS + (last_piece != NULL), &config, &tokenizer, &error), error);
    ASSERT_OK(mb_tokenizer_save(tokenizer, dir, &error), error);
    mb_tokenizer_free(tokenizer);
    return dir;
}

/* --- options: the table's defaults, as a user gets them --- */

static inline void set_defaults(const mb_option *table, void *target) {
    const mb_option *tables[] = {table, NULL};
    void *targets[] = {target};
    mb_option_set set = {0};
    mb_error error;
    ASSERT_OK(mb_option_set_init(&set, tables, targets, &error), error);
    mb_option_set_free(&set); /* the tables have no texts or lists as defaults but literals */
}

/* The table's options as the command gets them: `arguments` and what the recipe makes of the rest. */
static inline void parse_pretrain(mb_pretrain_options *o, int argc, char *const *argv) {
    const mb_option *tables[] = {mb_pretrain_option_table, NULL};
    void *targets[] = {o};
    mb_option_set set = {0};
    mb_error error;
    ASSERT_OK(mb_option_set_init(&set, tables, targets, &error), error);
    ASSERT_OK(mb_option_set_parse(&set, argc, argv, &error), error);
    ASSERT_OK(mb_pretrain_apply_recipe(&set, o, &error), error);
    o->corpus = (mb_text_list){0}; /* these belong to the set */
    o->out = o->init = o->init_embeddings = NULL;
    mb_option_set_free(&set);
}

/* Options for a run of seconds on the language, with BERT's layout. */
static inline mb_pretrain_options small_pretrain(const char *const *corpus, const char *out, const char *tokenizer) {
    mb_pretrain_options o = {0};
    char *const arguments[] = {"--corpus", "text", "--out", "model", "--arch", "bert"};
    parse_pretrain(&o, 6, arguments);
    o.corpus = (mb_text_list){.items = (const char **)(uintptr_t)corpus, .n = 1};
    o.out = out;
    o.tokenizer = tokenizer;
    o.layers = 1;
    o.hidden = 32;
    o.heads = 2;
    o.intermediate = 64;
    o.seq_length = 32;
    o.batch_size = 8;
    o.steps = 20;
    o.lr = 1e-2;
    o.seed = 3;
    return o;
}

/* --- a job that takes notes and can be stopped --- */
typedef struct notes {
    char text[8192];
    size_t n_bytes;
    volatile sig_atomic_t stop;
    int64_t stop_at_step; /* 0: never */
} notes;

static inline void take_note(void *user, mb_level level, const char *text) {
    notes *n = user;
    int written = snprintf(n->text + n->n_bytes, sizeof n->text - n->n_bytes, "%s%s\n",
                           level == MB_LEVEL_WARNING ? "warning: " : "", text);
    n->n_bytes += written > 0 && (size_t)written < sizeof n->text - n->n_bytes ? (size_t)written : 0;
}

static inline void watch_progress(void *user, const mb_progress *progress) {
    notes *n = user;
    if (n->stop_at_step > 0 && strcmp(progress->phase, "train") == 0 && progress->done == n->stop_at_step) {
        n->stop = SIGINT;
    }
}

static inline mb_job job_of(notes *n) {
    return (mb_job){.user = n, .message = take_note, .progress = watch_progress, .stop_signal = &n->stop};
}

#endif
