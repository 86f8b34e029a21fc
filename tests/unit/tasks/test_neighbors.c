#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "small_model.h"
#include "tasks/info.h"
#include "tasks/neighbors.h"

static char *dir, *corpus, *vectors, *output;

static void begin(void) {
    dir = small_model_dir(MB_HEAD_MASKED_LM);
    corpus = small_path(dir, "corpus.txt");
    vectors = small_path(dir, "vectors.npy");
    output = NULL;
    small_file(corpus, "the cat sat.\n\nthe dog sat.\nabc def\nfishes\n  \nthe cat sat.\nfa be\n");
}

static void end(void) {
    mb_path_remove(dir, NULL);
    free(dir);
    free(corpus);
    free(vectors);
    free(output);
}

TestSuite(neighbors, .init = begin, .fini = end);

static mb_status search(mb_neighbors_options options, const char **queries, size_t n, mb_error *error) {
    size_t n_bytes;
    free(output);
    output = NULL;
    FILE *rows = open_memstream(&output, &n_bytes);
    options.top_k = options.top_k ? options.top_k : 10;
    options.max_length = 32;
    options.queries = (mb_text_list){.items = queries, .n = n};
    const mb_status status = mb_neighbors(&options, NULL, rows, error);
    fclose(rows);
    return status;
}

Test(neighbors, a_text_is_nearest_to_itself_and_blank_lines_are_passed_over) {
    mb_error error;
    const char *queries[] = {"abc def", "the cat sat."};
    for (int center = 0; center < 2; center++) {
        cr_assert_eq(
            search((mb_neighbors_options){.model = dir, .corpus = corpus, .center = center, .top_k = 3}, queries, 2, &error),
            MB_OK, "%s", error.message);
        cr_expect_eq(strncmp(output, "1.0000\tabc def\n", 15), 0, "%s", output);
        cr_expect(strstr(output, "\n\n1.0000\tthe cat sat.\n1.0000\tthe cat sat.\n"), "%s", output);
    }
    cr_assert_eq(search((mb_neighbors_options){.model = dir, .corpus = corpus}, queries, 1, &error), MB_OK);
    int n_lines = 0;
    for (const char *at = output; *at; at++) {
        n_lines += *at == '\n';
    }
    cr_expect_eq(n_lines, 6, "six of the eight lines have text: %s", output);
}

Test(neighbors, saved_vectors_give_the_same_answer) {
    mb_error error;
    const char *query = "the dog";
    cr_assert_eq(search((mb_neighbors_options){.model = dir, .corpus = corpus, .center = true, .save_vectors = vectors}, &query,
                        1, &error),
                 MB_OK, "%s", error.message);
    char *first = strdup(output);
    cr_assert_eq(
        search((mb_neighbors_options){.model = dir, .corpus = corpus, .center = true, .vectors = vectors}, &query, 1, &error),
        MB_OK, "%s", error.message);
    cr_expect_str_eq(output, first);
    free(first);
    small_file(corpus, "one line\n");
    cr_expect_eq(search((mb_neighbors_options){.model = dir, .corpus = corpus, .vectors = vectors}, &query, 1, &error),
                 MB_ERROR_MISMATCH);
    cr_expect(strstr(error.message, "8 vectors") && strstr(error.message, "1 lines"), "%s", error.message);
}

/* Cosines that can be worked out by hand: (1,0) with (0.6,0.8), (0,-2) and (-3,0). */
Test(neighbors, word_vectors) {
    mb_error error;
    small_file(vectors, "4 2\nking 1 0\nqueen 3 4\nfish 0 -2\nanti -3 0\n");
    const char *queries[] = {"king", "fish"};
    cr_assert_eq(search((mb_neighbors_options){.vectors = vectors}, queries, 2, &error), MB_OK, "%s", error.message);
    cr_expect_str_eq(output, "0.6000\tqueen\n0.0000\tfish\n-1.0000\tanti\n\n0.0000\tking\n0.0000\tanti\n-0.8000\tqueen\n", "%s",
                     output);
    /* centred: the mean is (0.15,-0.05), so (0.85,0.05) and (0.45,0.85) */
    cr_assert_eq(search((mb_neighbors_options){.vectors = vectors, .center = true, .top_k = 1}, queries, 1, &error), MB_OK);
    cr_expect_str_eq(output, "0.5190\tqueen\n", "%s", output);
    const char *unknown = "kinng";
    cr_expect_eq(search((mb_neighbors_options){.vectors = vectors}, &unknown, 1, &error), MB_ERROR_USAGE);
    cr_expect(strstr(error.message, "'kinng' is not among the texts"), "%s", error.message);
}

/* gensim's most_similar on the same vectors (scripts/golden/words.py). */
Test(neighbors, are_those_of_gensim) {
    json_error_t json_error;
    json_t *golden = json_load_file(MB_TESTS_DIR "/golden/words/gensim.json", 0, &json_error);
    cr_assert(golden, "%s", json_error.text);
    const json_t *rows = json_object_get(golden, "neighbors");
    char expected[1024];
    size_t used = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        used += (size_t)snprintf(expected + used, sizeof expected - used, "%.4f\t%s\n",
                                 json_number_value(json_array_get(row, 1)), json_string_value(json_array_get(row, 0)));
    }
    const char *query = json_string_value(json_object_get(golden, "word"));
    mb_error error;
    const mb_neighbors_options options = {.vectors = MB_TESTS_DIR "/golden/words/vectors.txt",
                                          .top_k = (int64_t)json_array_size(rows)};
    cr_assert_eq(search(options, &query, 1, &error), MB_OK, "%s", error.message);
    cr_expect_str_eq(output, expected, "%s", output);
    json_decref(golden);
}

Test(neighbors, sources_that_do_not_go_together) {
    mb_error error;
    const char *query = "a";
    small_file(vectors, "1 2\na 1 0\n");
    const mb_neighbors_options wrong[] = {
        {.model = dir},
        {.corpus = corpus},
        {.vectors = vectors, .corpus = corpus},
        {.vectors = vectors, .save_vectors = "x"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_expect_eq(search(wrong[i], &query, 1, &error), MB_ERROR_USAGE, "case %zu", i);
    }
    cr_expect_eq(search((mb_neighbors_options){.vectors = vectors, .model = dir}, &query, 1, &error), MB_ERROR_MISMATCH);
    small_file(corpus, "");
    cr_expect_eq(search((mb_neighbors_options){.model = dir, .corpus = corpus}, &query, 1, &error), MB_ERROR_FORMAT);
    cr_expect_str_eq(output, "");
}

Test(info, describes_what_minibert_writes) {
    begin();
    mb_error error;
    mb_buffer out = {0};
    char *weights = small_path(dir, "model.safetensors");
    cr_assert_eq(mb_info(&(mb_info_options){.path = dir}, &out, &error), MB_OK, "%s", error.message);
    cr_expect(strstr(out.data, "BertForMaskedLM") && strstr(out.data, "2 layers, 16 wide, 2 heads of 8") &&
                  strstr(out.data, "24 wordpieces, lower case"),
              "%s", out.data);
    /* the summary's parts add up to the total */
    long long total = 0, sum = 0, part;
    const char *at = strstr(out.data, "parameters");
    cr_assert_eq(sscanf(at, "parameters %lld", &total), 1);
    for (at = strchr(at, '\n'); at && sscanf(at, " %lld bert", &part) == 1; at = strchr(at + 1, '\n')) {
        sum += part;
    }
    cr_expect(total > 0 && sum == total, "%lld, %lld:\n%s", total, sum, out.data);
    mb_buffer_clear(&out);
    cr_assert_eq(mb_info(&(mb_info_options){.path = dir, .tensors = true}, &out, &error), MB_OK, "%s", error.message);
    cr_expect(strstr(out.data, "(24,16)          bert.embeddings.word_embeddings.weight"), "%s", out.data);
    mb_buffer_clear(&out);
    cr_assert_eq(mb_info(&(mb_info_options){.path = weights}, &out, &error), MB_OK, "%s", error.message);
    cr_expect(strstr(out.data, "(24,16)           bert.embeddings.word_embeddings.weight"), "%s", out.data);
    cr_expect_eq(mb_info(&(mb_info_options){.path = corpus}, &out, &error), MB_ERROR_FORMAT);
    cr_expect_eq(mb_info(&(mb_info_options){.path = "/nonexistent"}, &out, &error), MB_ERROR_IO);
    mb_buffer_free(&out);
    free(weights);
    end();
}
