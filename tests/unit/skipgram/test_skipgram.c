#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "skipgram/skipgram.h"
#include "skipgram/subwords.h"
#include "skipgram/word_model.h"
#include "skipgram/word_vectors.h"
#include "unit/skipgram/support.h"

typedef struct fixture {
    char *dir, *corpus, *out;
    mb_skipgram_options options;
} fixture;

static fixture fixture_new(void) {
    fixture f = {.dir = test_dir_new()};
    char *text = test_paired_text(1500);
    f.corpus = test_text(f.dir, "text", text);
    free(text);
    f.out = mb_path_join(f.dir, "out");
    f.options = (mb_skipgram_options){.corpus = f.corpus,
                                      .out = f.out,
                                      .size = 20,
                                      .window = 2,
                                      .negative = 5,
                                      .min_count = 1,
                                      .epochs = 60,
                                      .exponent = 0.75,
                                      .alpha = 0.01,
                                      .min_chars = 3,
                                      .buckets = 1000,
                                      .seed = 1,
                                      .format = MB_WORD_FORMAT_BINARY};
    return f;
}

static void fixture_free(fixture *f) {
    test_dir_free(f->dir);
    free(f->corpus);
    free(f->out);
}

static double train(const fixture *f, const mb_job *job) {
    mb_error error;
    json_t *result;
    cr_assert_eq(mb_skipgram(&f->options, job, &result, &error), MB_OK, "%s", error.message);
    const double loss = json_number_value(json_object_get(result, "loss"));
    cr_assert_gt(loss, 0);
    json_decref(result);
    return loss;
}

static double cosine(const mb_word_vectors *v, const char *a, const char *b) {
    const int64_t i = mb_lexicon_find(&v->words, a, strlen(a)), j = mb_lexicon_find(&v->words, b, strlen(b));
    double ab = 0, aa = 0, bb = 0;
    cr_assert(i >= 0 && j >= 0);
    for (int64_t k = 0; k < v->width; k++) {
        const double x = (double)v->data[i * v->width + k], y = (double)v->data[j * v->width + k];
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    return ab / sqrt(aa * bb);
}

/* Words of a topic must be nearer to each other than to those of others. */
/* CBOW drives them apart instead: a mean that holds one of the two needs the other no more. gensim's does so on this text, too.
 */
static void check_topics(const fixture *f, const char *what) {
    mb_word_vectors v;
    mb_error error;
    cr_assert_eq(mb_word_vectors_load(f->out, &v, &error), MB_OK, "%s", error.message);
    cr_assert_eq(v.words.n, 90, "%s: %lld words", what, (long long)v.words.n);
    double same = 0, other = 0;
    for (int i = 0; i < 20; i++) {
        for (int j = 0; j < 20; j++) {
            char a[8], b[8];
            snprintf(a, sizeof a, "a%d", i);
            snprintf(b, sizeof b, "b%d", j);
            *(i == j ? &same : &other) += cosine(&v, a, b) / (i == j ? 20 : 380);
        }
    }
    const double gap = f->options.cbow ? other - same : same - other;
    cr_assert_gt(gap, 0.1, "%s: mean cosine %.3f within topics, %.3f between them", what, same, other);
    mb_word_vectors_free(&v);
}

Test(skipgram, every_kind_learns_the_topics) {
    static const struct {
        const char *name;
        bool cbow, hs, deterministic, unknown;
        int engine;
        int64_t negative, max_chars, window;
        double alpha;
    } kinds[] = {
        {"fast", false, false, false, false, MB_ENGINE_FAST, 5, 0, 2, 0.01},
        {"plain", false, false, false, false, MB_ENGINE_PLAIN, 5, 0, 2, 0.01},
        {"many negatives", false, false, false, false, MB_ENGINE_FAST, 20, 0, 2, 0.01},
        {"cbow", true, false, false, false, MB_ENGINE_FAST, 5, 0, 2, 0.1},
        {"hs", false, true, false, false, MB_ENGINE_FAST, 0, 0, 2, 0.01},
        {"plain hs", false, true, false, false, MB_ENGINE_PLAIN, 0, 0, 2, 0.01},
        {"cbow, hs", true, true, false, false, MB_ENGINE_FAST, 0, 0, 2, 0.1},
        {"both", false, true, false, false, MB_ENGINE_FAST, 5, 0, 2, 0.01},
        {"n-grams", false, false, false, false, MB_ENGINE_FAST, 5, 4, 2, 0.01},
        {"deterministic", false, false, true, false, MB_ENGINE_FAST, 5, 0, 2, 0.01},
        {"deterministic cbow, n-grams", true, false, true, false, MB_ENGINE_FAST, 5, 4, 2, 0.1},
        {"deterministic plain hs", false, true, true, false, MB_ENGINE_PLAIN, 0, 0, 2, 0.01},
    };
    mb_threads_set(2);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        fixture f = fixture_new();
        f.options.cbow = kinds[i].cbow;
        f.options.hs = kinds[i].hs;
        f.options.deterministic = kinds[i].deterministic;
        f.options.engine = kinds[i].engine;
        f.options.negative = kinds[i].negative;
        f.options.max_chars = kinds[i].max_chars;
        f.options.window = kinds[i].window;
        f.options.alpha = kinds[i].alpha;
        train(&f, NULL);
        check_topics(&f, kinds[i].name);
        fixture_free(&f);
    }
}

Test(skipgram, deterministic_means_the_same_bytes_at_any_number_of_threads) {
    for (int kind = 0; kind < 3; kind++) {
        fixture f = fixture_new();
        f.options.deterministic = true;
        f.options.epochs = 1;
        f.options.hs = kind == 1;
        f.options.cbow = kind == 2;
        f.options.max_chars = kind == 2 ? 3 : 0;
        char *first = NULL;
        size_t first_bytes = 0;
        for (int n_threads = 1; n_threads <= 4; n_threads++) {
            mb_threads_set(n_threads);
            train(&f, NULL);
            size_t n_bytes;
            char *bytes = test_read(f.out, &n_bytes);
            if (!first) {
                first = bytes;
                first_bytes = n_bytes;
                continue;
            }
            cr_assert(n_bytes == first_bytes && memcmp(bytes, first, n_bytes) == 0, "kind %d, %d threads", kind, n_threads);
            free(bytes);
        }
        f.options.seed = 2;
        train(&f, NULL);
        size_t n_bytes;
        char *bytes = test_read(f.out, &n_bytes);
        cr_assert(memcmp(bytes, first, first_bytes) != 0, "another seed gives other vectors");
        free(bytes);
        free(first);
        fixture_free(&f);
    }
}

Test(skipgram, the_mean_loss_begins_at_that_of_chance) {
    fixture f = fixture_new(); /* zero context vectors: sigma is 1/2 for the positive and each negative that is not the word */
    f.options.alpha = 1e-9;
    f.options.epochs = 1;
    const double loss = train(&f, NULL), chance = 6 * log(2);
    cr_assert(loss <= chance + 1e-6 && loss > chance * 0.97, "%f, chance %f", loss, chance);
    fixture_free(&f);
}

Test(skipgram, goes_on_from_given_vectors) {
    fixture f = fixture_new();
    train(&f, NULL);
    char *first = mb_path_join(f.dir, "first"), *context = mb_path_join(f.dir, "context"),
         *counts = mb_path_join(f.dir, "counts");
    mb_error error;
    cr_assert_eq(mb_path_rename(f.out, first, &error), MB_OK);
    f.options.init = first;
    f.options.save_context = context;
    f.options.save_vocabulary = counts;
    f.options.alpha = 1e-9;
    train(&f, NULL);
    mb_word_vectors before, after;
    cr_assert_eq(mb_word_vectors_load(first, &before, &error), MB_OK);
    cr_assert_eq(mb_word_vectors_load(f.out, &after, &error), MB_OK);
    for (int64_t i = 0; i < 90 * 20; i++) {
        cr_assert_float_eq(before.data[i], after.data[i], 1e-5f);
    }
    mb_word_vectors_free(&after);
    cr_assert_eq(mb_word_vectors_load(context, &after, &error), MB_OK);
    cr_assert_eq(after.words.n, 90);
    mb_word_vectors_free(&after);
    mb_word_vectors_free(&before);
    size_t n_bytes;
    char *text = test_read(counts, &n_bytes);
    cr_assert(strncmp(text, "a", 1) == 0 || strncmp(text, "b", 1) == 0, "%.20s", text);
    free(text);
    f.options.size = 21;
    json_t *result;
    cr_assert_eq(mb_skipgram(&f.options, NULL, &result, &error), MB_ERROR_MISMATCH);
    cr_assert(strstr(error.message, "--size 20"), "%s", error.message);
    free(first);
    free(context);
    free(counts);
    fixture_free(&f);
}

static void stop_at_once(void *user, const mb_progress *progress) {
    (void)progress;
    *(volatile sig_atomic_t *)user = 2;
}

Test(skipgram, a_signal_stops_it_and_nothing_is_written) {
    for (int deterministic = 0; deterministic < 2; deterministic++) {
        fixture f = fixture_new();
        volatile sig_atomic_t stop = 0;
        const mb_job job = {.user = (void *)(uintptr_t)&stop, .progress = stop_at_once, .stop_signal = &stop};
        f.options.epochs = 1000;
        f.options.deterministic = deterministic;
        mb_error error;
        json_t *result;
        cr_assert_eq(mb_skipgram(&f.options, &job, &result, &error), MB_ERROR_INTERRUPTED);
        cr_assert_null(result);
        cr_assert_not(mb_path_exists(f.out));
        fixture_free(&f);
    }
}

Test(skipgram, what_does_not_go_together_is_said) {
    fixture f = fixture_new();
    mb_error error;
    json_t *result;
    static const char *const says[] = {"--corpus", "--out", "--hs", "--save-context", "--minn", "--maxn"};
    for (size_t i = 0; i < sizeof says / sizeof *says; i++) {
        mb_skipgram_options options = f.options;
        options.corpus = i == 0 ? NULL : options.corpus;
        options.out = i == 1 ? NULL : options.out;
        options.negative = i == 2 || i == 3 ? 0 : 5;
        options.hs = i == 3;
        options.save_context = i == 3 ? "x" : NULL;
        options.max_chars = i == 4 ? 2 : 0;
        options.save_ngrams = i == 5 ? "x" : NULL;
        cr_assert_eq(mb_skipgram(&options, NULL, &result, &error), MB_ERROR_USAGE, "%zu", i);
        cr_assert(strstr(error.message, says[i]), "%s", error.message);
    }
    fixture_free(&f);
}

/* --- CBOW's and the n-grams' means: the change of each row is minus the derivative of the loss, times alpha --- */

typedef struct small_model {
    mb_word_model model;
    mb_subwords subwords;
    uint64_t starts[6];
    uint32_t buckets[4];
    mb_example example;
} small_model;

/* Five words of width 3, words 0 and 2 with n-grams; random numbers everywhere. */
static small_model *small_model_new(bool cbow, bool subwords) {
    small_model *s = calloc(1, sizeof *s);
    static const uint64_t starts[] = {0, 1, 1, 4, 4, 4};
    static const uint32_t buckets[] = {1, 0, 1, 2};
    memcpy(s->starts, starts, sizeof starts);
    memcpy(s->buckets, buckets, sizeof buckets);
    s->subwords = (mb_subwords){s->starts, s->buckets};
    s->model = (mb_word_model){.width = 3,
                               .n_words = 5,
                               .n_in_rows = 5 + 3,
                               .n_out_rows = 5,
                               .subwords = subwords ? &s->subwords : NULL,
                               .cbow = cbow};
    mb_error error;
    cr_assert_eq(mb_word_model_init(&s->model, 1, &error), MB_OK);
    for (int64_t row = 0; row < 8; row++) {
        for (int64_t j = 0; j < 3; j++) {
            mb_word_model_in(&s->model, row)[j] = (float)sin((double)(1 + 3 * row + j)) * 0.8f;
            if (row < 5) {
                mb_word_model_out(&s->model, row)[j] = (float)cos((double)(2 + 5 * row + j)) * 0.8f;
            }
        }
    }
    s->example = (mb_example){.n_in = 3, .n_out = 3, .in = {0, 2, 3}, .out = {1, 4, 0}, .label = {1, 0, 0}};
    return s;
}

static void small_model_free(small_model *s) {
    mb_word_model_free(&s->model);
    free(s);
}

static double word_number(const small_model *s, uint32_t word, int64_t j) {
    double sum = (double)mb_word_model_in(&s->model, word)[j];
    int n = 1;
    for (uint64_t k = s->starts[word]; s->model.subwords && k < s->starts[word + 1]; k++, n++) {
        sum += (double)mb_word_model_in(&s->model, 5 + s->buckets[k])[j];
    }
    return sum / n;
}

static double model_loss(const small_model *s) {
    double loss = 0;
    for (int i = 0; i < (s->model.cbow ? 1 : 3); i++) {
        for (int o = 0; o < 3; o++) {
            double f = 0;
            for (int64_t j = 0; j < 3; j++) {
                double h = 0;
                for (int k = 0; k < 3; k++) {
                    h += s->model.cbow || k == i ? word_number(s, s->example.in[k], j) / (s->model.cbow ? 3 : 1) : 0;
                }
                f += h * (double)mb_word_model_out(&s->model, s->example.out[o])[j];
            }
            loss += log(1 + exp(s->example.label[o] > 0 ? -f : f));
        }
    }
    return loss;
}

static double step_change(small_model *s, const float *row, int64_t j, bool in_place) {
    mb_word_step *step = aligned_alloc(64, (sizeof *step + 63) / 64 * 64);
    mb_error error;
    cr_assert_eq(mb_word_step_init(step, &s->model, 2 * MB_PAIRS_MAX_IN + MB_PAIRS_MAX_OUT, &error), MB_OK);
    const float alpha = 1e-2f;
    double change = 0;
    if (in_place) {
        const double before = (double)row[j];
        mb_word_step_train(step, &s->model, &s->example, alpha);
        change = (double)row[j] - before;
    } else {
        cr_assert(mb_word_step_compute(step, &s->model, &s->example, alpha));
        for (int64_t k = 0; k < step->n_later; k++) {
            change += step->later[k].row == row ? (double)(step->later[k].scale * step->later[k].change[j]) : 0;
        }
    }
    cr_assert_float_eq(mb_loss_sum_get(&step->loss), in_place ? mb_loss_sum_get(&step->loss) : model_loss(s), 1e-5);
    mb_word_step_free(step);
    free(step);
    return change / (double)alpha;
}

/* Two matrices are nearly all the memory of a run: padding 100 numbers to cache lines everywhere took an eighth more. */
Test(skipgram, rows_are_padded_where_it_pays) {
    static const int64_t cases[][3] = {{1, 16, 4},      {10, 16, 12},    {50, 64, 52},    {64, 64, 64},
                                       {100, 112, 100}, {128, 128, 128}, {200, 208, 208}, {300, 304, 304}};
    enum { N = 3000 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mb_word_model model = {.width = cases[i][0], .n_words = N, .n_in_rows = N + 10, .n_out_rows = N};
        mb_error error;
        cr_assert_eq(mb_word_model_init(&model, 1, &error), MB_OK);
        cr_assert_eq(model.line_stride, cases[i][1], "%lld numbers: rows of %lld", (long long)model.width,
                     (long long)model.line_stride);
        cr_assert_eq(model.stride, cases[i][2], "%lld numbers: rows of %lld", (long long)model.width, (long long)model.stride);
        cr_assert(model.n_in_lines > 0 && model.n_in_lines < N && model.n_out_lines == model.n_in_lines);
        for (int64_t row = 0; row < N + 10; row++) {
            float *at = mb_word_model_in(&model, row);
            cr_assert_eq((uintptr_t)at % (row < model.n_in_lines ? 64 : 16), 0u);
            at[0] = (float)row;
            at[model.width - 1] += row == 0 ? 0.0f : 1.0f;
        }
        mb_word_model_squeeze(&model);
        for (int64_t row = 0; row < N + 10; row++) { /* uniform in +-1/(2 width) before */
            const float *at = model.in + row * model.stride;
            cr_assert(at == mb_word_model_in(&model, row) && (model.width == 1 || at[0] == (float)row), "row %lld",
                      (long long)row);
            cr_assert(row == 0 || at[model.width - 1] > 0.4f, "row %lld", (long long)row);
        }
        mb_word_model_free(&model);
    }
}

Test(skipgram, the_steps_of_means_are_gradients) {
    for (int kind = 0; kind < 4; kind++) {
        const bool cbow = kind & 1, subwords = kind & 2;
        for (int64_t row = 0; row < 13; row++) {
            for (int64_t j = 0; j < 3; j++) {
                for (int in_place = 0; in_place < 2; in_place++) {
                    small_model *s = small_model_new(cbow, subwords);
                    float *at = row < 8 ? mb_word_model_in(&s->model, row) : mb_word_model_out(&s->model, row - 8);
                    const float before = at[j], h = 1e-2f;
                    at[j] = before + h;
                    const double above = model_loss(s);
                    at[j] = before - h;
                    const double below = model_loss(s), expected = (below - above) / (2 * (double)h);
                    at[j] = before;
                    /* a word's n-grams get as much as the word itself would without them, fastText's way */
                    const double parts = !subwords ? 1 : row == 0 ? 2 : row == 2 ? 4 : 1;
                    if (row < 5 || row >= 8 || !subwords) {
                        const double change = step_change(s, at, j, in_place);
                        cr_assert_float_eq(change, expected * parts, 2e-4, "kind %d, row %lld, %lld: %f, expected %f", kind,
                                           (long long)row, (long long)j, change, expected * parts);
                    }
                    small_model_free(s);
                }
            }
        }
    }
}

Test(skipgram, ngrams_of_a_word) {
    const mb_subword_options options = {.min_chars = 2, .max_chars = 3, .n_buckets = 1 << 30};
    uint32_t a[16], b[16];
    /* "<no>": <n no o> <no no> */
    cr_assert_eq(mb_subwords_of(&options, "no", 2, a, 16), 5);
    /* the same count of characters, of two bytes each */
    cr_assert_eq(mb_subwords_of(&options, "\xc3\xa9\xc3\xa8", 4, b, 16), 5);
    const mb_subword_options one = {.min_chars = 1, .max_chars = 1, .n_buckets = 1 << 30};
    cr_assert_eq(mb_subwords_of(&one, "no", 2, b, 16), 2, "neither '<' nor '>'");
    const mb_subword_options none = {.min_chars = 3, .max_chars = 0, .n_buckets = 10};
    cr_assert_eq(mb_subwords_of(&none, "no", 2, b, 16), 0);
    /* FNV-1a of "<n" by hand: ((2166136261 ^ 60) * p ^ 110) * p with p = 16777619, modulo 2^32 and 2^30 */
    uint32_t hash = 2166136261u;
    hash = (uint32_t)((uint64_t)(hash ^ 60u) * 16777619u);
    hash = (uint32_t)((uint64_t)(hash ^ 110u) * 16777619u);
    cr_assert_eq(a[0], hash % (1u << 30));
}
