#include "tests/unit/tokenizer/support.h"

static const char *const pieces[] = {SPECIALS, "un", "##aff", "##able", "hello", "##s", "a", "##a", ",", "中", "e", "##e", "x"};
enum { UN = 5, AFF, ABLE, HELLO, S, A, AA, COMMA, ZHONG, E, EE, X, N_PIECES };

typedef struct expected_token {
    int32_t id;
    uint32_t start, end, word;
} expected_token;

static void check(const mb_tokenizer *tokenizer, const char *text, size_t n_bytes, const expected_token *expected, size_t n) {
    mb_encoding encoding = {0};
    mb_error error;
    cr_assert_eq(mb_tokenizer_encode(tokenizer, text, n_bytes, &encoding, &error), MB_OK);
    cr_assert_eq(encoding.n_tokens, n, "'%s': %zu tokens, expected %zu", text, encoding.n_tokens, n);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(encoding.ids[i], expected[i].id, "'%s', token %zu: id %d", text, i, encoding.ids[i]);
        cr_assert_eq(encoding.starts[i], expected[i].start, "'%s', token %zu: start %u", text, i, encoding.starts[i]);
        cr_assert_eq(encoding.ends[i], expected[i].end, "'%s', token %zu: end %u", text, i, encoding.ends[i]);
        cr_assert_eq(encoding.words[i], expected[i].word, "'%s', token %zu: word %u", text, i, encoding.words[i]);
        cr_assert_eq(encoding.types[i], 0);
    }
    mb_encoding_free(&encoding);
}
#define CHECK(text, ...)                                                                        \
    do {                                                                                        \
        const expected_token expected[] = {__VA_ARGS__};                                        \
        check(tokenizer, text, sizeof(text) - 1, expected, sizeof expected / sizeof *expected); \
    } while (0)

Test(encode, pieces_offsets_and_words) {
    mb_tokenizer_config config = mb_tokenizer_config_default();
    mb_tokenizer *tokenizer = new_tokenizer(pieces, N_PIECES, &config);
    check(tokenizer, "", 0, NULL, 0);
    check(tokenizer, " \t\n ", 4, NULL, 0);
    CHECK("unaffable", {UN, 0, 2, 0}, {AFF, 2, 5, 0}, {ABLE, 5, 9, 0});
    CHECK(" UNaffABLE,Hello", {UN, 1, 3, 0}, {AFF, 3, 6, 0}, {ABLE, 6, 10, 0}, {COMMA, 10, 11, 1}, {HELLO, 11, 16, 2});
    CHECK("unaffablez a", {1, 0, 10, 0}, {A, 11, 12, 1});
    CHECK("a\u0301\u00e1a", {A, 0, 1, 0}, {AA, 3, 5, 0}, {AA, 5, 6, 0});
    CHECK("a中a", {A, 0, 1, 0}, {ZHONG, 1, 4, 1}, {A, 4, 5, 2});
    CHECK("a\u200ba", {A, 0, 1, 0}, {AA, 4, 5, 0});
    mb_tokenizer_free(tokenizer);
}

Test(encode, added_tokens_stay_whole_wherever_they_stand) {
    mb_tokenizer_config config = mb_tokenizer_config_default();
    mb_tokenizer *tokenizer = new_tokenizer(pieces, N_PIECES, &config);
    CHECK("[MASK]", {4, 0, 6, 0});
    CHECK("a[MASK]a", {A, 0, 1, 0}, {4, 1, 7, 1}, {A, 7, 8, 2});
    CHECK("[[SEP][CLS]", {1, 0, 1, 0}, {3, 1, 6, 1}, {2, 6, 11, 2});
    CHECK("[mask] a", {1, 0, 1, 0}, {1, 1, 5, 1}, {1, 5, 6, 2}, {A, 7, 8, 3});
    CHECK("[MASK", {1, 0, 1, 0}, {1, 1, 5, 1});
    mb_tokenizer_free(tokenizer);
}

Test(encode, bad_utf8_is_one_replacement_for_each_maximal_part) {
    mb_tokenizer_config config = mb_tokenizer_config_default();
    mb_tokenizer *tokenizer = new_tokenizer(pieces, N_PIECES, &config);
    /* clean_text deletes U+FFFD, so the letters around meet */
    CHECK("a\xff"
          "a",
          {A, 0, 1, 0}, {AA, 2, 3, 0});
    CHECK("a\xe4\xb8", {A, 0, 1, 0});
    CHECK("\xe4\xb8\xe4\xb8\xad", {ZHONG, 2, 5, 0});
    mb_tokenizer_free(tokenizer);
    /* without it each bad part is a character, which the vocabulary knows */
    static const char *const with_replacement[] = {SPECIALS, "\xEF\xBF\xBD", "##\xEF\xBF\xBD", "a", "##a"};
    config.clean_text = false;
    tokenizer = new_tokenizer(with_replacement, 9, &config);
    CHECK("a\xff\xe4\xb8"
          "a",
          {7, 0, 1, 0}, {6, 1, 2, 0}, {6, 2, 4, 0}, {8, 4, 5, 0});
    CHECK("\xf0\x9f\x98", {5, 0, 3, 0});
    CHECK("\xed\xa0\x80", {5, 0, 1, 0}, {6, 1, 2, 0}, {6, 2, 3, 0});
    CHECK("\xc0\xaf", {5, 0, 1, 0}, {6, 1, 2, 0});
    CHECK("\xf4\x90\x80\x80", {5, 0, 1, 0}, {6, 1, 2, 0}, {6, 2, 3, 0}, {6, 3, 4, 0});
    mb_tokenizer_free(tokenizer);
}

Test(encode, longer_than_max_chars_is_unknown) {
    mb_tokenizer_config config = mb_tokenizer_config_default();
    for (int32_t max = 1; max <= 40; max += 3) {
        config.max_chars_per_word = max;
        mb_tokenizer *tokenizer = new_tokenizer(pieces, N_PIECES, &config);
        mb_encoding encoding = {0};
        mb_error error;
        for (size_t n = 1; n < 60; n++) {
            for (int accents = 0; accents <= 1; accents++) { /* fast and general path */
                char text[200] = "";
                for (size_t i = 0; i < n; i++) {
                    strcat(text, accents ? "\u00e1" : "A");
                }
                cr_assert_eq(mb_tokenizer_encode(tokenizer, text, strlen(text), &encoding, &error), MB_OK);
                bool is_known = n <= (size_t)max;
                cr_assert_eq(encoding.n_tokens, is_known ? n : 1, "%zu letters, at most %d: %zu tokens", n, max,
                             encoding.n_tokens);
                cr_assert_eq(encoding.ids[0], is_known ? A : 1);
                cr_assert_eq(encoding.ends[encoding.n_tokens - 1], strlen(text));
            }
        }
        mb_encoding_free(&encoding);
        mb_tokenizer_free(tokenizer);
    }
}

/* A word ends the same whatever its length, what precedes it, and how near the end of the text is: the fast path reads 16
 * bytes. */
Test(encode, every_length_at_every_place) {
    mb_tokenizer_config config = mb_tokenizer_config_default();
    mb_tokenizer *tokenizer = new_tokenizer(pieces, N_PIECES, &config);
    mb_encoding encoding = {0};
    mb_error error;
    for (size_t before = 0; before < 20; before++) {
        for (size_t length = 1; length < 40; length++) {
            for (size_t after = 0; after < 20; after++) {
                size_t n_bytes = before + length + after;
                char *text = malloc(n_bytes);
                memset(text, ' ', n_bytes);
                memset(text + before, 'a', length);
                cr_assert_eq(mb_tokenizer_encode(tokenizer, text, n_bytes, &encoding, &error), MB_OK);
                cr_assert_eq(encoding.n_tokens, length);
                for (size_t i = 0; i < length; i++) {
                    cr_assert_eq(encoding.ids[i], i == 0 ? A : AA);
                    cr_assert_eq(encoding.starts[i], before + i);
                }
                free(text);
            }
        }
    }
    mb_encoding_free(&encoding);
    mb_tokenizer_free(tokenizer);
}

Test(encode, one_encoding_serves_two_tokenizers) {
    static const char *const other_pieces[] = {SPECIALS, "##a", "a", "hello"};
    mb_tokenizer_config config = mb_tokenizer_config_default();
    mb_tokenizer *first = new_tokenizer(pieces, N_PIECES, &config), *second = new_tokenizer(other_pieces, 8, &config);
    cr_assert_neq(mb_tokenizer_fingerprint(first), mb_tokenizer_fingerprint(second));
    mb_encoding encoding = {0};
    mb_error error;
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(mb_tokenizer_encode(i % 2 == 0 ? first : second, "hello", 5, &encoding, &error), MB_OK);
        cr_assert_eq(encoding.n_tokens, 1);
        cr_assert_eq(encoding.ids[0], i % 2 == 0 ? HELLO : 7);
    }
    mb_encoding_free(&encoding);
    mb_tokenizer_free(first);
    mb_tokenizer_free(second);
}

Test(encode, pairs_have_special_tokens_and_types) {
    mb_tokenizer_config config = mb_tokenizer_config_default();
    mb_tokenizer *tokenizer = new_tokenizer(pieces, N_PIECES, &config);
    mb_encoding encoding = {0};
    mb_error error;
    cr_assert_eq(mb_tokenizer_encode_pair(tokenizer, "hello a", 7, "x", 1, 0, &encoding, &error), MB_OK);
    static const int32_t ids[] = {2, HELLO, A, 3, X, 3}, types[] = {0, 0, 0, 0, 1, 1};
    static const uint32_t words[] = {UINT32_MAX, 0, 1, UINT32_MAX, 0, UINT32_MAX}, starts[] = {0, 0, 6, 0, 0, 0};
    cr_assert_eq(encoding.n_tokens, 6);
    cr_assert_arr_eq(encoding.ids, ids, sizeof ids);
    cr_assert_arr_eq(encoding.types, types, sizeof types);
    cr_assert_arr_eq(encoding.words, words, sizeof words);
    cr_assert_arr_eq(encoding.starts, starts, sizeof starts);
    cr_assert_eq(mb_tokenizer_encode_pair(tokenizer, "hello a", 7, NULL, 0, 3, &encoding, &error), MB_OK);
    static const int32_t cut[] = {2, HELLO, 3};
    cr_assert_eq(encoding.n_tokens, 3);
    cr_assert_arr_eq(encoding.ids, cut, sizeof cut);
    cr_assert_eq(mb_tokenizer_encode_pair(tokenizer, "a", 1, NULL, 0, 1, &encoding, &error), MB_ERROR_USAGE);
    cr_assert_eq(mb_tokenizer_encode_pair(tokenizer, "a", 1, "a", 1, 2, &encoding, &error), MB_ERROR_USAGE);
    cr_assert_eq(mb_tokenizer_encode_pair(tokenizer, "", 0, NULL, 0, 0, &encoding, &error), MB_OK);
    cr_assert_eq(encoding.n_tokens, 2);
    mb_encoding_free(&encoding);
    mb_tokenizer_free(tokenizer);
}

/* Long lines of one thing: what comes out is known, and it comes in linear time (scripts/bench/tokenizer.sh --adversarial says
 * how fast; a quadratic step would show here as minutes). */
Test(encode, a_megabyte_of_one_thing, .timeout = 300) {
    enum { N = 1 << 20 };
    static const struct {
        const char *unit;
        size_t n_tokens; /* a unit gives; 0: the line is one word that is too long */
        int32_t id;
        bool is_dropped;
    } cases[] = {{.unit = "a"},
                 {.unit = "#", .n_tokens = 1, .id = 1},
                 {.unit = ",", .n_tokens = 1, .id = COMMA},
                 {.unit = "[", .n_tokens = 1, .id = 1},
                 {.unit = "[MAS", .n_tokens = 2, .id = 1},
                 {.unit = "[MASK]", .n_tokens = 1, .id = 4},
                 {.unit = "\u4e2d", .n_tokens = 1, .id = ZHONG},
                 {.unit = "\u0301", .is_dropped = true},
                 {.unit = "\u302f\u0323\u302e"},
                 {.unit = "\uac01"},
                 {.unit = "\u03a3"},
                 {.unit = "\xe4\xb8", .is_dropped = true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int compat = MB_COMPAT_HF; compat <= MB_COMPAT_GOOGLE; compat++) {
            if (compat == MB_COMPAT_GOOGLE && cases[i].id == 4) {
                continue; /* there [MASK] is text */
            }
            const mb_tokenizer_config hf = mb_tokenizer_config_default();
            const mb_tokenizer_config config = mb_tokenizer_config_compat(&hf, (mb_compat)compat);
            mb_tokenizer *tokenizer = new_tokenizer(pieces, N_PIECES, &config);
            const size_t n_unit = strlen(cases[i].unit), n_units = N / n_unit, n_bytes = n_units * n_unit;
            char *text = malloc(n_bytes);
            for (size_t k = 0; k < n_units; k++) {
                memcpy(text + k * n_unit, cases[i].unit, n_unit);
            }
            mb_encoding encoding = {0};
            mb_error error;
            cr_assert_eq(mb_tokenizer_encode(tokenizer, text, n_bytes, &encoding, &error), MB_OK);
            size_t expected = cases[i].is_dropped ? 0 : cases[i].n_tokens == 0 ? 1 : n_units * cases[i].n_tokens;
            cr_assert_eq(encoding.n_tokens, expected, "'%s': %zu tokens, expected %zu", cases[i].unit, encoding.n_tokens,
                         expected);
            for (size_t t = 0; t < encoding.n_tokens; t++) {
                cr_assert_eq(encoding.ids[t], cases[i].n_tokens == 0 ? 1 : cases[i].id);
            }
            /* Marks move before their order is counted, and some are deleted: the word need not begin with the line. */
            cr_assert(expected == 0 || cases[i].n_tokens == 0 || encoding.starts[0] == 0);
            cr_assert(expected == 0 || encoding.ends[expected - 1] > n_bytes - n_unit);
            mb_encoding_free(&encoding);
            free(text);
            mb_tokenizer_free(tokenizer);
        }
    }
}

Test(encode, google_mode_of_a_loaded_tokenizer) {
    mb_tokenizer_config hf = mb_tokenizer_config_default();
    mb_tokenizer *tokenizer = new_tokenizer(pieces, N_PIECES, &hf), *google = NULL, *loaded = NULL;
    const mb_tokenizer_config config = mb_tokenizer_config_compat(mb_tokenizer_get_config(tokenizer), MB_COMPAT_GOOGLE);
    cr_assert_eq(config.max_chars_per_word, 200);
    mb_error error;
    cr_assert_eq(mb_tokenizer_with_config(tokenizer, &config, &google, &error), MB_OK);
    cr_assert_neq(mb_tokenizer_fingerprint(tokenizer), mb_tokenizer_fingerprint(google));
    char *dir = new_dir();
    cr_assert_eq(mb_tokenizer_save(google, dir, &error), MB_OK, "%s", error.message);
    cr_assert_eq(mb_tokenizer_load(dir, &loaded, &error), MB_OK, "%s", error.message);
    cr_assert_eq(mb_tokenizer_get_config(loaded)->compat, MB_COMPAT_GOOGLE);
    cr_assert_eq(mb_tokenizer_fingerprint(loaded), mb_tokenizer_fingerprint(google));
    mb_encoding encoding = {0};
    cr_assert_eq(mb_tokenizer_encode(loaded, "[MASK]", 6, &encoding, &error), MB_OK);
    cr_assert_eq(encoding.n_tokens, 3); /* [, mask, ] */
    write_in(dir, "tokenizer_config.json", "{\"compat\": \"bing\"}");
    mb_tokenizer_free(loaded);
    cr_assert_eq(mb_tokenizer_load(dir, &loaded, &error), MB_ERROR_FORMAT);
    cr_assert_not_null(strstr(error.message, "'compat'"));
    mb_encoding_free(&encoding);
    mb_tokenizer_free(tokenizer);
    mb_tokenizer_free(google);
    remove_dir(dir);
}

Test(encode, batches_fill_the_callers_rows) {
    mb_tokenizer_config config = mb_tokenizer_config_default();
    mb_tokenizer *tokenizer = new_tokenizer(pieces, N_PIECES, &config);
    enum { N = 500, LENGTH = 5 };
    static const char *const words[] = {"hello", "unaffable, a", "", "a[MASK]"};
    static const int32_t rows[][LENGTH] = {{2, HELLO, 3, 0, 0}, {2, UN, AFF, ABLE, 3}, {2, 3, 0, 0, 0}, {2, A, 4, 3, 0}};
    static const size_t lengths[] = {3, 5, 2, 4};
    mb_text texts[N];
    int32_t ids[N + 1][LENGTH], mask[N + 1][LENGTH]; /* one row more than asked for: it stays as it is */
    size_t n_tokens[N];
    memset(ids, 77, sizeof ids);
    memset(mask, 77, sizeof mask);
    for (size_t i = 0; i < N; i++) {
        texts[i] = (mb_text){.bytes = words[i % 4], .n_bytes = strlen(words[i % 4])};
    }
    mb_error error;
    cr_assert_eq(mb_tokenizer_encode_batch(tokenizer, texts, N, LENGTH, ids[0], mask[0], n_tokens, &error), MB_OK);
    for (size_t i = 0; i < N; i++) {
        cr_assert_arr_eq(ids[i], rows[i % 4], sizeof rows[0], "row %zu", i);
        cr_assert_eq(n_tokens[i], lengths[i % 4]);
        for (size_t t = 0; t < LENGTH; t++) {
            cr_assert_eq(mask[i][t], t < n_tokens[i]);
        }
    }
    cr_assert(ids[N][0] == 0x4D4D4D4D && mask[N][0] == 0x4D4D4D4D);
    cr_assert_eq(mb_tokenizer_encode_batch(tokenizer, texts, N, LENGTH, ids[0], NULL, NULL, &error), MB_OK);
    cr_assert_eq(mb_tokenizer_encode_batch(tokenizer, texts, 0, 2, NULL, NULL, NULL, &error), MB_OK);
    cr_assert_eq(mb_tokenizer_encode_batch(tokenizer, texts, N, 1, ids[0], NULL, NULL, &error), MB_ERROR_USAGE);
    texts[N - 1].n_bytes = UINT32_MAX; /* refused before a byte is read */
    cr_assert_eq(mb_tokenizer_encode_batch(tokenizer, texts, N, LENGTH, ids[0], NULL, NULL, &error), MB_ERROR_USAGE);
    cr_assert_not_null(strstr(error.message, "4 GiB"));
    mb_tokenizer_free(tokenizer);
}

Test(decode, glues_continuations_and_punctuation) {
    mb_tokenizer_config config = mb_tokenizer_config_default();
    mb_tokenizer *tokenizer = new_tokenizer(pieces, N_PIECES, &config);
    mb_error error;
    static const int32_t ids[] = {2, UN, AFF, ABLE, COMMA, HELLO, 3};
    char *text = mb_tokenizer_decode(tokenizer, ids, 7, true, &error);
    cr_assert_str_eq(text, "unaffable, hello");
    free(text);
    text = mb_tokenizer_decode(tokenizer, ids, 7, false, &error);
    cr_assert_str_eq(text, "[CLS] unaffable, hello [SEP]");
    free(text);
    text = mb_tokenizer_decode(tokenizer, ids, 0, true, &error);
    cr_assert_str_eq(text, "");
    free(text);
    static const int32_t bad[] = {N_PIECES};
    cr_assert_null(mb_tokenizer_decode(tokenizer, bad, 1, true, &error));
    cr_assert_eq(error.status, MB_ERROR_USAGE);
    static const int32_t negative[] = {-1};
    cr_assert_null(mb_tokenizer_decode(tokenizer, negative, 1, true, &error));
    mb_tokenizer_free(tokenizer);
}

Test(decode, glues_contractions) {
    static const char *const contractions[] = {SPECIALS, "do", "n't", "we", "'re", "'ve", "'s", "'m", "nt", "##'s", "!"};
    mb_tokenizer_config config = mb_tokenizer_config_default();
    mb_tokenizer *tokenizer = new_tokenizer(contractions, 15, &config);
    mb_error error;
    static const int32_t ids[] = {5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
    char *text = mb_tokenizer_decode(tokenizer, ids, 10, true, &error);
    cr_assert_str_eq(text, "don't we're've's'm nt's!");
    free(text);
    text = mb_tokenizer_decode(tokenizer, ids + 8, 2, true, &error); /* the first piece stays as it is */
    cr_assert_str_eq(text, "##'s!");
    free(text);
    mb_tokenizer_free(tokenizer);
}

Test(vocabulary, answers_questions) {
    mb_tokenizer_config config = mb_tokenizer_config_default();
    mb_tokenizer *tokenizer = new_tokenizer(pieces, N_PIECES, &config);
    cr_assert_eq(mb_tokenizer_vocab_size(tokenizer), N_PIECES);
    cr_assert_str_eq(mb_tokenizer_piece(tokenizer, AFF), "##aff");
    cr_assert_null(mb_tokenizer_piece(tokenizer, -1));
    cr_assert_null(mb_tokenizer_piece(tokenizer, N_PIECES));
    cr_assert_eq(mb_tokenizer_id(tokenizer, "hello"), HELLO);
    cr_assert_eq(mb_tokenizer_id(tokenizer, "hell"), -1);
    cr_assert_eq(mb_tokenizer_special(tokenizer, MB_SPECIAL_MASK), 4);
    cr_assert(mb_tokenizer_is_continuation(tokenizer, S));
    cr_assert_not(mb_tokenizer_is_continuation(tokenizer, HELLO));
    cr_assert_eq(mb_tokenizer_get_config(tokenizer)->model_max_length, 512);
    mb_tokenizer_free(tokenizer);
}

/* Many results, one worker: the same tokens, and no working memory of their own. */
Test(encode, by_a_worker) {
    const mb_tokenizer_config config = mb_tokenizer_config_default();
    mb_tokenizer *tokenizer = new_tokenizer(pieces, N_PIECES, &config);
    static const char *const texts[] = {"unaffable", "hello [MASK]", "", "a hellos unaffable a"};
    mb_encoding worker = {0}, kept[4] = {{0}}, alone = {0};
    mb_error error;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 4; i++) {
            cr_assert_eq(mb_tokenizer_encode_by(tokenizer, texts[i], strlen(texts[i]), &worker, &kept[i], &error), MB_OK);
        }
    }
    cr_expect_not_null(worker.scratch);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(mb_tokenizer_encode(tokenizer, texts[i], strlen(texts[i]), &alone, &error), MB_OK);
        cr_assert_eq(kept[i].n_tokens, alone.n_tokens);
        cr_expect(alone.n_tokens == 0 || memcmp(kept[i].ids, alone.ids, alone.n_tokens * sizeof *alone.ids) == 0);
        cr_expect(alone.n_tokens == 0 || memcmp(kept[i].ends, alone.ends, alone.n_tokens * sizeof *alone.ends) == 0);
        cr_expect_null(kept[i].scratch);
        mb_encoding_free(&kept[i]);
    }
    mb_encoding_free(&worker);
    mb_encoding_free(&alone);
    mb_tokenizer_free(tokenizer);
}
