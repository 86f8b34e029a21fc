/* The vocabulary cut out of a tokenizer.json. */
#include "tests/unit/tokenizer/support.h"
#include "tokenizer/json_vocab.h"

Test(json_vocab, takes_pieces_with_their_ids) {
    static const char text[] = "{\"version\": \"1.0\", \"added\": [{\"model\": {\"vocab\": {\"no\": 9}}}, \"]}\\\"{\", -1.5e3, "
                               "null],\n \"model\" :\t{\"type\": "
                               "\"x\", \"vocab\":{ \"a\" : 0,\"##b\":12 , \"\\\"\\\\\\/\\b\\f\\n\\r\\t\":1, "
                               "\"\\u00e9\\u20AC\": 2, \"\xC3\xA9\": 123456789}, "
                               "\"last\": {}}, \"after\": true}";
    static const struct {
        const char *text;
        int32_t id;
    } expected[] = {{"a", 0}, {"##b", 12}, {"\"\\/\b\f\n\r\t", 1}, {"\xC3\xA9\xE2\x82\xAC", 2}, {"\xC3\xA9", 123456789}};
    mb_json_pieces pieces = {0};
    cr_assert(mb_json_pieces_cut(text, sizeof text - 1, &pieces));
    cr_assert_eq(pieces.n, 5);
    for (size_t i = 0; i < 5; i++) {
        cr_expect_str_eq(pieces.items[i].text, expected[i].text);
        cr_expect_eq(pieces.items[i].id, expected[i].id);
    }
    cr_expect_str_eq(
        pieces.rest.data,
        "{\"version\": \"1.0\", \"added\": [{\"model\": {\"vocab\": {\"no\": 9}}}, \"]}\\\"{\", -1.5e3, null],\n \"model\" "
        ":\t{\"type\": \"x\", \"vocab\":{}, \"last\": {}}, \"after\": true}");
    mb_json_pieces_free(&pieces);
}

Test(json_vocab, leaves_what_is_uncommon_to_a_json_reader) {
    static const char *const cases[] = {
        "",
        "[]",
        "{}",
        "{\"model\"",
        "{\"model\": ",
        "{\"model\": {}}",
        "{\"model\": []}",
        "{\"vocab\": {\"a\": 0}}",
        "{\"model\": {\"vocab\": [\"a\"]}}",
        "{\"model\": {\"vocab\": {}}}",
        "{\"model\": {\"vocab\": {\"a\": -1}}}",
        "{\"model\": {\"vocab\": {\"a\": 1.0}}}",
        "{\"model\": {\"vocab\": {\"a\": 1e2}}}",
        "{\"model\": {\"vocab\": {\"a\": 01}}}",
        "{\"model\": {\"vocab\": {\"a\": 1234567890}}}",
        "{\"model\": {\"vocab\": {\"a\": \"1\"}}}",
        "{\"model\": {\"vocab\": {\"a\": 1,}}}",
        "{\"model\": {\"vocab\": {\"a\" 1}}}",
        "{\"model\": {\"vocab\": {\"a\": 1 \"b\": 2}}}",
        "{\"model\": {\"vocab\": {\"a\": 1",
        "{\"model\": {\"vocab\": {\"a",
        "{\"model\": {\"vocab\": {\"a\\",
        "{\"model\": {\"vocab\": {\"\\ud83d\\ude00\": 1}}}",
        "{\"model\": {\"vocab\": {\"\\u0000\": 1}}}",
        "{\"model\": {\"vocab\": {\"\\x\": 1}}}",
        "{\"model\": {\"vocab\": {\"\\u12\": 1}}}",
        "{\"model\": {\"vocab\": {\"a\nb\": 1}}}",
        "{\"a\": ], \"model\": {\"vocab\": {\"a\": 1}}}",
        "{\"a\": : \"model\": {\"vocab\": {\"a\": 1}}}",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mb_json_pieces pieces = {0};
        char *exact = malloc(strlen(cases[i]) + 1); /* what is read beyond the end, the sanitizer sees */
        memcpy(exact, cases[i], strlen(cases[i]));
        cr_expect(!mb_json_pieces_cut(exact, strlen(cases[i]), &pieces), "%s", cases[i]);
        mb_json_pieces_free(&pieces);
        free(exact);
    }
}

/* The same tokenizer, by its fingerprint, whichever way its file is read: "1e0" is left to the JSON reader. */
Test(json_vocab, gives_the_tokenizer_that_a_json_reader_gives) {
    static const char format[] =
        "{\"added_tokens\": [{\"id\": 7, \"content\": \"[NEW]\", \"special\": true}, {\"id\": 0, \"content\": "
        "\"[PAD]\"}], \"normalizer\": {\"type\": \"BertNormalizer\"}, \"pre_tokenizer\": {\"type\": "
        "\"BertPreTokenizer\"}, \"model\": {\"type\": \"WordPiece\", \"vocab\": {\"[PAD]\": 0, \"[UNK]\": %s, "
        "\"[CLS]\": 2, \"[SEP]\": 3, \"##\\u00e9\": 6, \"[MASK]\": 4, \"\\\"\": 5}}}";
    static const char *const ids[] = {"1", "1e0", "1.0"};
    uint64_t fingerprints[3];
    for (int i = 0; i < 3; i++) {
        char *dir = new_dir(), text[1024];
        mb_tokenizer *tokenizer;
        mb_error error;
        snprintf(text, sizeof text, format, ids[i]);
        write_in(dir, "tokenizer.json", text);
        write_in(dir, "vocab.txt",
                 i < 2 ? "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n\"\n##\xC3\xA9\n"
                       : "[PAD]\r\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n\"\n##\xC3\xA9");
        cr_assert_eq(mb_tokenizer_load(dir, &tokenizer, &error), MB_OK, "%s", error.message);
        cr_expect_eq(mb_tokenizer_vocab_size(tokenizer), 8);
        cr_expect_str_eq(mb_tokenizer_piece(tokenizer, 6), "##\xC3\xA9");
        cr_expect_str_eq(mb_tokenizer_piece(tokenizer, 7), "[NEW]");
        fingerprints[i] = mb_tokenizer_fingerprint(tokenizer);
        mb_tokenizer_free(tokenizer);
        remove_dir(dir);
    }
    cr_expect_eq(fingerprints[0], fingerprints[1]);
    cr_expect_eq(fingerprints[0], fingerprints[2]);
}
