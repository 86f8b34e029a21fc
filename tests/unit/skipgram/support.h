/* What the tests of word vectors share. */
#ifndef MB_TESTS_SKIPGRAM_SUPPORT_H
#define MB_TESTS_SKIPGRAM_SUPPORT_H

#include <stddef.h>

#include "base/file.h"

/* A fresh temporary directory, malloc'ed; test_dir_free removes it with all that is in it. */
char *test_dir_new(void);
void test_dir_free(char *dir);
/* dir/name, written; malloc'ed. */
char *test_file(const char *dir, const char *name, const void *bytes, size_t n_bytes);
char *test_text(const char *dir, const char *name, const char *text);
/* A whole file as a NUL terminated text, malloc'ed. */
char *test_read(const char *path, size_t *n_bytes);
/* Text in memory as a map. */
mb_map test_map(const char *text);
/* Made-up sentences, the same every time; malloc'ed. a0 goes with b0, a1 with b1, to 19, and c0 to c49 with all. */
char *test_paired_text(int n_sentences);

#endif
