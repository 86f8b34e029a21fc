/* pretrain --init-embeddings: which pieces begin as their words' vectors, and with which numbers. */
#include <math.h>

#include "model/model.h"
#include "tasks/init_embeddings.h"
#include "training_support.h"

static const char *const pieces[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the",  "cat",
                                     "sat",   "##es",  "ant",   "bee",   "elk",    "mole", "fish"};
enum { N_PIECES = sizeof pieces / sizeof *pieces };

typedef struct trial {
    workplace w;
    mb_tokenizer *tokenizer;
    mb_model *model, *untouched; /* the same before */
} trial;

static mb_model *new_model(int32_t hidden) {
    mb_model_config config;
    mb_model *model = NULL;
    mb_error error;
    ASSERT_OK(mb_model_config_preset("tiny", &config, &error), error);
    config.vocab_size = N_PIECES;
    config.hidden_size = hidden;
    config.n_heads = 2;
    config.intermediate_size = 8;
    config.max_positions = 8;
    config.initializer_range = 0.4;
    ASSERT_OK(mb_model_new(&config, MB_HEAD_MASKED_LM, 7, &model, &error), error);
    mb_model_config_free(&config);
    return model;
}

static trial begin(int32_t hidden) {
    trial t = {.w = workplace_begin(), .model = new_model(hidden), .untouched = new_model(hidden)};
    const mb_tokenizer_config settings = mb_tokenizer_config_default();
    mb_error error;
    ASSERT_OK(mb_tokenizer_new(pieces, N_PIECES, &settings, &t.tokenizer, &error), error);
    return t;
}

static void end(trial *t) {
    mb_tokenizer_free(t->tokenizer);
    mb_model_free(t->model);
    mb_model_free(t->untouched);
    workplace_end(&t->w);
}

static void init(trial *t, const char *vectors, uint64_t seed) {
    mb_error error;
    ASSERT_OK(mb_init_embeddings(t->model, t->tokenizer, vectors, seed, NULL, &error), error);
}

static const float *row_of(const trial *t, const char *piece) {
    const mb_params *params = mb_model_params(t->model);
    const int view = mb_params_find(params, "bert.embeddings.word_embeddings.weight");
    cr_assert_geq(view, 0);
    const int32_t id = mb_tokenizer_id(t->tokenizer, piece);
    return mb_params_weights(params, &params->views[view]) + id * mb_model_get_config(t->model)->hidden_size;
}

/* Only the rows of these words may differ from what the initialiser drew. */
static void only_changed(const trial *t, const char *words) {
    const mb_params *now = mb_model_params(t->model), *before = mb_model_params(t->untouched);
    const int64_t h = mb_model_get_config(t->model)->hidden_size;
    const float *table = row_of(t, pieces[0]);
    for (int64_t i = 0; i < now->count; i++) {
        const int64_t at = now->weights + i - table;
        const bool is_row = at >= 0 && at < N_PIECES * h;
        char spaced[32] = "";
        if (is_row) {
            snprintf(spaced, sizeof spaced, " %s ", pieces[at / h]);
        }
        const bool may = is_row && strstr(words, spaced) != NULL;
        cr_assert((now->weights[i] != before->weights[i]) == may, "number %lld (%s) %s", (long long)i, spaced,
                  may ? "is as it was" : "has changed");
    }
}

/* Four words along four axes: each is brought to length 1, the mean of 1/4 on each axis is subtracted, which leaves 3/4 and
 * -1/4, and the deviation of all 64 numbers, sqrt(3) / 8, becomes 0.4. */
Test(init_embeddings, of_equal_width_are_the_centred_vectors_at_the_initialisers_deviation) {
    trial t = begin(16);
    init(&t,
         write_text(&t.w, "vectors.txt",
                    "7 16\n"
                    "the 0 0 7 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
                    "zebra 1 2 3 4 5 6 7 8 9 8 7 6 5 4 3 2\n"
                    "Cat 3 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
                    "sat 0 0.5 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
                    "es 5 5 5 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
                    "[MASK] 5 5 5 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
                    "##es 0 0 0 1e3 0 0 0 0 0 0 0 0 0 0 0 0\n"),
         1);
    only_changed(&t, " the cat sat ##es ");
    static const char *const words[] = {"cat", "sat", "the", "##es"}; /* in the order of their axes */
    for (int i = 0; i < 4; i++) {
        const float *row = row_of(&t, words[i]);
        for (int j = 0; j < 16; j++) {
            const double expected = 0.4 * 8 / sqrt(3) * (j == i ? 0.75 : j < 4 ? -0.25 : 0);
            cr_expect_float_eq((double)row[j], expected, 1e-6, "%s, number %d: %.7f instead of %.7f", words[i], j,
                               (double)row[j], expected);
        }
    }
    end(&t);
}

static double cosine(const double *a, const double *b, int n) {
    double dot = 0, aa = 0, bb = 0;
    for (int j = 0; j < n; j++) {
        dot += a[j] * b[j];
        aa += a[j] * a[j];
        bb += b[j] * b[j];
    }
    return dot / sqrt(aa * bb);
}

static const char *const found[] = {"the", "cat", "sat", "ant", "bee", "elk"};
enum { N_FOUND = sizeof found / sizeof *found };

static const char *write_random_vectors(trial *t, int width, double *unit) {
    mb_buffer text = {0};
    cr_assert(mb_buffer_printf(&text, "%d %d\n", N_FOUND, width));
    for (int i = 0; i < N_FOUND; i++) {
        double square = 0;
        cr_assert(mb_buffer_printf(&text, "%s", found[i]));
        for (int j = 0; j < width; j++) {
            const mb_rng_block random = mb_rng_at(5, MB_STREAM_TEST, (uint32_t)i, (uint32_t)j, 0);
            const double x = (double)(random.v[0] % 2001) / 1000 - 1;
            cr_assert(mb_buffer_printf(&text, " %.3f", x));
            unit[i * width + j] = x;
            square += x * x;
        }
        for (int j = 0; j < width; j++) {
            unit[i * width + j] /= sqrt(square);
        }
        cr_assert(mb_buffer_append_text(&text, "\n"));
    }
    const char *path = write_text(&t->w, "random.txt", text.data);
    mb_buffer_free(&text);
    return path;
}

Test(init_embeddings, narrower_vectors_keep_their_cosines) {
    enum { WIDTH = 7, H = 12 };
    trial t = begin(H);
    double unit[N_FOUND * WIDTH], mean[WIDTH] = {0}, rows[N_FOUND * H], square = 0;
    init(&t, write_random_vectors(&t, WIDTH, unit), 1);
    only_changed(&t, " the cat sat ant bee elk ");
    for (int i = 0; i < N_FOUND * WIDTH; i++) {
        mean[i % WIDTH] += unit[i] / N_FOUND;
    }
    for (int i = 0; i < N_FOUND * WIDTH; i++) {
        unit[i] -= mean[i % WIDTH];
    }
    for (int i = 0; i < N_FOUND * H; i++) {
        rows[i] = (double)row_of(&t, found[i / H])[i % H];
        square += rows[i] * rows[i];
    }
    cr_expect_float_eq(sqrt(square / (N_FOUND * H)), 0.4, 1e-6, "the deviation is %.7f", sqrt(square / (N_FOUND * H)));
    for (int i = 0; i < N_FOUND; i++) {
        for (int k = 0; k < i; k++) {
            const double is = cosine(rows + i * H, rows + k * H, H), was = cosine(unit + i * WIDTH, unit + k * WIDTH, WIDTH);
            cr_expect_float_eq(is, was, 1e-5, "cosine of %s and %s: %.6f instead of %.6f", found[i], found[k], is, was);
        }
    }
    end(&t);
}

/* Six words along +-3 axes have the mean 0, so their rows are +-s P_j, P's columns being orthonormal: the sum of r r' is
 * 2 s^2 I, and the deviation of 12 numbers, sqrt(2 * 2 s^2 / 12), is 0.4. */
Test(init_embeddings, wider_vectors_are_seen_through_orthonormal_columns) {
    enum { H = 2 };
    trial t = begin(H);
    const char *vectors =
        write_text(&t.w, "wide.txt", "6 3\nthe 1 0 0\ncat -1 0 0\nsat 0 1 0\nant 0 -1 0\nbee 0 0 1\nelk 0 0 -1\n");
    init(&t, vectors, 1);
    double sums[H][H] = {{0}};
    float first[N_FOUND * H];
    for (int i = 0; i < N_FOUND; i++) {
        const float *row = row_of(&t, found[i]);
        for (int j = 0; j < H * H; j++) {
            sums[j / H][j % H] += (double)row[j / H] * (double)row[j % H];
        }
        memcpy(first + i * H, row, H * sizeof *row);
    }
    const double expected = 0.16 * 12 / 2;
    cr_expect_float_eq(sums[0][0], expected, 1e-6, "%.7f", sums[0][0]);
    cr_expect_float_eq(sums[1][1], expected, 1e-6, "%.7f", sums[1][1]);
    cr_expect_float_eq(sums[0][1], 0, 1e-6, "%.7f", sums[0][1]);
    init(&t, vectors, 1);
    cr_expect_eq(memcmp(first, row_of(&t, "the"), H * sizeof *first), 0, "the same seed is another matrix");
    init(&t, vectors, 2);
    cr_expect_neq(memcmp(first, row_of(&t, "the"), H * sizeof *first), 0, "another seed is the same matrix");
    end(&t);
}

Test(init_embeddings, says_how_many_and_refuses_vectors_of_other_words) {
    trial t = begin(4);
    notes n = {0};
    mb_job job = job_of(&n);
    mb_error error;
    ASSERT_OK(
        mb_init_embeddings(t.model, t.tokenizer, write_text(&t.w, "a.txt", "2 3\nthe 1 0 0\ncat 0 1 0\n"), 1, &job, &error),
        error);
    cr_assert_not_null(strstr(n.text, "2 of 14 pieces begin as their vectors"), "%s", n.text);
    cr_assert_not_null(strstr(n.text, "3 numbers to 4"), "%s", n.text);
    const char *others = write_text(&t.w, "b.txt", "1 3\nzebra 1 0 0\n");
    cr_assert_eq(mb_init_embeddings(t.model, t.tokenizer, others, 1, NULL, &error), MB_ERROR_MISMATCH);
    ASSERT_SAYS(error, "no word of '");
    ASSERT_SAYS(error, "b.txt");
    cr_assert_neq(mb_init_embeddings(t.model, t.tokenizer, "/nowhere/vectors", 1, NULL, &error), MB_OK);
    ASSERT_SAYS(error, "/nowhere/vectors");
    end(&t);
}

static const char *write_language_vectors(workplace *w) {
    mb_buffer text = {0};
    cr_assert(mb_buffer_printf(&text, "%d 2\n", LANGUAGE_WORDS));
    for (int i = 0; i < LANGUAGE_WORDS; i++) {
        const double angle = 2 * 3.14159265358979 * i / LANGUAGE_WORDS;
        cr_assert(mb_buffer_printf(&text, "%s %.6f %.6f\n", language_words[i], cos(angle), sin(angle)));
    }
    const char *path = write_text(w, "vectors.txt", text.data);
    mb_buffer_free(&text);
    return path;
}

/* Of a model trained at hardly any rate the embeddings are where they began: neighbours on the circle are near, opposites far.
 */
Test(init_embeddings, pretraining_begins_with_them_and_a_resumed_run_goes_on) {
    workplace w = workplace_begin();
    const char *corpus = write_language(&w, "corpus.txt", 1, 300), *tokenizer = write_tokenizer(&w, "tokenizer", "zebra");
    mb_pretrain_options o = small_pretrain(&corpus, path_of(&w, "straight"), tokenizer);
    json_t *result = NULL;
    mb_error error;
    o.init_embeddings = write_language_vectors(&w);
    o.lr = 1e-9;
    ASSERT_OK(mb_pretrain(&o, NULL, &result, &error), error);
    json_decref(result);
    mb_model *model = NULL;
    ASSERT_OK(mb_model_load(o.out, MB_HEAD_MASKED_LM, NULL, 0, false, &model, &error), error);
    const mb_params *params = mb_model_params(model);
    const float *table = mb_params_weights(params, &params->views[0]);
    for (int i = 0; i < LANGUAGE_WORDS; i++) {
        double a[32], b[32];
        for (int k = 1; k <= LANGUAGE_WORDS / 2; k++) {
            for (int j = 0; j < 32; j++) {
                a[j] = (double)table[(5 + i) * 32 + j];
                b[j] = (double)table[(5 + (i + k) % LANGUAGE_WORDS) * 32 + j];
            }
            const double expected = cos(2 * 3.14159265358979 * k / LANGUAGE_WORDS);
            cr_assert_float_eq(cosine(a, b, 32), expected, 1e-3, "words %d and %d: %.4f", i, i + k, cosine(a, b, 32));
        }
    }
    mb_model_free(model);

    o.lr = 1e-2;
    o.out = path_of(&w, "learnt");
    ASSERT_OK(mb_pretrain(&o, NULL, &result, &error), error);
    json_decref(result);
    o.out = path_of(&w, "broken");
    notes stopping = {.stop_at_step = 11};
    mb_job job = job_of(&stopping);
    cr_assert_eq(mb_pretrain(&o, &job, &result, &error), MB_ERROR_INTERRUPTED);
    o.resume = true;
    ASSERT_OK(mb_path_remove(o.init_embeddings, &error), error); /* the checkpoint has all that was taken from it */
    ASSERT_OK(mb_pretrain(&o, NULL, &result, &error), error);
    json_decref(result);
    assert_same_path(path_of(&w, "learnt/model.safetensors"), path_of(&w, "broken/model.safetensors"));

    mb_pretrain_options bad = o;
    bad.resume = false;
    bad.init = o.out;
    bad.tokenizer = NULL;
    bad.layers = bad.hidden = bad.heads = bad.intermediate = 0;
    bad.out = path_of(&w, "never");
    cr_assert_eq(mb_pretrain(&bad, NULL, &result, &error), MB_ERROR_USAGE);
    ASSERT_SAYS(error, "leave out --init-embeddings");
    workplace_end(&w);
}
