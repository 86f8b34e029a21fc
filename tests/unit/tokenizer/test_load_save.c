#include "tests/unit/tokenizer/support.h"

static const char specials_text[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";

/* A tokenizer.json with the parts that matter; each may be replaced. */
#define JSON(normalizer, model_rest, vocab, added)                                                                             \
    "{\"added_tokens\": [" added "], \"normalizer\": " normalizer ", \"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}, "    \
    "\"model\": {\"type\": \"WordPiece\", " model_rest " \"vocab\": {\"[PAD]\": 0, \"[UNK]\": 1, \"[CLS]\": 2, \"[SEP]\": 3, " \
    "\"[MASK]\": 4" vocab "}}}"
#define BERT "{\"type\": \"BertNormalizer\"}"

static mb_status load(const char *dir, mb_tokenizer **out, mb_error *error) {
    *out = NULL;
    return mb_tokenizer_load(dir, out, error);
}

/* Loading fails with this status and a message that names the file and holds the words. */
static void expect_failure(const char *dir, mb_status status, const char *words) {
    mb_tokenizer *tokenizer;
    mb_error error = {.message = ""};
    cr_expect_eq(load(dir, &tokenizer, &error), status, "'%s': %s", words, error.message);
    cr_expect_not_null(strstr(error.message, words), "'%s' is not in: %s", words, error.message);
    cr_expect_not_null(strstr(error.message, dir), "no path in: %s", error.message);
    cr_expect_null(strchr(error.message, '\n'));
    cr_expect_null(tokenizer);
    mb_tokenizer_free(tokenizer);
}

Test(load, bad_vocab_txt) {
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "empty"},
        {"[PAD]\n[UNK]\n[CLS]\n[SEP]\n", "no [MASK]"},
        {"[PAD]\n[CLS]\n[SEP]\n[MASK]\na\n", "no [UNK]"},
        {"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\na\n", "line 8: the piece 'a' is there twice, as id 5 and 7"},
        {"[PAD]\n[UNK]\n\n[CLS]\n[SEP]\n[MASK]\n", "line 3: the piece with id 2 is empty"},
        {"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n\xff\n", "line 6: the piece with id 5 is not UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *dir = new_dir();
        write_in(dir, "vocab.txt", cases[i].text);
        expect_failure(dir, MB_ERROR_FORMAT, cases[i].words);
        remove_dir(dir);
    }
}

Test(load, missing_files) {
    expect_failure("/nonexistent/minibert", MB_ERROR_IO, "No such file");
    char *dir = new_dir();
    expect_failure(dir, MB_ERROR_IO, "neither a vocab.txt nor a tokenizer.json");
    remove_dir(dir);
}

Test(load, bad_tokenizer_json) {
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "not valid JSON"},
        {"{\"model\": ", "not valid JSON"},
        {"[1]", "expected a JSON object"},
        {"{}", "model is 'null'"},
        {"{\"model\": {\"type\": \"BPE\"}}", "model is 'BPE'"},
        {JSON("null", "", "", ""), "normalizer is 'null'"},
        {JSON("{\"type\": \"NFC\"}", "", "", ""), "normalizer is 'NFC'"},
        {JSON("{\"type\": \"BertNormalizer\", \"lowercase\": 1}", "", "", ""), "'lowercase' is neither true nor false"},
        {JSON(BERT, "\"unk_token\": \"<unk>\",", "", ""), "unk_token is '<unk>'"},
        {JSON(BERT, "\"continuing_subword_prefix\": \"@@\",", "", ""), "'@@'"},
        {JSON(BERT, "\"max_input_chars_per_word\": 0,", "", ""), "max_chars_per_word"},
        {JSON(BERT, "\"max_input_chars_per_word\": \"x\",", "", ""), "max_chars_per_word"},
        {JSON(BERT, "", ", \"a\": 6", ""), "the id of 'a' is not an integer from 0 to 5"},
        {JSON(BERT, "", ", \"a\": -1", ""), "the id of 'a'"},
        {JSON(BERT, "", ", \"a\": 5.5", ""), "the id of 'a'"},
        {JSON(BERT, "", ", \"a\": \"5\"", ""), "the id of 'a'"},
        {JSON(BERT, "", ", \"a\": 1e300", ""), "the id of 'a'"},
        {JSON(BERT, "", ", \"a\": 4", ""), "id 4 is both"},
        {JSON(BERT, "", ", \"\": 5", ""), "is empty"},
        {JSON(BERT, "", "", "{\"id\": 5, \"content\": \"[X]\", \"lstrip\": true}"), "'[X]' has lstrip"},
        {JSON(BERT, "", "", "{\"id\": 7, \"content\": \"[X]\"}"), "the id of '[X]'"},
        {JSON(BERT, "", "", "{\"id\": 5}"), "no content"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *dir = new_dir();
        write_in(dir, "tokenizer.json", cases[i].text);
        expect_failure(dir, MB_ERROR_FORMAT, cases[i].words);
        remove_dir(dir);
    }
}

Test(load, disagreeing_files) {
    static const char *const texts[] = {"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nb\n", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\n",
                                        "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"};
    for (size_t i = 0; i < 3; i++) {
        char *dir = new_dir();
        write_in(dir, "tokenizer.json", JSON(BERT, "", ", \"a\": 5", ""));
        write_in(dir, "vocab.txt", texts[i]);
        expect_failure(dir, MB_ERROR_MISMATCH, "do not match");
        remove_dir(dir);
    }
}

Test(load, bad_tokenizer_config) {
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"{\"do_lower_case\": \"yes\"}", "do_lower_case"},
        {"{\"strip_accents\": 1}", "strip_accents"},
        {"{\"model_max_length\": 0}", "model_max_length"},
        {"{\"model_max_length\": \"512\"}", "model_max_length"},
        {"{,}", "not valid JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *dir = new_dir();
        write_in(dir, "vocab.txt", specials_text);
        write_in(dir, "tokenizer_config.json", cases[i].text);
        expect_failure(dir, MB_ERROR_FORMAT, cases[i].words);
        remove_dir(dir);
    }
}

Test(load, settings_of_tokenizer_json_alone_and_overruled) {
    char *dir = new_dir();
    mb_tokenizer *tokenizer;
    mb_error error;
    write_in(
        dir, "tokenizer.json",
        JSON("{\"type\": \"BertNormalizer\", \"clean_text\": false, \"handle_chinese_chars\": false, \"strip_accents\": true, "
             "\"lowercase\": false}",
             "\"max_input_chars_per_word\": 50,", ", \"a\": 5",
             "{\"id\": 6, \"content\": \"<x>\", \"special\": true}, {\"id\": 7, \"content\": \"<x>a\"}, "
             "{\"id\": 8, \"content\": \"<x\"}"));
    cr_assert_eq(load(dir, &tokenizer, &error), MB_OK, "%s", error.message);
    const mb_tokenizer_config *config = mb_tokenizer_get_config(tokenizer);
    cr_assert(!config->clean_text && !config->tokenize_chinese_chars && !config->do_lower_case);
    cr_assert_eq(config->strip_accents, 1);
    cr_assert_eq(config->max_chars_per_word, 50);
    cr_assert_eq(config->model_max_length, 512);
    cr_assert_eq(mb_tokenizer_vocab_size(tokenizer), 9);
    mb_encoding encoding = {0};
    cr_assert_eq(mb_tokenizer_encode(tokenizer, "a<x>a<x><x>a[SEP]<xa", 20, &encoding, &error), MB_OK);
    static const int32_t ids[] = {5, 7, 6, 7, 3, 8, 5}; /* the longest added token that fits */
    cr_assert_eq(encoding.n_tokens, 7);
    cr_assert_arr_eq(encoding.ids, ids, sizeof ids);
    mb_encoding_free(&encoding);
    static const int32_t added[] = {6, 7, 3}; /* 7 is not special */
    char *text = mb_tokenizer_decode(tokenizer, added, 3, true, &error);
    cr_assert_str_eq(text, "<x>a");
    free(text);
    mb_tokenizer_free(tokenizer);

    write_in(dir, "tokenizer_config.json",
             "{\"do_lower_case\": true, \"strip_accents\": null, \"model_max_length\": 1000000000000000019884624838656}");
    cr_assert_eq(load(dir, &tokenizer, &error), MB_OK, "%s", error.message);
    config = mb_tokenizer_get_config(tokenizer);
    cr_assert(config->do_lower_case && !config->tokenize_chinese_chars);
    cr_assert_eq(config->strip_accents, -1);
    cr_assert_eq(config->model_max_length, INT32_MAX);
    mb_tokenizer_free(tokenizer);
    remove_dir(dir);
}

Test(load, a_path_to_vocab_txt_and_windows_lines) {
    char *dir = new_dir(), *path = mb_path_join(dir, "vocab.txt");
    write_in(dir, "vocab.txt", "[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\n[MASK]\r\nlast");
    mb_tokenizer *tokenizer;
    mb_error error;
    cr_assert_eq(load(path, &tokenizer, &error), MB_OK, "%s", error.message);
    cr_assert_eq(mb_tokenizer_vocab_size(tokenizer), 6);
    cr_assert_eq(mb_tokenizer_id(tokenizer, "last"), 5);
    mb_tokenizer_free(tokenizer);
    free(path);
    remove_dir(dir);
}

static void check_round_trip(const mb_tokenizer *tokenizer, const char *dir, const char *without) {
    mb_error error;
    cr_assert_eq(mb_tokenizer_save(tokenizer, dir, &error), MB_OK, "%s", error.message);
    if (without != NULL) {
        char *path = mb_path_join(dir, without);
        cr_assert_eq(mb_path_remove(path, &error), MB_OK);
        free(path);
    }
    mb_tokenizer *again;
    cr_assert_eq(load(dir, &again, &error), MB_OK, "%s", error.message);
    cr_assert_eq(mb_tokenizer_fingerprint(again), mb_tokenizer_fingerprint(tokenizer));
    cr_assert_eq(mb_tokenizer_get_config(again)->model_max_length, mb_tokenizer_get_config(tokenizer)->model_max_length);
    mb_tokenizer_free(again);
}

Test(save, then_load_gives_the_same_tokenizer) {
    static const char *const pieces[] = {SPECIALS, "a", "##a", "\"", "\\", "\xE4\xB8\xAD", "\xF0\x9F\x98\x80", "##\xC3\xA9"};
    for (int bits = 0; bits < 48; bits++) {
        mb_tokenizer_config config = {.do_lower_case = bits & 1,
                                      .strip_accents = bits / 16 - 1,
                                      .tokenize_chinese_chars = bits & 2,
                                      .clean_text = bits & 4,
                                      .max_chars_per_word = bits & 8 ? 100 : 33,
                                      .model_max_length = 128 + bits};
        mb_tokenizer *tokenizer = new_tokenizer(pieces, sizeof pieces / sizeof *pieces, &config);
        char *dir = new_dir();
        check_round_trip(tokenizer, dir, NULL);
        check_round_trip(tokenizer, dir, "vocab.txt");
        remove_dir(dir);
        mb_tokenizer_free(tokenizer);
    }
}

Test(save, into_an_impossible_place_fails) {
    static const char *const pieces[] = {SPECIALS};
    mb_tokenizer_config config = mb_tokenizer_config_default();
    mb_tokenizer *tokenizer = new_tokenizer(pieces, 5, &config);
    mb_error error = {.message = ""};
    cr_assert_eq(mb_tokenizer_save(tokenizer, "/dev/null/x", &error), MB_ERROR_IO);
    cr_assert_not_null(strstr(error.message, "/dev/null"));
    mb_tokenizer_free(tokenizer);
}

Test(new, refuses_bad_numbers_and_pieces) {
    static const char *const pieces[] = {SPECIALS, "a", "a"};
    mb_tokenizer_config config = mb_tokenizer_config_default();
    mb_tokenizer *tokenizer = NULL;
    mb_error error;
    cr_assert_eq(mb_tokenizer_new(pieces, 7, &config, &tokenizer, &error), MB_ERROR_FORMAT);
    cr_assert_eq(mb_tokenizer_new(pieces, 4, &config, &tokenizer, &error), MB_ERROR_FORMAT);
    config.max_chars_per_word = 0;
    cr_assert_eq(mb_tokenizer_new(pieces, 6, &config, &tokenizer, &error), MB_ERROR_FORMAT);
    config = mb_tokenizer_config_default();
    config.strip_accents = 2;
    cr_assert_eq(mb_tokenizer_new(pieces, 6, &config, &tokenizer, &error), MB_ERROR_FORMAT);
    config.strip_accents = -1;
    config.model_max_length = 0;
    cr_assert_eq(mb_tokenizer_new(pieces, 6, &config, &tokenizer, &error), MB_ERROR_FORMAT);
    cr_assert_null(tokenizer);
}
