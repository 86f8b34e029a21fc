#include "small_model.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "minibert/tokenizer.h"

static const char *const pieces[] = {
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a",   "b",   "c",   "d",   "e",    "f",    "##a",
    "##b",   "##c",   "##d",   "##e",   "##f",    "the", "cat", "dog", "sat", "fish", "##es", ".",
};
enum { N_PIECES = sizeof pieces / sizeof *pieces };

char *small_dir(void) {
    char name[] = "/tmp/minibert-test-tasks-XXXXXX";
    cr_assert_not_null(mkdtemp(name));
    return strdup(name);
}

char *small_path(const char *dir, const char *name) {
    char *path = mb_path_join(dir, name);
    cr_assert_not_null(path);
    return path;
}

char *small_model_dir(mb_head head) {
    mb_error error;
    char *dir = small_dir();
    const mb_tokenizer_config settings = mb_tokenizer_config_default();
    mb_tokenizer *tokenizer = NULL;
    cr_assert_eq(mb_tokenizer_new(pieces, N_PIECES, &settings, &tokenizer, &error), MB_OK, "%s", error.message);
    cr_assert_eq(mb_tokenizer_save(tokenizer, dir, &error), MB_OK, "%s", error.message);
    mb_tokenizer_free(tokenizer);
    mb_model_config config;
    cr_assert_eq(mb_model_config_preset("tiny", &config, &error), MB_OK, "%s", error.message);
    config.vocab_size = N_PIECES;
    config.hidden_size = 16;
    config.n_heads = 2;
    config.intermediate_size = 24;
    config.max_positions = 32;
    config.initializer_range = 0.4; /* far from zero, so that different texts have clearly different vectors */
    mb_model *model = NULL;
    cr_assert_eq(mb_model_new(&config, head, 7, &model, &error), MB_OK, "%s", error.message);
    cr_assert_eq(mb_model_save(model, dir, &error), MB_OK, "%s", error.message);
    mb_model_free(model);
    mb_model_config_free(&config);
    return dir;
}

void small_file(const char *path, const char *text) {
    mb_error error;
    cr_assert_eq(mb_file_write(path, text, strlen(text), &error), MB_OK, "%s", error.message);
}

char *small_read(const char *path) {
    mb_error error;
    mb_buffer text = {0};
    cr_assert_eq(mb_file_read(path, &text, &error), MB_OK, "%s", error.message);
    cr_assert(mb_buffer_append(&text, "", 0));
    return text.data;
}
