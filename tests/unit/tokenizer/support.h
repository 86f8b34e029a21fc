/* A small tokenizer and a temporary directory. */
#ifndef MB_TESTS_TOKENIZER_SUPPORT_H
#define MB_TESTS_TOKENIZER_SUPPORT_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "minibert/tokenizer.h"

#define SPECIALS "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"

static inline mb_tokenizer *new_tokenizer(const char *const *pieces, size_t n, const mb_tokenizer_config *config) {
    mb_tokenizer *tokenizer = NULL;
    mb_error error;
    mb_status status = mb_tokenizer_new(pieces, n, config, &tokenizer, &error);
    cr_assert_eq(status, MB_OK, "%s", error.message);
    return tokenizer;
}

/* The caller removes it with mb_path_remove and frees it. */
static inline char *new_dir(void) {
    char template[] = "/tmp/minibert-test-XXXXXX";
    cr_assert_not_null(mkdtemp(template));
    return strdup(template);
}

static inline void write_in(const char *dir, const char *name, const char *text) {
    char *path = mb_path_join(dir, name);
    mb_error error;
    cr_assert_eq(mb_file_write(path, text, strlen(text), &error), MB_OK);
    free(path);
}

static inline void remove_dir(char *dir) {
    mb_error error;
    cr_assert_eq(mb_path_remove(dir, &error), MB_OK);
    free(dir);
}

#endif
