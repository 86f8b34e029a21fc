#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "tokenizer/json_vocab.h"
#include "tokenizer/tokenizer_internal.h"

/* As mb_json_load, but numbers may be of any size: transformers writes 1000000000000000019884624838656 for "no limit". */
static mb_status parse_object(const char *path, const mb_buffer *text, json_t **out, mb_error *error) {
    json_error_t where;
    json_t *root = NULL;
    mb_status status = mb_json_parse(text->data == NULL ? "" : text->data, text->n_bytes,
                                     JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &root, &where);
    if (status == MB_ERROR_MEMORY) {
        return mb_fail(error, status, "cannot read '%s': out of memory", path);
    }
    if (json_is_object(root)) {
        *out = root;
        return MB_OK;
    }
    status = root != NULL ? mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': expected a JSON object", path)
                          : mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': line %d is not valid JSON: %s", path, where.line,
                                    where.text);
    json_decref(root);
    return status;
}

static mb_status load_object(const char *path, json_t **out, mb_error *error) {
    mb_buffer text = {0};
    mb_status status = mb_file_read(path, &text, error);
    status = status == MB_OK ? parse_object(path, &text, out, error) : status;
    mb_buffer_free(&text);
    return status;
}

/* An integer in 0..max; -1 for anything else. */
static int64_t integer_of(const json_t *value, int64_t max) {
    double number = json_is_number(value) ? json_number_value(value) : -1;
    return number >= 0 && number <= (double)max && number == floor(number) ? (int64_t)number : -1;
}

/* true, false, or (where allowed) null, which leaves *out at -1. An absent key leaves it as it is. */
static mb_status read_switch(const json_t *object, const char *path, const char *key, bool may_be_null, int *out,
                             mb_error *error) {
    const json_t *value = json_object_get(object, key);
    if (value == NULL || (json_is_null(value) && !may_be_null)) {
        return MB_OK;
    }
    if (!json_is_boolean(value) && !json_is_null(value)) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': '%s' is neither true nor false", path, key);
    }
    *out = json_is_null(value) ? -1 : json_is_true(value);
    return MB_OK;
}

static mb_status read_flag(const json_t *object, const char *path, const char *key, bool *out, mb_error *error) {
    int value = *out;
    mb_status status = read_switch(object, path, key, false, &value, error);
    *out = value != 0;
    return status;
}

/* --- tokenizer.json --- */

/* root[key] must be an object whose "type" is one of the names (NULL ends them). */
static mb_status expect_type(const json_t *root, const char *path, const char *key, const char *const *names, mb_error *error) {
    const char *type = json_string_value(json_object_get(json_object_get(root, key), "type"));
    for (const char *const *name = names; type != NULL && *name != NULL; name++) {
        if (strcmp(type, *name) == 0) {
            return MB_OK;
        }
    }
    return mb_fail(error, MB_ERROR_FORMAT, "cannot use '%s': its %s is '%s', expected '%s': only BERT's tokenizer is supported",
                   path, key, type == NULL ? "null" : type, names[0]);
}

static mb_status read_pipeline(const json_t *root, const char *path, mb_tokenizer_config *config, mb_error *error) {
    static const char *const normalizers[] = {"BertNormalizer", NULL};
    static const char *const pre_tokenizers[] = {"BertPreTokenizer", NULL};
    static const char *const models[] = {"WordPiece", NULL};
    static const char *const processors[] = {"TemplateProcessing", "BertProcessing", NULL};
    mb_status status = expect_type(root, path, "model", models, error);
    if (status == MB_OK) {
        status = expect_type(root, path, "normalizer", normalizers, error);
    }
    if (status == MB_OK) {
        status = expect_type(root, path, "pre_tokenizer", pre_tokenizers, error);
    }
    const json_t *processor = json_object_get(root, "post_processor");
    if (status == MB_OK && processor != NULL && !json_is_null(processor)) {
        status = expect_type(root, path, "post_processor", processors, error);
    }
    const json_t *normalizer = json_object_get(root, "normalizer");
    if (status == MB_OK) {
        status = read_flag(normalizer, path, "clean_text", &config->clean_text, error);
    }
    if (status == MB_OK) {
        status = read_flag(normalizer, path, "handle_chinese_chars", &config->tokenize_chinese_chars, error);
    }
    if (status == MB_OK) {
        status = read_switch(normalizer, path, "strip_accents", true, &config->strip_accents, error);
    }
    if (status == MB_OK) {
        status = read_flag(normalizer, path, "lowercase", &config->do_lower_case, error);
    }
    return status;
}

static mb_status read_model(const json_t *model, const char *path, mb_tokenizer_config *config, mb_error *error) {
    const char *unknown = json_string_value(json_object_get(model, "unk_token"));
    const char *prefix = json_string_value(json_object_get(model, "continuing_subword_prefix"));
    if ((unknown != NULL && strcmp(unknown, "[UNK]") != 0) || (prefix != NULL && strcmp(prefix, "##") != 0)) {
        return mb_fail(error, MB_ERROR_FORMAT,
                       "cannot use '%s': unk_token is '%s' and continuing_subword_prefix '%s', expected '[UNK]' and '##'", path,
                       unknown == NULL ? "[UNK]" : unknown, prefix == NULL ? "##" : prefix);
    }
    const json_t *max_chars = json_object_get(model, "max_input_chars_per_word");
    if (max_chars != NULL) {
        config->max_chars_per_word = (int32_t)integer_of(max_chars, INT32_MAX);
    }
    if (!json_is_object(json_object_get(model, "vocab"))) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': model.vocab is not an object of piece: id", path);
    }
    return MB_OK;
}

/* Puts `text` at its id, -1 for what is none. */
static mb_status place(const char **by_id, size_t n, const char *text, int64_t id, const char *path, mb_error *error) {
    if (id < 0 || id >= (int64_t)n) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': the id of '%.80s' is not an integer from 0 to %zu", path,
                       text, n - 1);
    }
    if (by_id[id] != NULL && strcmp(by_id[id], text) != 0) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': id %d is both '%.80s' and '%.80s'", path, (int)id, by_id[id],
                       text);
    }
    by_id[id] = text;
    return MB_OK;
}

/* Added tokens that are found in the raw text, whole, wherever they stand: the only kind that BERT has. */
static mb_status check_added(const json_t *token, const char *path, mb_error *error) {
    static const char *const unsupported[] = {"single_word", "lstrip", "rstrip", "normalized"};
    const char *content = json_string_value(json_object_get(token, "content"));
    if (content == NULL || *content == '\0') {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': an added token has no content", path);
    }
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++) {
        if (json_is_true(json_object_get(token, unsupported[i]))) {
            return mb_fail(error, MB_ERROR_FORMAT, "cannot use '%s': the added token '%.80s' has %s, which is not supported",
                           path, content, unsupported[i]);
        }
    }
    return MB_OK;
}

/* The vocabulary: `cut` out of the file, or NULL and in the tree. */
typedef struct vocabulary {
    const json_t *object;
    const mb_json_pieces *cut;
} vocabulary;

static size_t count_pieces(const vocabulary *vocab) {
    return vocab->cut != NULL ? vocab->cut->n : json_object_size(vocab->object);
}

static bool has_piece(const vocabulary *vocab, const char *text, int64_t likely_id) {
    if (vocab->cut == NULL) {
        return json_object_get(vocab->object, text) != NULL;
    }
    const mb_json_piece *items = vocab->cut->items;
    bool found = likely_id >= 0 && likely_id < (int64_t)vocab->cut->n && strcmp(items[likely_id].text, text) == 0;
    for (size_t i = 0; i < vocab->cut->n && !found; i++) {
        found = strcmp(items[i].text, text) == 0;
    }
    return found;
}

static mb_status place_pieces(const vocabulary *vocab, const char *path, const char **by_id, size_t n, mb_error *error) {
    mb_status status = MB_OK;
    for (size_t i = 0; vocab->cut != NULL && i < vocab->cut->n && status == MB_OK; i++) {
        status = place(by_id, n, vocab->cut->items[i].text, vocab->cut->items[i].id, path, error);
    }
    const char *text;
    const json_t *value;
    json_object_foreach((json_t *)vocab->object, text, value) {
        status = status == MB_OK ? place(by_id, n, text, integer_of(value, (int64_t)n - 1), path, error) : status;
    }
    return status;
}

static mb_status read_pieces(const vocabulary *vocab, const json_t *added, const char *path, const char **by_id, size_t n,
                             mb_tokenizer_parts *parts, mb_error *error) {
    mb_status status = place_pieces(vocab, path, by_id, n, error);
    size_t i;
    const json_t *value;
    json_array_foreach(added, i, value) {
        if (status == MB_OK) {
            status = place(by_id, n, json_string_value(json_object_get(value, "content")),
                           integer_of(json_object_get(value, "id"), (int64_t)n - 1), path, error);
        }
    }
    if (status == MB_OK && !mb_vocab_reserve(&parts->vocab, n)) {
        status = mb_fail(error, MB_ERROR_MEMORY, "cannot read '%s': no memory for %zu pieces", path, n);
    }
    for (size_t id = 0; id < n && status == MB_OK; id++) {
        status = by_id[id] == NULL
                     ? mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': no piece has id %zu of %zu", path, id, n)
                     : mb_vocab_add(&parts->vocab, by_id[id], strlen(by_id[id]), path, 0, error);
    }
    json_array_foreach(added, i, value) {
        if (status == MB_OK) {
            status = mb_added_token_append(parts, (int32_t)integer_of(json_object_get(value, "id"), INT32_MAX),
                                           json_is_true(json_object_get(value, "special")), error);
        }
    }
    return status;
}

/* `root` without its vocabulary if that is `cut` (else NULL). */
static mb_status read_root(const json_t *root, const mb_json_pieces *cut, const char *path, mb_tokenizer_parts *parts,
                           mb_error *error) {
    const json_t *model = json_object_get(root, "model"), *added = json_object_get(root, "added_tokens");
    const vocabulary vocab = {json_object_get(model, "vocab"), cut};
    mb_status status = read_pipeline(root, path, &parts->config, error);
    if (status == MB_OK) {
        status = read_model(model, path, &parts->config, error);
    }
    size_t n = count_pieces(&vocab), i;
    parts->n_model = n;
    const json_t *token;
    json_array_foreach(added, i, token) {
        if (status == MB_OK) {
            status = check_added(token, path, error);
        }
        if (status == MB_OK && !has_piece(&vocab, json_string_value(json_object_get(token, "content")),
                                          integer_of(json_object_get(token, "id"), INT32_MAX))) {
            n++;
        }
    }
    if (status == MB_OK && (n == 0 || n > INT32_MAX)) {
        status = mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': model.vocab has %zu pieces", path, n);
    }
    if (status == MB_OK) {
        const char **by_id = calloc(n, sizeof *by_id);
        status = by_id == NULL ? mb_fail(error, MB_ERROR_MEMORY, "cannot read '%s': no memory for %zu pieces", path, n)
                               : read_pieces(&vocab, added, path, by_id, n, parts, error);
        free(by_id);
    }
    return status;
}

static mb_status read_text(const mb_buffer *text, const mb_json_pieces *cut, const char *path, mb_tokenizer_parts *parts,
                           mb_error *error) {
    json_t *root = NULL;
    mb_status status = parse_object(path, cut != NULL ? &cut->rest : text, &root, error);
    status = status == MB_OK ? read_root(root, cut, path, parts, error) : status;
    json_decref(root);
    return status;
}

mb_status mb_tokenizer_json_read(const char *path, mb_tokenizer_parts *parts, mb_error *error) {
    mb_buffer text = {0};
    mb_json_pieces cut = {0};
    mb_status status = mb_file_read(path, &text, error);
    if (status == MB_OK) {
        /* What goes wrong with the vocabulary cut out is said, or turns out to be right, as the whole file is read. */
        mb_tokenizer_parts quick = {.config = parts->config};
        if (text.n_bytes > 0 && mb_json_pieces_cut(text.data, text.n_bytes, &cut) &&
            read_text(&text, &cut, path, &quick, NULL) == MB_OK) {
            *parts = quick;
        } else {
            mb_tokenizer_parts_free(&quick);
            status = read_text(&text, NULL, path, parts, error);
        }
    }
    mb_json_pieces_free(&cut);
    mb_buffer_free(&text);
    return status;
}

/* --- tokenizer_config.json --- */

mb_status mb_tokenizer_config_read(const char *path, mb_tokenizer_config *config, mb_error *error) {
    json_t *root = NULL;
    mb_status status = load_object(path, &root, error);
    if (status == MB_OK) {
        status = read_flag(root, path, "do_lower_case", &config->do_lower_case, error);
    }
    if (status == MB_OK) {
        status = read_flag(root, path, "tokenize_chinese_chars", &config->tokenize_chinese_chars, error);
    }
    if (status == MB_OK) {
        status = read_switch(root, path, "strip_accents", true, &config->strip_accents, error);
    }
    const json_t *compat = json_object_get(root, "compat"); /* minibert's own key */
    if (status == MB_OK && compat != NULL) {
        const char *name = json_string_value(compat);
        if (name == NULL || (strcmp(name, "hf") != 0 && strcmp(name, "google") != 0)) {
            status = mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': 'compat' is neither 'hf' nor 'google'", path);
        } else {
            *config = mb_tokenizer_config_compat(config, strcmp(name, "hf") == 0 ? MB_COMPAT_HF : MB_COMPAT_GOOGLE);
        }
    }
    const json_t *length = json_object_get(root, "model_max_length");
    if (status == MB_OK && length != NULL && !json_is_null(length)) {
        double tokens = json_number_value(length); /* 0 for what is not a number */
        if (tokens < 1) {
            status = mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': 'model_max_length' is not a positive number", path);
        } else {
            config->model_max_length = tokens < INT32_MAX ? (int32_t)tokens : INT32_MAX;
        }
    }
    json_decref(root);
    return status;
}
