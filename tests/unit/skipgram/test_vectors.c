#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "skipgram/word_vectors.h"
#include "unit/skipgram/support.h"

static void expect_word(const mb_word_vectors *v, int64_t row, const char *word, const float *numbers) {
    size_t n_bytes;
    const char *bytes = mb_lexicon_get(&v->words, row, &n_bytes);
    cr_assert(n_bytes == strlen(word) && memcmp(bytes, word, n_bytes) == 0, "row %lld is '%.*s', not '%s'", (long long)row,
              (int)n_bytes, bytes, word);
    for (int64_t j = 0; j < v->width; j++) {
        cr_assert_float_eq(v->data[row * v->width + j], numbers[j], 1e-6f, "'%s', %lld: %f", word, (long long)j,
                           (double)v->data[row * v->width + j]);
    }
}

static const char *const words[] = {"the", "\xc3\xa9t\xc3\xa9", "\xff\200broken"};
static const float rows[3][4] = {{1, -0.5f, 0.25f, 99}, {0, 1234567.0f, -1e-3f, 99}, {-3.141593f, 2.6e-6f, 0.1f, 99}};

static mb_lexicon three_words(void) {
    mb_lexicon lexicon = {0};
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(mb_lexicon_add(&lexicon, words[i], strlen(words[i]), 30 - i), i);
    }
    return lexicon;
}

Test(vectors, every_format_comes_back) {
    char *dir = test_dir_new();
    char *path = mb_path_join(dir, "vectors");
    mb_lexicon lexicon = three_words();
    mb_error error;
    for (int format = MB_WORD_FORMAT_TEXT; format <= MB_WORD_FORMAT_NPY; format++) {
        cr_assert_eq(mb_word_vectors_save(path, (mb_word_format)format, &lexicon, rows[0], 3, 4, &error), MB_OK);
        mb_word_vectors v;
        cr_assert_eq(mb_word_vectors_load(path, &v, &error), MB_OK, "%s: %s", mb_word_format_names[format], error.message);
        cr_assert_eq(v.words.n, 3);
        cr_assert_eq(v.width, 3);
        for (int i = 0; i < 3; i++) {
            expect_word(&v, i, words[i], rows[i]);
            cr_assert_eq(v.words.counts[i], format == MB_WORD_FORMAT_NPY ? 30 - i : 0);
        }
        mb_word_vectors_free(&v);
    }
    mb_lexicon_free(&lexicon);
    free(path);
    test_dir_free(dir);
}

Test(vectors, the_bytes_are_those_of_word2vec) {
    char *dir = test_dir_new();
    char *path = mb_path_join(dir, "vectors");
    mb_lexicon lexicon = three_words();
    mb_error error;
    size_t n_bytes;
    cr_assert_eq(mb_word_vectors_save(path, MB_WORD_FORMAT_TEXT, &lexicon, rows[0], 3, 4, &error), MB_OK);
    char *text = test_read(path, &n_bytes);
    cr_assert_str_eq(text, "3 3\nthe 1.000000 -0.500000 0.250000\n\xc3\xa9t\xc3\xa9 0.000000 1234567.000000 -0.001000\n"
                           "\xff\200broken -3.141593 0.000003 0.100000\n");
    free(text);
    cr_assert_eq(mb_word_vectors_save(path, MB_WORD_FORMAT_BINARY, &lexicon, rows[0], 3, 4, &error), MB_OK);
    text = test_read(path, &n_bytes);
    cr_assert_eq(n_bytes, 4 + 3 * (1 + 12 + 1) + 3 + 5 + 8u);
    cr_assert_eq(memcmp(text, "3 3\nthe \0\0\x80\x3f\0\0\0\xbf\0\0\x80\x3e\n", 21), 0);
    free(text);
    mb_lexicon_free(&lexicon);
    free(path);
    test_dir_free(dir);
}

Test(vectors, what_others_write) {
    static const float the[] = {1, 2}, of[] = {-3, 0.5f};
    static const struct {
        const char *bytes;
        size_t n_bytes;
    } files[] = {
#define FILE_OF(text) {text, sizeof(text) - 1}
        FILE_OF("2 2\nthe 1 2\nof -3 5e-1"),                                     /* no line feed at the end */
        FILE_OF("2 2\r\nthe 1 2 \r\nof -3.0 .5 \r\n"),                           /* spaces at the ends, DOS lines */
        FILE_OF("the 1 2\nof -3 0.5\n"),                                         /* GloVe */
        FILE_OF("3 2\nthe 1 2\nthe 7 7\nof -3 0.5\n"),                           /* a word twice: the first counts */
        FILE_OF("2 2\nthe \0\0\x80\x3f\0\0\0\x40of \0\0\x40\xc0\0\0\0\x3f"),     /* binary without line feeds */
        FILE_OF("2 2\nthe \0\0\x80\x3f\0\0\0\x40\nof \0\0\x40\xc0\0\0\0\x3f\n"), /* and with */
    };
    char *dir = test_dir_new();
    mb_error error;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path = test_file(dir, "vectors", files[i].bytes, files[i].n_bytes);
        mb_word_vectors v;
        cr_assert_eq(mb_word_vectors_load(path, &v, &error), MB_OK, "file %zu: %s", i, error.message);
        cr_assert_eq(v.words.n, 2, "file %zu: %lld words", i, (long long)v.words.n);
        cr_assert_eq(v.n_duplicates, i == 3);
        expect_word(&v, 0, "the", the);
        expect_word(&v, 1, "of", of);
        mb_word_vectors_free(&v);
        free(path);
    }
    test_dir_free(dir);
}

Test(vectors, damage_is_named) {
    static const struct {
        const char *text, *says;
    } files[] = {
        {"", "first line"},
        {"word\n", "first line"},
        {"2 0\n", "first line"},
        {"99999999999 100\nthe 1\n", "too short"},
        {"3 2\nthe 1 2\nof 3 4\n", "cut off"},
        {"2 2\nthe 1 2\nof 3\n", "word 2 has fewer"},
        {"2 2\nthe 1 2 3\nof 3 4\n", "word 1 has more"},
        {"2 2\nthe 1 2\nof 3 x\n", "word 2 has something"},
        {"2 2\nthe 1 2\nof 3 inf\n", "word 2 has something"},
        {"2 2\nthe \x01\x02\x03\x04\x05\x06\x07\x08of \x01\x02", "cut off"},
        {"\x93NUMPY\x01", "npy"},
    };
    char *dir = test_dir_new();
    mb_error error;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path = test_text(dir, "damaged", files[i].text);
        mb_word_vectors v;
        cr_assert_eq(mb_word_vectors_load(path, &v, &error), MB_ERROR_FORMAT, "file %zu", i);
        cr_assert(strstr(error.message, files[i].says) && strstr(error.message, "damaged"), "file %zu: %s", i, error.message);
        free(path);
    }
    test_dir_free(dir);
}

Test(vectors, npy_needs_its_list) {
    char *dir = test_dir_new();
    char *path = mb_path_join(dir, "v.npy");
    mb_lexicon lexicon = three_words();
    mb_error error;
    mb_word_vectors v;
    cr_assert_eq(mb_word_vectors_save(path, MB_WORD_FORMAT_NPY, &lexicon, rows[0], 3, 4, &error), MB_OK);
    size_t n_bytes;
    char *bytes = test_read(path, &n_bytes);
    cr_assert_eq(n_bytes, 128 + 36u);
    static const char header[] = "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (3, 3), }";
    cr_assert_eq(memcmp(bytes, header, sizeof header - 1), 0);
    char *list = test_text(dir, "v.npy.vocab", "a 1\nb 1\n");
    cr_assert_eq(mb_word_vectors_load(path, &v, &error), MB_ERROR_MISMATCH);
    cr_assert_eq(remove(list), 0);
    cr_assert_eq(mb_word_vectors_load(path, &v, &error), MB_ERROR_IO);
    char *cut = test_file(dir, "cut.npy", bytes, n_bytes - 1);
    cr_assert_eq(mb_word_vectors_load(cut, &v, &error), MB_ERROR_FORMAT);
    free(cut);
    free(list);
    free(bytes);
    free(path);
    mb_lexicon_free(&lexicon);
    test_dir_free(dir);
}
