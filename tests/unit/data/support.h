/* What the data tests share: a directory of their own, a small tokenizer, made-up shards. */
#ifndef MB_TESTS_DATA_SUPPORT_H
#define MB_TESTS_DATA_SUPPORT_H

#include <stdint.h>

#include "data/shard.h"
#include "minibert/tokenizer.h"

/* A fresh temporary directory, malloc'ed; test_dir_free removes it with all that is in it. */
char *test_dir_new(void);
void test_dir_free(char *dir);
/* dir/name, written with `text`; malloc'ed. */
char *test_file(const char *dir, const char *name, const char *text);
char *test_file_bytes(const char *dir, const char *name, const void *bytes, size_t n_bytes);
/* Number of entries of a directory, 0 where there is none. */
int test_dir_entries(const char *dir);

/* [PAD] [UNK] [CLS] [SEP] [MASK], a..z, ##a..##z and '.': a word of n letters is n pieces. */
mb_tokenizer *test_tokenizer_new(void);
enum { TEST_PAD, TEST_UNK, TEST_CLS, TEST_SEP, TEST_MASK, TEST_FIRST_TEXT_ID, TEST_VOCAB_SIZE = 5 + 26 + 26 + 1 };

/* The k-th random number of the tests, in [0, n). */
uint32_t test_random(uint32_t stream, uint32_t k, uint32_t n);

typedef struct test_shard_options {
    uint32_t stream; /* another stream, another shard */
    uint32_t n_documents, max_lines, max_line_tokens;
    uint32_t max_word_tokens; /* 1: no continuations */
} test_shard_options;
/* Random text with the test tokenizer's vocabulary: lines of 1..max tokens, documents of 1..max lines. */
void test_shard_new(const char *dir, const test_shard_options *options, mb_shard *out);

#endif
