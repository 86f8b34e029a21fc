#include "unit/data/support.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

char *test_dir_new(void) {
    char *dir = strdup("/tmp/minibert-data-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    return dir;
}

void test_dir_free(char *dir) {
    mb_error error;
    cr_assert_eq(mb_path_remove(dir, &error), MB_OK, "%s", error.message);
    free(dir);
}

char *test_file_bytes(const char *dir, const char *name, const void *bytes, size_t n_bytes) {
    char *path = mb_path_join(dir, name);
    FILE *file = fopen(path, "wb"); /* not mb_file_write, whose fsync makes thousands of small files slow */
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, n_bytes, file), n_bytes);
    cr_assert_eq(fclose(file), 0);
    return path;
}

char *test_file(const char *dir, const char *name, const char *text) {
    return test_file_bytes(dir, name, text, strlen(text));
}

int test_dir_entries(const char *dir) {
    DIR *handle = opendir(dir);
    int n = 0;
    for (struct dirent *entry; handle != NULL && (entry = readdir(handle)) != NULL;) {
        n += entry->d_name[0] != '.';
    }
    if (handle != NULL) {
        closedir(handle);
    }
    return n;
}

mb_tokenizer *test_tokenizer_new(void) {
    char letters[52][4];
    const char *pieces[TEST_VOCAB_SIZE] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    for (int i = 0; i < 26; i++) {
        snprintf(letters[i], 4, "%c", 'a' + i);
        snprintf(letters[26 + i], 4, "##%c", 'a' + i);
        pieces[5 + i] = letters[i];
        pieces[31 + i] = letters[26 + i];
    }
    pieces[TEST_VOCAB_SIZE - 1] = ".";
    const mb_tokenizer_config config = mb_tokenizer_config_default();
    mb_tokenizer *tokenizer = NULL;
    mb_error error;
    cr_assert_eq(mb_tokenizer_new(pieces, TEST_VOCAB_SIZE, &config, &tokenizer, &error), MB_OK, "%s", error.message);
    return tokenizer;
}

uint32_t test_random(uint32_t stream, uint32_t k, uint32_t n) {
    return mb_rng_below(mb_rng_at(20240607, MB_STREAM_TEST, stream, k, 0).v[0], n);
}

void test_shard_new(const char *dir, const test_shard_options *options, mb_shard *out) {
    char name[32];
    snprintf(name, sizeof(name), "made-up-%u.shard", options->stream);
    char *path = mb_path_join(dir, name);
    mb_shard_writer *writer = NULL;
    mb_error error;
    cr_assert_eq(mb_shard_writer_open(path, 42, TEST_VOCAB_SIZE, &writer, &error), MB_OK, "%s", error.message);
    uint32_t *tokens = malloc(options->max_line_tokens * sizeof(*tokens));
    uint32_t k = 0;
    for (uint32_t i = 0; i < options->n_documents; i++) {
        const uint32_t n_lines = 1 + test_random(options->stream, k++, options->max_lines);
        for (uint32_t j = 0; j < n_lines; j++) {
            const uint32_t n_tokens = 1 + test_random(options->stream, k++, options->max_line_tokens);
            uint32_t word_left = 0;
            for (uint32_t t = 0; t < n_tokens; t++) {
                const uint32_t id =
                    TEST_FIRST_TEXT_ID + test_random(options->stream, k++, TEST_VOCAB_SIZE - TEST_FIRST_TEXT_ID);
                tokens[t] = word_left > 0 ? id | MB_SHARD_CONTINUES : id;
                word_left = word_left > 0 ? word_left - 1 : test_random(options->stream, k++, options->max_word_tokens);
            }
            mb_shard_writer_add_line(writer, tokens, n_tokens, j == 0);
        }
    }
    free(tokens);
    cr_assert_eq(mb_shard_writer_commit(writer, &error), MB_OK, "%s", error.message);
    cr_assert_eq(mb_shard_open(path, true, out, &error), MB_OK, "%s", error.message);
    free(path);
}
