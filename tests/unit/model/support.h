/* What the tests of the model share: a temporary directory, a tiny configuration, a batch. */
#ifndef MB_TESTS_MODEL_SUPPORT_H
#define MB_TESTS_MODEL_SUPPORT_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/file.h"
#include "model/model.h"

#define ASSERT_OK(call, error) cr_assert_eq((call), MB_OK, "%s", (error).message)

/* A directory of the test's own; remove_dir takes it away. */
static inline char *make_dir(void) {
    char *path = strdup("/tmp/minibert-model-XXXXXX");
    cr_assert_not_null(mkdtemp(path));
    return path;
}

static inline void remove_dir(char *path) {
    mb_error error;
    ASSERT_OK(mb_path_remove(path, &error), error);
    free(path);
}

/* Writes without fsync: some tests write thousands of files. */
static inline void write_file(const char *path, const void *bytes, size_t n_bytes) {
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, n_bytes, file), n_bytes);
    cr_assert_eq(fclose(file), 0);
}

static inline void write_text(const char *dir, const char *name, const char *text) {
    char *path = mb_path_join(dir, name);
    write_file(path, text, strlen(text));
    free(path);
}

static inline mb_buffer read_file(const char *dir, const char *name) {
    mb_buffer bytes = {0};
    mb_error error;
    char *path = mb_path_join(dir, name);
    ASSERT_OK(mb_file_read(path, &bytes, &error), error);
    free(path);
    return bytes;
}

/* Odd sizes, so that no two dimensions can be mistaken for each other. */
static inline mb_model_config tiny_config(void) {
    mb_model_config config;
    mb_error error;
    ASSERT_OK(mb_model_config_preset("tiny", &config, &error), error);
    config.vocab_size = 37;
    config.hidden_size = 12;
    config.n_heads = 3;
    config.intermediate_size = 20;
    config.max_positions = 9;
    config.hidden_dropout = config.attention_dropout = config.classifier_dropout = 0;
    return config;
}

/* A ModernBERT of this BERT's shape, which is freed; its weights have the given deviation. */
static inline mb_model *new_modern_masked_lm(mb_model_config *shape, double deviation) {
    mb_error error;
    mb_model *model;
    mb_model_config_make_modern(shape);
    shape->initializer_range = deviation;
    ASSERT_OK(mb_model_new(shape, MB_HEAD_MASKED_LM, 5, &model, &error), error);
    mb_model_config_free(shape);
    return model;
}

/* Three sequences of 5, 1 and 9 tokens. */
enum { TINY_TOKENS = 15 };
static inline mb_model_input tiny_input(void) {
    static const int32_t offsets[] = {0, 5, 6, 15};
    static const int32_t ids[TINY_TOKENS] = {2, 5, 36, 7, 3, 2, 2, 11, 12, 13, 13, 3, 30, 31, 3};
    static const int32_t types[TINY_TOKENS] = {0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1};
    return (mb_model_input){
        .n_tokens = TINY_TOKENS, .ids = ids, .types = types, .sequences = {.n = 3, .offsets = offsets, .max_length = 9}};
}

static inline mb_model *new_tiny(mb_head head) {
    mb_model_config config = tiny_config();
    const char *labels[] = {"a", "b", "c", "d"};
    mb_error error;
    mb_model *model;
    ASSERT_OK(mb_model_config_set_labels(&config, labels, 4, &error), error);
    ASSERT_OK(mb_model_new(&config, head, 7, &model, &error), error);
    mb_model_config_free(&config);
    return model;
}

#endif
