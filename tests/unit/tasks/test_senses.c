/* senses: which occurrences are found, how they are grouped, and what is said of the groups. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/threads.h"
#include "small_model.h"
#include "tasks/embed.h"
#include "tasks/sense_lines.h"
#include "tasks/senses.h"
#include "tasks/vector_writer.h"

static char *dir, *corpus, *vectors, *points;

static void begin(void) {
    mb_threads_set(1); /* the model is too small to share its work */
    dir = small_model_dir(MB_HEAD_MASKED_LM);
    corpus = small_path(dir, "corpus");
    vectors = small_path(dir, "vectors");
    points = small_path(dir, "points.tsv");
}

static void end(void) {
    mb_path_remove(dir, NULL);
    free(dir);
    free(corpus);
    free(vectors);
    free(points);
}

TestSuite(senses, .init = begin, .fini = end);

static mb_senses_options default_options(const char **words, size_t n) {
    mb_senses_options o = {0};
    const mb_option *tables[] = {mb_senses_option_table, NULL};
    void *targets[] = {&o};
    mb_option_set set = {0};
    mb_error error;
    cr_assert_eq(mb_option_set_init(&set, tables, targets, &error), MB_OK, "%s", error.message);
    mb_option_set_free(&set);
    o.model = dir;
    o.corpus = corpus;
    o.words = (mb_text_list){.items = words, .n = n};
    o.seed = 1;
    return o;
}

static json_t *run(const mb_senses_options *options, const mb_job *job) {
    json_t *result = NULL;
    mb_error error;
    cr_assert_eq(mb_senses(options, job, &result, &error), MB_OK, "%s", error.message);
    return result;
}

static void refuses(const mb_senses_options *options, mb_status expected, const char *says) {
    json_t *result = NULL;
    mb_error error = {0};
    const mb_status status = mb_senses(options, NULL, &result, &error);
    cr_expect_eq(status, expected, "status '%s': %s", mb_status_text(status), error.message);
    cr_expect_not_null(strstr(error.message, says), "the message is '%s'", error.message);
    cr_expect_null(result);
    cr_expect(!mb_path_exists(points), "a file was left");
}

static json_int_t count_of(const json_t *object) {
    return json_integer_value(json_object_get(object, "occurrences"));
}
static const json_t *sense_of(const json_t *result, size_t word, size_t sense) {
    return json_array_get(json_object_get(json_array_get(result, word), "senses"), sense);
}
static const char *text_of(const json_t *sense, const char *key, size_t i) {
    const char *text = json_string_value(json_array_get(json_object_get(sense, key), i));
    return text ? text : "(none)";
}

/* Two kinds of lines, each always the same: their two vectors of cat and of dog are as different as can be. */
static void write_two_kinds(int n_first, int n_second) {
    char *text = calloc(1, 64 * (size_t)(n_first + n_second) + 1);
    for (int i = 0, at = 0; i < n_first + n_second; i++) {
        const bool first = i * n_first / (n_first + n_second) != (i + 1) * n_first / (n_first + n_second);
        at += sprintf(text + at, "%s\n", first ? "the CAT sat. the dog" : "fishes a b cat, e f\n");
    }
    small_file(corpus, text);
    free(text);
}

Test(senses, are_the_two_kinds_of_lines) {
    const char *words[] = {"Cat", "dog"};
    mb_senses_options o = default_options(words, 2);
    write_two_kinds(1500, 700);
    o.points = points;
    o.max_occurrences = 1900;
    o.n_examples = 1;
    json_t *result = run(&o, NULL);
    cr_assert_eq(json_array_size(result), 2);
    const json_t *cat = json_array_get(result, 0);
    cr_expect_str_eq(json_string_value(json_object_get(cat, "word")), "cat");
    cr_expect_eq(count_of(cat), 1900);
    cr_expect_float_eq(json_real_value(json_object_get(cat, "silhouette")), 1, 1e-4);
    cr_assert_eq(json_array_size(json_object_get(cat, "senses")), 2);
    cr_expect_null(json_object_get(cat, "neighbors"));
    const json_t *first = sense_of(result, 0, 0), *second = sense_of(result, 0, 1);
    const json_int_t n = count_of(first);
    cr_expect(n > 1290 && n < 1300, "%lld", (long long)n); /* 15 of 22 */
    cr_expect_eq(n + count_of(second), 1900);
    cr_expect_float_eq(json_real_value(json_object_get(first, "share")), (double)n / 1900, 1e-12);
    cr_expect_str_eq(text_of(first, "examples", 0), "the CAT sat. the dog");
    cr_expect_str_eq(text_of(second, "examples", 0), "fishes a b cat, e f");
    cr_expect_eq(json_array_size(json_object_get(first, "words")), 3); /* the sat dog */
    cr_expect_str_eq(text_of(second, "words", 0), "fishes");
    /* All occurrences of dog are the same: one sense, whatever their number. */
    cr_expect_eq(count_of(json_array_get(result, 1)), 1500);
    cr_expect_eq(json_array_size(json_object_get(json_array_get(result, 1), "senses")), 1);
    cr_expect(json_is_null(json_object_get(json_array_get(result, 1), "silhouette")));
    json_decref(result);

    char *text = small_read(points), *rest = text;
    cr_expect_str_eq(strsep(&rest, "\n"), "word\tsense\tx\ty\ttext");
    cr_expect_eq(strncmp(rest, "cat\t", 4), 0);
    int n_lines = 0;
    for (const char *at = rest; *at; at++) {
        n_lines += *at == '\n';
    }
    cr_expect_eq(n_lines, 1900 + 1500);
    cr_expect_not_null(strstr(rest, "cat\t2\t"));
    free(text);
}

Test(senses, as_many_as_are_asked_for) {
    const char *words[] = {"a"};
    mb_senses_options o = default_options(words, 1);
    small_file(corpus, "the a cat\nthe dog a sat\na b c a\nfish a\n");
    o.n_senses = 3;
    json_t *result = run(&o, NULL);
    cr_expect_eq(count_of(json_array_get(result, 0)), 5);
    cr_expect_eq(json_array_size(json_object_get(json_array_get(result, 0), "senses")), 3);
    json_decref(result);
    o.max_occurrences = 2; /* of the first two lines */
    result = run(&o, NULL);
    cr_expect_eq(count_of(json_array_get(result, 0)), 2);
    cr_expect_eq(json_array_size(json_object_get(json_array_get(result, 0), "senses")), 2);
    json_decref(result);
}

/* Of senses that are one line each, the mean is the line's own vector: its neighbour is the word that has just that vector. */
Test(senses, have_neighbours_among_vectors_of_the_same_width) {
    const char *words[] = {"cat"};
    mb_senses_options o = default_options(words, 1);
    mb_error error;
    char *one = small_path(dir, "one"), *two = small_path(dir, "two"), *made = small_path(dir, "made");
    small_file(corpus, "the cat sat\nfish cat a b\nthe cat sat\nfish cat a b\nthe cat sat\n");
    small_file(one, "the cat sat\n");
    small_file(two, "fish cat a b\n");
    char all[8192] = "6 16\n";
    const char *parts[] = {one, two, corpus};
    static const char *const names[] = {"first", "second", "cat"};
    for (int i = 0; i < 3; i++) {
        mb_embed_options embed = {
            .model = dir, .static_corpus = parts[i], .out = made, .min_count = 1, .format = MB_VECTOR_WORD2VEC};
        embed.embedder = (mb_embedder_options){.max_length = 32, .layers = {.items = {-1}, .n = 1}};
        cr_assert_eq(mb_embed(&embed, NULL, NULL, &error), MB_OK, "%s", error.message);
        char *text = small_read(made), *row = strstr(text, "\ncat ");
        cr_assert_not_null(row);
        *strchr(row + 1, '\n') = '\0';
        strcat(strcat(strcat(all, names[i]), row + 4), "\n");
        free(text);
    }
    for (int i = 0; i < 3; i++) { /* others, in no direction that matters */
        strcat(strcat(all, (const char *const[]){"x", "y", "z"}[i]), i == 0 ? " 1 0 0 0" : i == 1 ? " 0 1 0 0" : " 0 0 1 0");
        strcat(all, " 0 0 0 0 0 0 0 0 0 0 0 0\n");
    }
    small_file(vectors, all);
    o.vectors = vectors;
    json_t *result = run(&o, NULL);
    cr_expect_str_eq(text_of(sense_of(result, 0, 0), "neighbors", 0), "first");
    cr_expect_str_eq(text_of(sense_of(result, 0, 1), "neighbors", 0), "second");
    const json_t *word = json_array_get(result, 0);
    cr_expect_eq(json_array_size(json_object_get(word, "neighbors")), 5);
    for (size_t i = 0; i < 5; i++) {
        cr_expect_str_neq(text_of(word, "neighbors", i), "cat", "a word is no neighbour of itself");
    }
    json_decref(result);
    small_file(vectors, "2 2\ncat 1 0\ndog 0 1\n");
    result = run(&o, NULL);
    cr_expect_str_eq(text_of(json_array_get(result, 0), "neighbors", 0), "dog");
    cr_expect_null(json_object_get(sense_of(result, 0, 0), "neighbors"));
    json_decref(result);
    free(one);
    free(two);
    free(made);
}

/* "a" is in both lines of the first sense and in none of the three others: 2 (2 ln (2 / 0.8)) = 3.67, before "b" in two and
 * one: 2 (2 ln (2 / 1.2) + ln (1 / 1.8)) = 0.87; "c" is everywhere, "d", "e" and "f" but once. */
Test(senses, typical_words_by_hand) {
    static const char *const lines[] = {"a b c d a", "a b c e", "b c", "c", "c f"};
    mb_occurrence occurrences[5];
    int of[5] = {0, 0, 1, 1, 1};
    int64_t sizes[2] = {2, 3};
    for (int i = 0; i < 5; i++) {
        occurrences[i] = (mb_occurrence){.line = (char *)(uintptr_t)lines[i], .n_bytes = strlen(lines[i])};
    }
    const mb_sense_word word = {.occurrences = occurrences, .n = 5};
    const mb_clusters clusters = {.k = 2, .n = 5, .of = of, .sizes = sizes};
    mb_tokenizer *tokenizer = NULL;
    mb_line_words words;
    mb_error error;
    cr_assert_eq(mb_tokenizer_load(dir, &tokenizer, &error), MB_OK);
    cr_assert_eq(mb_line_words_count(&words, tokenizer, &word, &clusters, &error), MB_OK);
    json_t *first = mb_line_words_typical(&words, &clusters, 0, 8), *second = mb_line_words_typical(&words, &clusters, 1, 8);
    cr_expect_eq(json_array_size(first), 2);
    cr_expect_str_eq(json_string_value(json_array_get(first, 0)), "a");
    cr_expect_str_eq(json_string_value(json_array_get(first, 1)), "b");
    cr_expect_eq(json_array_size(second), 0);
    json_decref(first);
    json_decref(second);
    mb_line_words_free(&words);
    mb_tokenizer_free(tokenizer);
}

Test(senses, excerpts_are_whole_words_and_characters) {
    static const char *const around = "aaaaaaaaa bbbbbbbbb ccccccccc ddddddddd eeeeeeeee fffffffff ggggggggg ";
    char line[256];
    sprintf(line, "%sx word x %s", around, around);
    mb_occurrence o = {.line = line, .n_bytes = strlen(line), .start = 72, .end = 76};
    mb_buffer text = {0};
    cr_assert(mb_append_excerpt(&text, &o));
    /* 60 bytes before the word are in the midst of the b, 60 behind it in that of the f */
    cr_expect_eq(text.n_bytes, 128 - 20, "%.*s", (int)text.n_bytes, text.data);
    cr_expect_eq(memcmp(text.data, line + 20, 128 - 20), 0);
    mb_buffer_free(&text);
    for (int i = 0; i < 40; i++) {
        memcpy(line + 3 * i, "\xE5\xBA\x86", 3);
    }
    line[120] = '\0';
    o = (mb_occurrence){.line = line, .n_bytes = 120, .start = 72, .end = 75};
    text = (mb_buffer){0};
    cr_assert(mb_append_excerpt(&text, &o));
    cr_expect(text.n_bytes % 3 == 0 && text.n_bytes > 0 && memcmp(text.data, "\xE5", 1) == 0, "a character is cut");
    mb_buffer_free(&text);
}

Test(senses, what_cannot_be_done_is_said) {
    const char *words[] = {"cat", "dog"};
    small_file(corpus, "the cat sat\n");
    mb_senses_options o = default_options(words, 2);
    o.points = points;
    refuses(&o, MB_ERROR_FORMAT, "has no word 'dog'");
    words[1] = "the cat";
    refuses(&o, MB_ERROR_USAGE, "'the cat' is not one word");
    words[1] = "\xE5\xBA\x86";
    refuses(&o, MB_ERROR_USAGE, "is not one word");
    o.words.n = 1;
    o.corpus = "/nowhere/text";
    refuses(&o, MB_ERROR_IO, "/nowhere/text");
    o.corpus = corpus;
    o.vectors = "/nowhere/vectors";
    refuses(&o, MB_ERROR_IO, "/nowhere/vectors");
    o.vectors = NULL;
    o.points = "/nowhere/points.tsv";
    refuses(&o, MB_ERROR_IO, "/nowhere/points.tsv");
    o.points = points;
    o.layers.items[0] = 9;
    refuses(&o, MB_ERROR_USAGE, "--layers 9");
}
