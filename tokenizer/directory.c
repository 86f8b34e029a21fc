#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "tokenizer/tokenizer_internal.h"

/* The three files of a directory. */
typedef struct paths {
    char *vocab, *json, *config;
} paths;

static void free_paths(paths *files) {
    free(files->vocab);
    free(files->json);
    free(files->config);
}

static mb_status join_paths(const char *dir, paths *files, mb_error *error) {
    *files = (paths){
        .vocab = mb_path_join(dir, "vocab.txt"),
        .json = mb_path_join(dir, "tokenizer.json"),
        .config = mb_path_join(dir, "tokenizer_config.json"),
    };
    if (files->vocab == NULL || files->json == NULL || files->config == NULL) {
        return mb_fail(error, MB_ERROR_MEMORY, "no memory for the paths in '%s'", dir);
    }
    return MB_OK;
}

/* vocab.txt beside a tokenizer.json must say the same, with or without the tokens that the latter adds. */
static mb_status compare(const char *vocab_path, const mb_vocab *text, const char *json_path, const mb_tokenizer_parts *json,
                         mb_error *error) {
    for (size_t i = 0; i < text->n && i < json->vocab.n; i++) {
        if (strcmp(text->texts[i], json->vocab.texts[i]) != 0) {
            return mb_fail(error, MB_ERROR_MISMATCH, "'%s' and '%s' do not match: id %zu is '%.80s' there and '%.80s' here",
                           vocab_path, json_path, i, text->texts[i], json->vocab.texts[i]);
        }
    }
    if (text->n < json->n_model || text->n > json->vocab.n) {
        return mb_fail(error, MB_ERROR_MISMATCH, "'%s' and '%s' do not match: %zu pieces there and %zu here", vocab_path,
                       json_path, text->n, json->n_model);
    }
    return MB_OK;
}

static mb_status read_dir(const char *dir, const paths *files, mb_tokenizer_parts *parts, mb_error *error) {
    bool has_vocab = mb_path_exists(files->vocab), has_json = mb_path_exists(files->json);
    if (!has_vocab && !has_json) {
        return mb_fail(error, MB_ERROR_IO,
                       "cannot load a tokenizer from '%s': there is neither a vocab.txt nor a tokenizer.json", dir);
    }
    mb_status status =
        has_json ? mb_tokenizer_json_read(files->json, parts, error) : mb_vocab_read_text(files->vocab, &parts->vocab, error);
    if (status == MB_OK && has_json && has_vocab && !mb_vocab_is_text(files->vocab, &parts->vocab, parts->n_model)) {
        mb_vocab text = {0};
        status = mb_vocab_read_text(files->vocab, &text, error);
        if (status == MB_OK) {
            status = compare(files->vocab, &text, files->json, parts, error);
        }
        mb_vocab_free(&text);
    }
    if (status == MB_OK && mb_path_exists(files->config)) {
        status = mb_tokenizer_config_read(files->config, &parts->config, error);
    }
    return status;
}

mb_status mb_tokenizer_load(const char *dir, mb_tokenizer **out, mb_error *error) {
    mb_tokenizer_parts parts = {.config = mb_tokenizer_config_default()};
    mb_status status;
    if (mb_path_is_dir(dir)) {
        paths files;
        status = join_paths(dir, &files, error);
        if (status == MB_OK) {
            status = read_dir(dir, &files, &parts, error);
        }
        free_paths(&files);
    } else {
        status = mb_vocab_read_text(dir, &parts.vocab, error);
    }
    if (status != MB_OK) {
        mb_tokenizer_parts_free(&parts);
        return status;
    }
    return mb_tokenizer_from_parts(&parts, dir, out, error);
}

mb_status mb_tokenizer_save(const mb_tokenizer *tokenizer, const char *dir, mb_error *error) {
    paths files;
    mb_status status = join_paths(dir, &files, error);
    if (status == MB_OK) {
        status = mb_dir_make(dir, error);
    }
    if (status == MB_OK) {
        status = mb_vocab_write_text(&tokenizer->vocab, files.vocab, error);
    }
    if (status == MB_OK) {
        status = mb_tokenizer_json_write(tokenizer, files.json, error);
    }
    if (status == MB_OK) {
        status = mb_tokenizer_config_write(tokenizer, files.config, error);
    }
    free_paths(&files);
    return status;
}
