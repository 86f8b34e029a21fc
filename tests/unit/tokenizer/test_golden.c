/* Against Hugging Face: tests/golden/tokenizer.json holds nasty lines and what its tokenizers made of them (ids, byte offsets,
 * word numbers) under seven configurations, pairs cut to length, and decoded texts; made by scripts/golden/tokenizer.py.
 * Against google-research/bert: the same lines and some more, ids alone. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "minibert/tokenizer.h"

static json_t *load_file(const char *path) {
    json_t *golden = NULL;
    mb_error error;
    mb_status status = mb_json_load(path, &golden, &error);
    cr_assert_eq(status, MB_OK, "%s", error.message);
    return golden;
}

static json_t *load_golden(void) {
    return load_file(MB_TESTS_DIR "/golden/tokenizer.json");
}

static mb_tokenizer *make_tokenizer(const json_t *golden, const json_t *config_json) {
    const json_t *vocab = json_object_get(golden, "vocab");
    size_t n = json_array_size(vocab);
    cr_assert_gt(n, 500);
    const char **pieces = malloc(n * sizeof *pieces);
    for (size_t i = 0; i < n; i++) {
        pieces[i] = json_string_value(json_array_get(vocab, i));
    }
    mb_tokenizer_config config = mb_tokenizer_config_default();
    const json_t *strip = json_object_get(config_json, "strip_accents");
    config.do_lower_case = json_is_true(json_object_get(config_json, "do_lower_case"));
    config.strip_accents = json_is_null(strip) ? -1 : json_is_true(strip);
    config.tokenize_chinese_chars = json_is_true(json_object_get(config_json, "tokenize_chinese_chars"));
    config.clean_text = json_is_true(json_object_get(config_json, "clean_text"));
    if (json_object_get(golden, "pairs") == NULL) { /* Google's have ids alone, and its settings but for the case */
        const bool lower = config.do_lower_case;
        config = mb_tokenizer_config_default();
        config = mb_tokenizer_config_compat(&config, MB_COMPAT_GOOGLE);
        config.do_lower_case = lower;
    }
    mb_tokenizer *tokenizer = NULL;
    mb_error error;
    mb_status status = mb_tokenizer_new(pieces, n, &config, &tokenizer, &error);
    cr_assert_eq(status, MB_OK, "%s", error.message);
    free(pieces);
    return tokenizer;
}

static size_t from_hex(const char *hex, char *out) {
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        char byte[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        out[i] = (char)strtoul(byte, NULL, 16);
    }
    return n;
}

static void check_list(const json_t *expected, size_t n, const int64_t *got, const char *what, const char *text) {
    cr_assert_eq(json_array_size(expected), n, "%s of '%s': %zu, expected %zu", what, text, n, json_array_size(expected));
    for (size_t i = 0; i < n; i++) {
        int64_t want = json_integer_value(json_array_get(expected, i));
        cr_assert_eq(got[i], want, "%s of '%s', token %zu: %ld, expected %ld", what, text, i, (long)got[i], (long)want);
    }
}

static void check_case(const mb_tokenizer *tokenizer, const char *hex, const json_t *expected, mb_encoding *encoding) {
    /* Exactly as large as the text, so that the sanitizer sees a read past its end. */
    char *text = malloc(strlen(hex) / 2 + (*hex == '\0'));
    size_t n_bytes = from_hex(hex, text);
    mb_error error;
    mb_status status = mb_tokenizer_encode(tokenizer, text, n_bytes, encoding, &error);
    cr_assert_eq(status, MB_OK, "%s", error.message);
    size_t n = encoding->n_tokens;
    int64_t *got = malloc((n + 1) * sizeof *got);
    for (size_t i = 0; i < n; i++) {
        got[i] = encoding->ids[i];
    }
    check_list(json_object_get(expected, "ids"), n, got, "ids", hex);
    for (size_t i = 0; i < n; i++) {
        got[i] = encoding->starts[i];
    }
    check_list(json_object_get(expected, "starts"), n, got, "starts", hex);
    for (size_t i = 0; i < n; i++) {
        got[i] = encoding->ends[i];
    }
    check_list(json_object_get(expected, "ends"), n, got, "ends", hex);
    for (size_t i = 0; i < n; i++) {
        got[i] = encoding->words[i];
    }
    check_list(json_object_get(expected, "words"), n, got, "words", hex);
    free(got);
    free(text);
}

Test(golden, ids_offsets_and_words_equal_those_of_hugging_face) {
    json_t *golden = load_golden();
    const json_t *texts = json_object_get(golden, "texts_hex"), *config;
    size_t i;
    mb_encoding encoding = {0}; /* one for all: what it remembers of one tokenizer must not leak into the next */
    cr_assert_eq(json_array_size(json_object_get(golden, "configs")), 7);
    json_array_foreach(json_object_get(golden, "configs"), i, config) {
        mb_tokenizer *tokenizer = make_tokenizer(golden, config);
        const json_t *cases = json_object_get(config, "cases");
        cr_assert_eq(json_array_size(cases), json_array_size(texts));
        cr_assert_gt(json_array_size(cases), 100);
        for (size_t k = 0; k < 2 * json_array_size(cases); k++) { /* twice: without and with the cache */
            size_t at = k % json_array_size(cases);
            check_case(tokenizer, json_string_value(json_array_get(texts, at)), json_array_get(cases, at), &encoding);
        }
        mb_tokenizer_free(tokenizer);
    }
    mb_encoding_free(&encoding);
    json_decref(golden);
}

Test(golden, ids_equal_those_of_google_research_bert) {
    json_t *golden = load_file(MB_TESTS_DIR "/golden/tokenizer_google.json");
    const json_t *texts = json_object_get(golden, "texts_hex"), *config;
    size_t i;
    mb_encoding encoding = {0};
    cr_assert_eq(json_array_size(json_object_get(golden, "configs")), 2);
    json_array_foreach(json_object_get(golden, "configs"), i, config) {
        mb_tokenizer *tokenizer = make_tokenizer(golden, config);
        const json_t *cases = json_object_get(config, "cases");
        cr_assert_eq(json_array_size(cases), json_array_size(texts));
        cr_assert_gt(json_array_size(cases), 100);
        for (size_t at = 0; at < json_array_size(cases); at++) {
            const char *hex = json_string_value(json_array_get(texts, at));
            char *text = malloc(strlen(hex) / 2 + (*hex == '\0'));
            mb_error error;
            cr_assert_eq(mb_tokenizer_encode(tokenizer, text, from_hex(hex, text), &encoding, &error), MB_OK);
            int64_t *got = malloc((encoding.n_tokens + 1) * sizeof *got);
            for (size_t k = 0; k < encoding.n_tokens; k++) {
                got[k] = encoding.ids[k];
                cr_assert(encoding.starts[k] < encoding.ends[k] && encoding.ends[k] <= strlen(hex) / 2);
            }
            check_list(json_object_get(json_array_get(cases, at), "ids"), encoding.n_tokens, got, "ids", hex);
            free(got);
            free(text);
        }
        mb_tokenizer_free(tokenizer);
    }
    mb_encoding_free(&encoding);
    json_decref(golden);
}

Test(golden, pairs_are_cut_like_hugging_faces_longest_first) {
    json_t *golden = load_golden(), *pair;
    mb_tokenizer *tokenizer = make_tokenizer(golden, json_array_get(json_object_get(golden, "configs"), 0));
    size_t i;
    mb_encoding encoding = {0};
    cr_assert_gt(json_array_size(json_object_get(golden, "pairs")), 100);
    json_array_foreach(json_object_get(golden, "pairs"), i, pair) {
        const char *a = json_string_value(json_object_get(pair, "a")), *b = json_string_value(json_object_get(pair, "b"));
        size_t max_length = (size_t)json_integer_value(json_object_get(pair, "max_length"));
        mb_error error;
        mb_status status =
            mb_tokenizer_encode_pair(tokenizer, a, strlen(a), b, b == NULL ? 0 : strlen(b), max_length, &encoding, &error);
        cr_assert_eq(status, MB_OK, "%s", error.message);
        size_t n = encoding.n_tokens;
        int64_t *got = malloc((n + 1) * sizeof *got);
        for (size_t k = 0; k < n; k++) {
            got[k] = encoding.ids[k];
        }
        check_list(json_object_get(pair, "ids"), n, got, "ids", a);
        for (size_t k = 0; k < n; k++) {
            got[k] = encoding.types[k];
        }
        check_list(json_object_get(pair, "types"), n, got, "types", a);
        free(got);
    }
    mb_encoding_free(&encoding);
    mb_tokenizer_free(tokenizer);
    json_decref(golden);
}

Test(golden, decoded_text_equals_that_of_hugging_face) {
    json_t *golden = load_golden(), *decoded;
    mb_tokenizer *tokenizer = make_tokenizer(golden, json_array_get(json_object_get(golden, "configs"), 0));
    size_t i;
    cr_assert_gt(json_array_size(json_object_get(golden, "decoded")), 100);
    json_array_foreach(json_object_get(golden, "decoded"), i, decoded) {
        const json_t *list = json_object_get(decoded, "ids");
        size_t n = json_array_size(list);
        int32_t *ids = malloc((n + 1) * sizeof *ids);
        for (size_t k = 0; k < n; k++) {
            ids[k] = (int32_t)json_integer_value(json_array_get(list, k));
        }
        mb_error error;
        char *text = mb_tokenizer_decode(tokenizer, ids, n, false, &error);
        char *plain = mb_tokenizer_decode(tokenizer, ids, n, true, &error);
        cr_assert_str_eq(text, json_string_value(json_object_get(decoded, "text")));
        cr_assert_str_eq(plain, json_string_value(json_object_get(decoded, "plain")));
        free(text);
        free(plain);
        free(ids);
    }
    mb_tokenizer_free(tokenizer);
    json_decref(golden);
}
