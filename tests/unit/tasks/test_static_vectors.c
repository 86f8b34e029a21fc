/* embed --static: the words' vectors are the means of those that embed --pooling words gives their occurrences. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/job.h"
#include "base/options.h"
#include "base/threads.h"
#include "skipgram/word_vectors.h"
#include "small_model.h"
#include "tasks/embed.h"
#include "tasks/vector_writer.h"

enum { H = 16, MAX_WORDS = 32 };

/* fish and ##es are one word; Cat is cat; zzz and the Chinese sign are [UNK]; "abc" is a, ##b, ##c, "bc" is b, ##c. */
static const char *const lines[] = {"the cat sat.",
                                    "",
                                    "abc fishes",
                                    "Cat zzz the dog",
                                    "fishes bc the CAT sat the dog abc",
                                    "cat [MASK] dog \xE5\xBA\x86",
                                    "zzz fish",
                                    "the cat sat."};
enum { N_LINES = sizeof lines / sizeof *lines };

static char *dir, *corpus, *out;

static void begin(void) {
    mb_threads_set(1); /* the model is too small to share its work */
    dir = small_model_dir(MB_HEAD_MASKED_LM);
    corpus = small_path(dir, "corpus");
    out = small_path(dir, "out");
    char text[1024] = "";
    for (int i = 0; i < N_LINES; i++) {
        strcat(strcat(text, lines[i]), "\n");
    }
    small_file(corpus, text);
}

static void end(void) {
    mb_path_remove(dir, NULL);
    free(dir);
    free(corpus);
    free(out);
}

TestSuite(static_vectors, .init = begin, .fini = end);

static mb_embed_options default_options(void) {
    mb_embed_options options = {0};
    const mb_option *tables[] = {mb_embed_option_table, NULL};
    void *targets[] = {&options};
    mb_option_set set = {0};
    mb_error error;
    cr_assert_eq(mb_option_set_init(&set, tables, targets, &error), MB_OK, "%s", error.message);
    mb_option_set_free(&set);
    options.model = dir;
    options.static_corpus = corpus;
    options.out = out;
    options.format = MB_VECTOR_WORD2VEC;
    options.min_count = 1;
    return options;
}

typedef struct notes {
    char text[512];
} notes;

static void take_note(void *user, mb_level level, const char *text) {
    (void)level;
    notes *n = user;
    strncat(strncat(n->text, text, sizeof n->text - strlen(n->text) - 1), "\n", sizeof n->text - strlen(n->text) - 1);
}

static void run(const mb_embed_options *options, const mb_job *job) {
    mb_error error;
    cr_assert_eq(mb_embed(options, job, NULL, &error), MB_OK, "%s", error.message);
}

static void refuses(const mb_embed_options *options, mb_status expected, const char *says) {
    mb_error error = {0};
    const mb_status status = mb_embed(options, NULL, NULL, &error);
    cr_expect_eq(status, expected, "status '%s': %s", mb_status_text(status), error.message);
    cr_expect_not_null(strstr(error.message, says), "the message is '%s'", error.message);
    cr_expect(!mb_path_exists(out), "a file was left");
}

static void load(mb_word_vectors *vectors) {
    mb_error error;
    *vectors = (mb_word_vectors){0};
    cr_assert_eq(mb_word_vectors_load(out, vectors, &error), MB_OK, "%s", error.message);
    cr_assert_eq(vectors->width, H);
}

/* The first n words of the file are these. */
static void expect_words(const mb_word_vectors *vectors, const char *const *words) {
    int64_t n = 0;
    for (; words[n]; n++) {
        cr_expect_eq(mb_lexicon_find(&vectors->words, (const unsigned char *)words[n], strlen(words[n])), n,
                     "'%s' is not word %lld", words[n], (long long)n);
    }
    cr_expect_eq(vectors->words.n, n, "%lld words, expected %lld", (long long)vectors->words.n, (long long)n);
}

typedef struct mean {
    double sum[H];
    int n;
} mean;

/* The mean over the first `most` occurrences of a word (0: all), by embed --pooling words, of one line at a time. */
static mean mean_of(const char *word, const mb_embedder_options *settings, int most) {
    mb_embedder_options options = *settings;
    mb_embedder *embedder = NULL;
    mb_embedding_rows rows = {0};
    mean m = {{0}, 0};
    mb_error error;
    options.pooling = MB_POOLING_WORDS;
    options.normalize = false;
    cr_assert_eq(mb_embedder_new(dir, &options, NULL, &embedder, &error), MB_OK, "%s", error.message);
    for (int i = 0; i < N_LINES; i++) {
        const mb_text_line line = {.text = lines[i], .n_bytes = strlen(lines[i])};
        cr_assert_eq(mb_embedder_run(embedder, &line, 1, &rows, &error), MB_OK, "%s", error.message);
        for (int64_t row = 0; row < rows.n; row++) {
            const mb_embedding_span *span = &rows.spans[row];
            const size_t n_bytes = span->byte_end - span->byte_start;
            if (n_bytes == strlen(word) && strncasecmp(lines[i] + span->byte_start, word, n_bytes) == 0 &&
                (most == 0 || m.n < most)) {
                for (int j = 0; j < H; j++) {
                    m.sum[j] += (double)rows.vectors[row * H + j];
                }
                m.n++;
            }
        }
    }
    mb_embedding_rows_free(&rows);
    mb_embedder_free(embedder);
    return m;
}

static void expect_means(const mb_embed_options *options, const char *const *words, const int *n_occurrences) {
    mb_word_vectors vectors;
    load(&vectors);
    expect_words(&vectors, words);
    for (int w = 0; words[w]; w++) {
        const mean m = mean_of(words[w], &options->embedder, (int)options->max_occurrences);
        double square = 0;
        cr_assert_eq(m.n, n_occurrences[w], "'%s' occurs %d times, expected %d", words[w], m.n, n_occurrences[w]);
        for (int j = 0; j < H; j++) {
            square += m.sum[j] * m.sum[j];
        }
        const double divisor = options->embedder.normalize ? sqrt(square) : m.n;
        for (int j = 0; j < H; j++) {
            cr_expect_float_eq((double)vectors.data[w * H + j], m.sum[j] / divisor, 1e-5, "%s, number %d: %g instead of %g",
                               words[w], j, (double)vectors.data[w * H + j], m.sum[j] / divisor);
        }
    }
    mb_word_vectors_free(&vectors);
}

/* Most frequent first, then in the order of their bytes. */
static const char *const all_words[] = {"cat", "the", "dog", "sat", ".", "abc", "fishes", "bc", "fish", NULL};
static const int all_counts[] = {5, 5, 3, 3, 2, 2, 2, 1, 1};

Test(static_vectors, are_means_over_all_occurrences) {
    mb_embed_options options = default_options();
    run(&options, NULL);
    expect_means(&options, all_words, all_counts);
}

Test(static_vectors, of_other_layers_of_length_one_as_npy) {
    mb_embed_options options = default_options();
    options.embedder.layers = (mb_int_list){.items = {0, 1}, .n = 2};
    options.embedder.normalize = true;
    options.format = MB_VECTOR_NPY;
    run(&options, NULL);
    expect_means(&options, all_words, all_counts);
    char *path = small_path(dir, "out.vocab"), *text = small_read(path);
    cr_expect_not_null(strstr(text, "sat 3\n"), "%s", text);
    free(text);
    free(path);
}

Test(static_vectors, of_the_first_occurrences_alone) {
    static const char *const words[] = {"cat", "the", "dog", "sat", ".", "abc", "fishes", NULL};
    static const int counts[] = {2, 2, 2, 2, 2, 2, 2};
    mb_embed_options options = default_options();
    options.min_count = 2;
    options.max_occurrences = 2;
    run(&options, NULL);
    expect_means(&options, words, counts);
}

/* More lines than a block has, 1,024: the words' means are over all of them, and a block that adds nothing is not encoded. */
Test(static_vectors, of_blocks_of_lines_add_up) {
    enum { REPEATS = 1500 };
    char *text = malloc(REPEATS * 32);
    size_t n = 0;
    for (int i = 0; i < REPEATS; i++) {
        n += (size_t)sprintf(text + n, i % 3 == 0 ? "the cat\n" : "a dog sat\n");
    }
    small_file(corpus, text);
    free(text);
    mb_embed_options options = default_options();
    run(&options, NULL);
    static const char *const words[] = {"a", "dog", "sat", "cat", "the", NULL};
    mb_word_vectors vectors;
    load(&vectors);
    expect_words(&vectors, words);
    mb_embedder *embedder = NULL;
    mb_embedding_rows rows = {0};
    mb_error error;
    mb_embedder_options settings = options.embedder;
    settings.pooling = MB_POOLING_WORDS;
    cr_assert_eq(mb_embedder_new(dir, &settings, NULL, &embedder, &error), MB_OK, "%s", error.message);
    const mb_text_line line = {.text = "a dog sat", .n_bytes = 9};
    cr_assert_eq(mb_embedder_run(embedder, &line, 1, &rows, &error), MB_OK, "%s", error.message);
    for (int j = 0; j < 3 * H; j++) {
        cr_expect_float_eq(vectors.data[j], rows.vectors[j], 1e-5, "number %d", j);
    }
    mb_embedding_rows_free(&rows);
    mb_embedder_free(embedder);
    mb_word_vectors_free(&vectors);
    notes said = {""};
    const mb_job job = {.user = &said, .message = take_note};
    options.max_occurrences = 10;
    run(&options, &job);
    cr_expect_not_null(strstr(said.text, "5 words, from 1024 of 1500 lines"), "%s", said.text);
}

/* Three tokens beside [CLS] and [SEP]: "the cat sat", "a ##b ##c", "cat [UNK] the", "fish ##es b", "cat [MASK] dog",
 * "[UNK] fish", "the cat sat". '.' is never among them, and what is cut from "bc" is another word. */
Test(static_vectors, words_behind_the_cut_are_left_out) {
    static const char *const words[] = {"cat", "the", "dog", "sat", "abc", "fishes", "fish", NULL};
    mb_embed_options options = default_options();
    notes said = {""};
    const mb_job job = {.user = &said, .message = take_note};
    mb_word_vectors vectors;
    options.embedder.max_length = 5;
    run(&options, &job);
    load(&vectors);
    expect_words(&vectors, words);
    mb_word_vectors_free(&vectors);
    cr_expect_not_null(strstr(said.text, "2 words are left out"), "%s", said.text);
}

Test(static_vectors, what_it_cannot_do_it_refuses) {
    mb_embed_options options = default_options();
    options.out = "-";
    refuses(&options, MB_ERROR_USAGE, "--out FILE");
    options = default_options();
    options.format = MB_VECTOR_JSONL;
    refuses(&options, MB_ERROR_USAGE, "word2vec or npy, not jsonl");
    options = default_options();
    options.static_corpus = "/dev/null";
    refuses(&options, MB_ERROR_USAGE, "read twice");
    options = default_options();
    options.static_corpus = "/nowhere/text";
    refuses(&options, MB_ERROR_IO, "/nowhere/text");
    options = default_options();
    options.min_count = 6;
    refuses(&options, MB_ERROR_FORMAT, "lower --min-count");
}
