#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/threads.h"
#include "minibert/tokenizer.h"
#include "small_model.h"
#include "tasks/embed.h"
#include "tasks/vector_reader.h"
#include "tasks/vector_writer.h"

enum { H = 16, L = 2 };

static char *dir;
static mb_embedder *embedder; /* the last one: the pieces in spans are its */

static void begin(void) {
    dir = small_model_dir(MB_HEAD_MASKED_LM);
    embedder = NULL;
}

static void end(void) {
    mb_embedder_free(embedder);
    mb_path_remove(dir, NULL);
    free(dir);
}

TestSuite(embed, .init = begin, .fini = end);

static const char *const lines[] = {"the cat sat.",
                                    "",
                                    "abc def",
                                    "the dog",
                                    "fishes sat the cat sat the dog sat a b c d e f fa",
                                    "cat [MASK] dog",
                                    "zzz \xE5\xBA\x86",
                                    "the cat sat."};
enum { N_LINES = sizeof lines / sizeof *lines };

static mb_embedder_options default_options(void) {
    mb_embedder_options options = {.pooling = MB_POOLING_MEAN, .max_length = 32};
    options.layers.items[0] = -1;
    options.layers.n = 1;
    return options;
}

/* Embeds lines[begin .. end) as one block. */
static void embed(const mb_embedder_options *options, size_t first, size_t last, mb_embedding_rows *rows, int64_t *n_cut) {
    mb_error error;
    mb_embedder_free(embedder);
    embedder = NULL;
    mb_text_line block[N_LINES];
    for (size_t i = first; i < last; i++) {
        block[i - first] = (mb_text_line){.text = lines[i], .n_bytes = strlen(lines[i])};
    }
    cr_assert_eq(mb_embedder_new(dir, options, NULL, &embedder, &error), MB_OK, "%s", error.message);
    cr_assert_eq(mb_embedder_run(embedder, block, last - first, rows, &error), MB_OK, "%s", error.message);
    if (n_cut) {
        *n_cut = mb_embedder_n_cut(embedder);
    }
}

/* The hidden states (T,H) of one text of at most max_length tokens, straight from the model; the number of positions returns.
 */
static int64_t hidden_states(const char *text, size_t max_length, int layer, float *out) {
    mb_error error;
    mb_model *model = NULL;
    mb_tokenizer *tokenizer = NULL;
    mb_encoding encoding = {0};
    cr_assert_eq(mb_model_load(dir, MB_HEAD_NONE, NULL, 0, false, &model, &error), MB_OK, "%s", error.message);
    cr_assert_eq(mb_tokenizer_load(dir, &tokenizer, &error), MB_OK, "%s", error.message);
    cr_assert_eq(mb_tokenizer_encode_pair(tokenizer, text, strlen(text), NULL, 0, max_length, &encoding, &error), MB_OK);
    const int32_t offsets[2] = {0, (int32_t)encoding.n_tokens};
    const mb_model_input input = {
        .n_tokens = offsets[1], .ids = encoding.ids, .sequences = {.n = 1, .offsets = offsets, .max_length = offsets[1]}};
    mb_tape *tape = mb_tape_new(false);
    mb_tensor *all[L + 1];
    mb_tape_begin(tape, 0, 0);
    cr_assert_not_null(mb_model_encode(model, tape, &input, all));
    memcpy(out, all[layer]->data, encoding.n_tokens * H * sizeof *out);
    const int64_t n = (int64_t)encoding.n_tokens;
    mb_tape_free(tape);
    mb_encoding_free(&encoding);
    mb_tokenizer_free(tokenizer);
    mb_model_free(model);
    return n;
}

static void expect_near(const float *actual, const float *expected, const char *what, size_t line) {
    for (int j = 0; j < H; j++) {
        cr_assert_float_eq(actual[j], expected[j], 1e-5, "%s of line %zu, number %d: %g instead of %g", what, line, j,
                           (double)actual[j], (double)expected[j]);
    }
}

Test(embed, mean_cls_and_max_of_the_last_layer) {
    static const int poolings[] = {MB_POOLING_MEAN, MB_POOLING_CLS, MB_POOLING_MAX};
    float hidden[32 * H];
    for (int p = 0; p < 3; p++) {
        mb_embedder_options options = default_options();
        options.pooling = poolings[p];
        mb_embedding_rows rows = {0};
        embed(&options, 0, N_LINES, &rows, NULL);
        cr_assert_eq(rows.n, N_LINES);
        for (size_t i = 0; i < N_LINES; i++) {
            const int64_t n = hidden_states(lines[i], 32, L, hidden);
            float expected[H];
            for (int j = 0; j < H; j++) {
                float sum = 0, max = hidden[j];
                for (int64_t t = 0; t < n; t++) {
                    sum += hidden[t * H + j];
                    max = fmaxf(max, hidden[t * H + j]);
                }
                expected[j] = p == 0 ? sum / (float)n : p == 1 ? hidden[j] : max;
            }
            expect_near(rows.vectors + i * H, expected, mb_pooling_names[poolings[p]], i);
        }
        mb_embedding_rows_free(&rows);
    }
}

Test(embed, layers_are_averaged_and_lengths_made_one) {
    mb_embedder_options options = default_options();
    options.pooling = MB_POOLING_CLS;
    options.normalize = true;
    options.layers = (mb_int_list){.items = {0, -1, 2}, .n = 3}; /* -1 and 2 are the same layer: named twice, counted once */
    mb_embedding_rows rows = {0};
    embed(&options, 0, N_LINES, &rows, NULL);
    for (size_t i = 0; i < N_LINES; i++) {
        float first[32 * H], last[32 * H], expected[H];
        hidden_states(lines[i], 32, 0, first);
        hidden_states(lines[i], 32, L, last);
        double square = 0;
        for (int j = 0; j < H; j++) {
            expected[j] = (first[j] + last[j]) / 2;
            square += (double)expected[j] * (double)expected[j];
        }
        for (int j = 0; j < H; j++) {
            expected[j] /= (float)sqrt(square);
        }
        expect_near(rows.vectors + i * H, expected, "layers", i);
    }
    mb_embedding_rows_free(&rows);
}

Test(embed, tokens_and_words_come_with_their_spans) {
    mb_embedder_options options = default_options();
    mb_embedding_rows tokens = {0}, words = {0}, empty = {0};
    options.pooling = MB_POOLING_WORDS;
    embed(&options, 0, N_LINES, &words, NULL);
    options.pooling = MB_POOLING_TOKENS;
    embed(&options, 1, 2, &empty, NULL);
    cr_expect_eq(empty.n, 0);
    embed(&options, 0, N_LINES, &tokens, NULL);
    /* line 2, "abc def": a ##b ##c d ##e ##f */
    int64_t t = 0, w = 0;
    while (tokens.spans[t].line < 2) {
        cr_expect_neq(tokens.spans[t].line, 1, "an empty line has no tokens");
        t++;
    }
    while (words.spans[w].line < 2) {
        w++;
    }
    cr_expect_eq(w, 4); /* the cat sat . */
    cr_expect_str_eq(tokens.spans[t + 1].piece, "##b");
    cr_expect(tokens.spans[t + 1].byte_start == 1 && tokens.spans[t + 1].byte_end == 2);
    cr_expect(words.spans[w + 1].byte_start == 4 && words.spans[w + 1].byte_end == 7 && !words.spans[w + 1].piece);
    float hidden[32 * H], mean[H];
    hidden_states(lines[2], 32, L, hidden);
    for (int k = 0; k < 6; k++) {
        expect_near(tokens.vectors + (t + k) * H, hidden + (k + 1) * H, "token", 2);
    }
    for (int j = 0; j < H; j++) {
        mean[j] = (hidden[4 * H + j] + hidden[5 * H + j] + hidden[6 * H + j]) / 3;
    }
    expect_near(words.vectors + (w + 1) * H, mean, "word", 2);
    mb_embedding_rows_free(&tokens);
    mb_embedding_rows_free(&words);
    mb_embedding_rows_free(&empty);
}

Test(embed, longer_lines_are_cut_and_counted) {
    mb_embedder_options options = default_options();
    options.max_length = 5;
    mb_embedding_rows rows = {0};
    int64_t n_cut = 0;
    embed(&options, 0, N_LINES, &rows, &n_cut);
    cr_expect_eq(n_cut, 4); /* lines 0, 2, 4 and 7 have more than three tokens */
    float hidden[32 * H], expected[H] = {0};
    const int64_t n = hidden_states(lines[4], 5, L, hidden);
    cr_assert_eq(n, 5);
    for (int64_t i = 0; i < n * H; i++) {
        expected[i % H] += hidden[i] / (float)n;
    }
    expect_near(rows.vectors + 4 * H, expected, "cut", 4);
    mb_embedding_rows_free(&rows);
}

/* "the cat sat." has four tokens; windows of three, one every two, hold (the cat sat) and (sat .). */
Test(embed, windows_are_averaged) {
    static const char *const parts[] = {"the cat sat", "sat."};
    mb_embedder_options options = default_options();
    options.max_length = 5;
    options.stride = 2;
    mb_embedding_rows rows = {0};
    int64_t n_cut = -1;
    float hidden[2][32 * H], expected[H] = {0};
    for (int k = 0; k < 2; k++) {
        const int64_t n = hidden_states(parts[k], 5, L, hidden[k]);
        for (int64_t i = 0; i < n * H; i++) {
            expected[i % H] += hidden[k][i] / (float)n / 2;
        }
    }
    embed(&options, 0, N_LINES, &rows, &n_cut);
    cr_expect_eq(n_cut, 0);
    expect_near(rows.vectors, expected, "windows", 0);
    expect_near(rows.vectors + 7 * H, expected, "windows", 7);
    options.pooling = MB_POOLING_TOKENS;
    embed(&options, 0, 1, &rows, NULL);
    cr_assert_eq(rows.n, 4);
    expect_near(rows.vectors + 1 * H, hidden[0] + 2 * H, "cat, in the first window", 0);
    expect_near(rows.vectors + 3 * H, hidden[1] + 2 * H, "the stop, in the second window", 0);
    for (int j = 0; j < H; j++) {
        expected[j] = (hidden[0][3 * H + j] + hidden[1][1 * H + j]) / 2;
    }
    expect_near(rows.vectors + 2 * H, expected, "sat, in both windows", 0);
    options.pooling = MB_POOLING_MAX;
    embed(&options, 0, 1, &rows, NULL);
    for (int j = 0; j < H; j++) {
        expected[j] = -INFINITY;
        for (int t = 0; t < 5 + 4; t++) {
            expected[j] = fmaxf(expected[j], t < 5 ? hidden[0][t * H + j] : hidden[1][(t - 5) * H + j]);
        }
    }
    expect_near(rows.vectors, expected, "max over windows", 0);
    mb_embedding_rows_free(&rows);
}

Test(embed, a_line_does_not_depend_on_its_company_nor_on_threads) {
    mb_embedder_options options = default_options();
    mb_embedding_rows all = {0}, one = {0}, again = {0};
    embed(&options, 0, N_LINES, &all, NULL);
    for (size_t i = 0; i < N_LINES; i++) {
        embed(&options, i, i + 1, &one, NULL);
        expect_near(all.vectors + i * H, one.vectors, "alone", i);
    }
    expect_near(all.vectors, all.vectors + 7 * H, "the same text twice", 0);
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        mb_threads_set(n_threads);
        embed(&options, 0, N_LINES, &again, NULL);
        cr_expect_eq(memcmp(all.vectors, again.vectors, N_LINES * H * sizeof(float)), 0, "%d threads", n_threads);
    }
    mb_embedding_rows_free(&all);
    mb_embedding_rows_free(&one);
    mb_embedding_rows_free(&again);
}

Test(embed, options_that_the_model_cannot_meet) {
    static const struct {
        int64_t layer, stride;
        const char *message;
    } cases[] = {
        {3, 0, "--layers 3"}, {-4, 0, "--layers -4"}, {0, 31, "--stride must be from 1 to 30"}, {0, -1, "--stride must be"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mb_error error;
        mb_embedder_options options = default_options();
        options.layers.items[0] = cases[i].layer;
        options.stride = cases[i].stride;
        cr_expect_eq(mb_embedder_new(dir, &options, NULL, &embedder, &error), MB_ERROR_USAGE);
        cr_expect_null(embedder);
        cr_expect(strstr(error.message, cases[i].message), "%s", error.message);
    }
    mb_error error;
    mb_embedder_options options = default_options();
    options.max_length = 1000; /* the model has 32 positions */
    cr_assert_eq(mb_embedder_new(dir, &options, NULL, &embedder, &error), MB_OK);
    cr_expect_eq(mb_embedder_max_length(embedder), 32);
}

/* --- the whole task, file to file --- */

static mb_status run_task(const char *input, int pooling, int format, const char *out, const char *index, mb_error *error) {
    const mb_embed_options options = {
        .model = dir, .input = input, .out = out, .index = index, .format = format, .embedder = default_options()};
    mb_embed_options with_pooling = options;
    with_pooling.embedder.pooling = pooling;
    return mb_embed(&with_pooling, NULL, NULL, error);
}

Test(embed, a_file_of_many_blocks_keeps_its_order) {
    enum { N = 2500 }; /* more than two blocks */
    mb_error error;
    char *input = small_path(dir, "lines.txt"), *out = small_path(dir, "vectors.npy");
    mb_buffer text = {0};
    for (int i = 0; i < N; i++) {
        cr_assert(mb_buffer_printf(&text, "%s\n", lines[i % 7]));
    }
    small_file(input, text.data);
    cr_assert_eq(run_task(input, MB_POOLING_MEAN, MB_VECTOR_NPY, out, NULL, &error), MB_OK, "%s", error.message);
    mb_vectors vectors;
    mb_texts none = {0};
    cr_assert_eq(mb_vectors_load(out, &vectors, &none, &error), MB_OK, "%s", error.message);
    cr_assert(vectors.n == N && vectors.width == H);
    for (int64_t i = 7; i < N; i++) {
        expect_near(vectors.data + i * H, vectors.data + i % 7 * H, "order", (size_t)i);
    }
    mb_vectors_free(&vectors);
    mb_buffer_free(&text);
    free(input);
    free(out);
}

Test(embed, spans_count_characters_and_npy_has_an_index) {
    mb_error error;
    char *input = small_path(dir, "lines.txt"), *out = small_path(dir, "words.npy"), *index = small_path(dir, "index.tsv");
    small_file(input, "\xE5\xBA\x86 cat\n\nfishes\n");
    cr_expect_eq(run_task(input, MB_POOLING_WORDS, MB_VECTOR_NPY, out, NULL, &error), MB_ERROR_USAGE);
    cr_expect(!mb_path_exists(out));
    cr_expect_eq(run_task(input, MB_POOLING_MEAN, MB_VECTOR_NPY, out, index, &error), MB_ERROR_USAGE);
    cr_assert_eq(run_task(input, MB_POOLING_WORDS, MB_VECTOR_NPY, out, index, &error), MB_OK, "%s", error.message);
    char *text = small_read(index);
    cr_expect_str_eq(text, "1\t0\t1\t\xE5\xBA\x86\n1\t2\t5\tcat\n3\t0\t6\tfishes\n");
    free(text);
    cr_assert_eq(run_task(input, MB_POOLING_TOKENS, MB_VECTOR_JSONL, out, NULL, &error), MB_OK, "%s", error.message);
    text = small_read(out);
    cr_expect(strstr(text, "{\"line\": 1, \"start\": 2, \"end\": 5, \"byte_start\": 4, \"byte_end\": 7, \"text\": \"cat\", "),
              "%s", text);
    cr_expect(strstr(text, "{\"line\": 3, \"start\": 4, \"end\": 6, \"byte_start\": 4, \"byte_end\": 6, \"text\": \"##es\", "),
              "%s", text);
    free(text);
    free(input);
    free(out);
    free(index);
}
