#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "skipgram/text_words.h"
#include "skipgram/vocabulary.h"
#include "unit/skipgram/support.h"

static mb_status count(const char *text, mb_vocabulary_options options, mb_vocabulary *out, mb_error *error) {
    const mb_map map = test_map(text);
    return mb_vocabulary_count(&map, "text", &options, NULL, out, error);
}

static void expect(const mb_vocabulary *v, int64_t id, const char *word, int64_t n) {
    size_t n_bytes;
    cr_assert_lt(id, v->words.n);
    const char *bytes = mb_lexicon_get(&v->words, id, &n_bytes);
    cr_assert(n_bytes == strlen(word) && memcmp(bytes, word, n_bytes) == 0, "word %lld is '%.*s', not '%s'", (long long)id,
              (int)n_bytes, bytes, word);
    cr_assert_eq(v->words.counts[id], n, "'%s' counted %lld times", word, (long long)v->words.counts[id]);
    cr_assert_eq(mb_vocabulary_find(v, word, strlen(word)), id);
}

Test(vocabulary, most_frequent_first_then_by_bytes) {
    mb_vocabulary v;
    mb_error error;
    cr_assert_eq(count("  b a\tc\nb\r\n\xc3\xa9 a zz\n\n\x01 \xff\xfe", (mb_vocabulary_options){.min_count = 1}, &v, &error),
                 MB_OK);
    cr_assert_eq(v.words.n, 6);
    expect(&v, 0, "a", 2);
    expect(&v, 1, "b", 2);
    expect(&v, 2, "c", 1);
    expect(&v, 3, "zz", 1);
    expect(&v, 4, "\xc3\xa9", 1);
    expect(&v, 5, "\xff\xfe", 1); /* no UTF-8, and a word all the same */
    cr_assert_eq(v.n_text_words, 8);
    cr_assert_eq(v.n_words, 8);
    cr_assert_eq(mb_vocabulary_find(&v, "d", 1), -1);
    mb_vocabulary_free(&v);
}

Test(vocabulary, rare_words_are_left_out_or_unknown) {
    static const char text[] = "a a a a b b b c c d e";
    mb_vocabulary v;
    mb_error error;
    cr_assert_eq(count(text, (mb_vocabulary_options){.min_count = 2}, &v, &error), MB_OK);
    cr_assert_eq(v.words.n, 3);
    cr_assert_eq(v.n_words, 9);
    cr_assert_eq(v.n_text_words, 11);
    mb_vocabulary_free(&v);
    cr_assert_eq(count(text, (mb_vocabulary_options){.min_count = 2, .max_words = 1}, &v, &error), MB_OK);
    cr_assert_eq(v.words.n, 1);
    expect(&v, 0, "a", 4);
    mb_vocabulary_free(&v);
    cr_assert_eq(count(text, (mb_vocabulary_options){.min_count = 3, .unknown = true}, &v, &error), MB_OK);
    cr_assert_eq(v.words.n, 3);
    expect(&v, 0, "[UNK]", 4); /* c c d e */
    expect(&v, 1, "a", 4);
    expect(&v, 2, "b", 3);
    cr_assert_eq(mb_vocabulary_find(&v, "d", 1), 0);
    cr_assert_eq(mb_vocabulary_find(&v, "never seen", 10), 0);
    cr_assert_eq(v.n_words, 11);
    mb_vocabulary_free(&v);
    cr_assert_eq(count(text, (mb_vocabulary_options){.min_count = 9}, &v, &error), MB_ERROR_FORMAT);
    cr_assert(strstr(error.message, "--min-count"), "%s", error.message);
    cr_assert_eq(count("", (mb_vocabulary_options){.min_count = 1}, &v, &error), MB_ERROR_FORMAT);
}

Test(vocabulary, does_not_depend_on_the_threads) {
    mb_buffer text = {0};
    for (int i = 0; i < 30000; i++) { /* words of all lengths across all borders */
        mb_buffer_printf(&text, "%.*s%d%s", i % 40, "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqr", i % 7001,
                         i % 3 ? " " : "\n");
    }
    mb_vocabulary first = {0}, v;
    mb_error error;
    for (int n_threads = 1; n_threads <= 9; n_threads += 4) {
        mb_threads_set(n_threads);
        cr_assert_eq(count(text.data, (mb_vocabulary_options){.min_count = 1}, &v, &error), MB_OK);
        cr_assert_eq(v.n_text_words, 30000);
        if (n_threads == 1) {
            first = v;
            continue;
        }
        cr_assert_eq(v.words.n, first.words.n);
        cr_assert_eq(v.words.bytes.n_bytes, first.words.bytes.n_bytes);
        cr_assert_eq(memcmp(v.words.bytes.data, first.words.bytes.data, first.words.bytes.n_bytes), 0);
        cr_assert_eq(memcmp(v.words.counts, first.words.counts, (size_t)first.words.n * sizeof(int64_t)), 0);
        mb_vocabulary_free(&v);
    }
    mb_vocabulary_free(&first);
    mb_buffer_free(&text);
}

Test(vocabulary, long_words_are_cut_between_characters) {
    /* 1023 bytes, then a character of three: it does not fit into 1024 */
    mb_buffer text = {0};
    for (int i = 0; i < 1023; i++) {
        mb_buffer_append(&text, "x", 1);
    }
    mb_buffer_append_text(&text, "\xe2\x82\xacyyy next");
    const mb_map map = {(const unsigned char *)text.data, text.n_bytes};
    const unsigned char *at = map.data, *end = map.data + map.n_bytes;
    mb_text_word word;
    cr_assert(mb_text_next_word(&at, end, end, &word));
    cr_assert_eq(word.n_bytes, 1023u);
    cr_assert(mb_text_next_word(&at, end, end, &word));
    cr_assert_eq(word.n_bytes, 4u);
    cr_assert_not(mb_text_next_word(&at, end, end, &word));
    mb_buffer_free(&text);
}

Test(vocabulary, save_and_load) {
    char *dir = test_dir_new();
    char *path = mb_path_join(dir, "vocab");
    mb_vocabulary v, w;
    mb_error error;
    const mb_vocabulary_options options = {.min_count = 2};
    cr_assert_eq(count("x x y y y z", options, &v, &error), MB_OK);
    cr_assert_eq(mb_vocabulary_save(&v, path, &error), MB_OK);
    size_t n_bytes;
    char *text = test_read(path, &n_bytes);
    cr_assert_str_eq(text, "y 3\nx 2\n");
    cr_assert_eq(mb_vocabulary_load(path, &options, &w, &error), MB_OK, "%s", error.message);
    cr_assert_eq(w.words.n, 2);
    expect(&w, 0, "y", 3);
    expect(&w, 1, "x", 2);
    mb_vocabulary_free(&w);
    static const char *const bad[] = {"a\n", "a b\n", "a 1\na 2\n", "a -1\n", "a\n1\n", "a 99999999999999999999\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *bad_path = test_text(dir, "bad", bad[i]);
        cr_assert_eq(mb_vocabulary_load(bad_path, &(mb_vocabulary_options){.min_count = 1}, &w, &error), MB_ERROR_FORMAT, "%s",
                     bad[i]);
        cr_assert(strstr(error.message, "bad"), "%s", error.message);
        free(bad_path);
    }
    mb_vocabulary_free(&v);
    free(text);
    free(path);
    test_dir_free(dir);
}

/* So many words that some dozens share the 32 bits of hash that a slot keeps. */
Test(vocabulary, words_of_one_hash_are_told_apart) {
    enum { N = 500000 };
    mb_lexicon words = {0};
    char word[32];
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i < N; i++) {
            const int length = snprintf(word, sizeof word, i % 2 ? "w%lld" : "word-number-%lld", (long long)i);
            const int64_t got =
                pass ? mb_lexicon_find(&words, word, (size_t)length) : mb_lexicon_add(&words, word, (size_t)length, 1);
            cr_assert_eq(got, i, "'%s' is number %lld", word, (long long)got);
        }
    }
    mb_lexicon_free(&words);
}
