#include "base/threads.h"
#include "base/wraps.h"
#include "tests/unit/tokenizer/support.h"

static mb_status train(const char *dir, const char *text, mb_vocab_train_options *options, mb_tokenizer **out,
                       mb_error *error) {
    char *path = mb_path_join(dir, "text.txt");
    write_in(dir, "text.txt", text);
    const char *files[] = {path};
    options->files = files;
    options->n_files = 1;
    *out = NULL;
    mb_status status = mb_tokenizer_train(options, out, error);
    free(path);
    return status;
}

static mb_vocab_train_options options_of(size_t vocab_size) {
    return (mb_vocab_train_options){
        .vocab_size = vocab_size, .min_frequency = 2, .limit_alphabet = 1000, .config = mb_tokenizer_config_default()};
}

/* The vocabulary after the special tokens is exactly this. */
static void check_vocab(const mb_tokenizer *tokenizer, const char *const *pieces, size_t n) {
    for (size_t i = 0; i < n && i + 5 < mb_tokenizer_vocab_size(tokenizer); i++) {
        cr_assert_str_eq(mb_tokenizer_piece(tokenizer, (int32_t)i + 5), pieces[i], "piece %zu is '%s', expected '%s'", i + 5,
                         mb_tokenizer_piece(tokenizer, (int32_t)i + 5), pieces[i]);
    }
    cr_assert_eq(mb_tokenizer_vocab_size(tokenizer), n + 5);
}

/* Worked out by hand. Words: hug 10, pug 5, pun 12, bun 4, hugs 5. Pairs: ##u ##g 20, h ##u 15, p ##u 17, ##u ##n 16, ##g ##s
 * 5, b ##u 4. Merge ##ug (20); then h ##ug 15, p ##ug 5, ##ug ##s 5, p ##u 12, ##u ##n 16. Merge ##un (16); p ##un 12, b
 * ##un 4. Merge hug (15): hug ##s 5. Merge pun (12). Then p ##ug 5 and hug ##s 5 tie: the piece p is older than hug. Then
 * bun 4. */
Test(train, merges_the_most_frequent_pair_and_the_oldest_of_equals) {
    static const char *const expected[] = {"b",   "g",   "h",    "n",    "p",   "s",   "u",   "##g",  "##n",
                                           "##s", "##u", "##ug", "##un", "hug", "pun", "pug", "hugs", "bun"};
    char text[400] = "";
    static const struct {
        const char *word;
        int count;
    } words[] = {{"hug ", 10}, {"pug\n", 5}, {"PUN ", 12}, {"bun\t", 4}, {"hugs\n", 5}};
    for (size_t i = 0; i < 5; i++) {
        for (int k = 0; k < words[i].count; k++) {
            strcat(text, words[i].word);
        }
    }
    char *dir = new_dir();
    mb_tokenizer *tokenizer;
    mb_error error;
    mb_vocab_train_options options = options_of(100);
    cr_assert_eq(train(dir, text, &options, &tokenizer, &error), MB_OK, "%s", error.message);
    check_vocab(tokenizer, expected, 18);
    mb_tokenizer_free(tokenizer);
    options.min_frequency = 12;
    cr_assert_eq(train(dir, text, &options, &tokenizer, &error), MB_OK);
    check_vocab(tokenizer, expected, 15);
    mb_tokenizer_free(tokenizer);
    options = options_of(5 + 13);
    cr_assert_eq(train(dir, text, &options, &tokenizer, &error), MB_OK);
    check_vocab(tokenizer, expected, 13);
    mb_tokenizer_free(tokenizer);
    remove_dir(dir);
}

Test(train, repeated_letters_merge_from_left_to_right) {
    /* aaaa: a ##a ##a ##a. ##a ##a is seen twice a word, a ##a once; after ##aa: a ##aa ##a; the older pair of equals is a
     * ##aa. */
    static const char *const expected[] = {"a", "##a", "##aa", "aaa", "aaaa"};
    char *dir = new_dir();
    mb_tokenizer *tokenizer;
    mb_error error;
    mb_vocab_train_options options = options_of(100);
    cr_assert_eq(train(dir, "aaaa aaaa aaaa", &options, &tokenizer, &error), MB_OK, "%s", error.message);
    check_vocab(tokenizer, expected, 5);
    mb_tokenizer_free(tokenizer);
    remove_dir(dir);
}

Test(train, keeps_the_most_frequent_characters) {
    static const char *const expected[] = {"a", "c"};
    char *dir = new_dir();
    mb_tokenizer *tokenizer;
    mb_error error;
    mb_vocab_train_options options = options_of(100);
    options.limit_alphabet = 2;
    cr_assert_eq(train(dir, "a c c b d a", &options, &tokenizer, &error), MB_OK);
    check_vocab(tokenizer, expected, 2);
    mb_tokenizer_free(tokenizer);
    options.limit_alphabet = 1; /* a and c tie: the lower code point stays */
    cr_assert_eq(train(dir, "a c c b d a", &options, &tokenizer, &error), MB_OK);
    check_vocab(tokenizer, expected, 1);
    mb_tokenizer_free(tokenizer);
    remove_dir(dir);
}

/* Worked out by hand: hugs is hug ##s, pug is p ##u ##g. p ##u 3 ties with ##u ##g: p is older. Then pu ##g 3, hug ##s 2. */
Test(train, extends_an_initial_vocabulary) {
    static const char *const initial[] = {"hug", SPECIALS, "##s", "x"};
    static const char *const expected[] = {"hug", SPECIALS, "##s", "x",   "g",  "h",   "p",
                                           "s",   "u",      "##g", "##u", "pu", "pug", "hugs"};
    char *dir = new_dir();
    mb_tokenizer *tokenizer;
    mb_error error;
    mb_vocab_train_options options = options_of(100);
    mb_tokenizer *first = new_tokenizer(initial, sizeof initial / sizeof *initial, &options.config);
    options.initial = first;
    cr_assert_eq(train(dir, "hugs hugs pug pug pug", &options, &tokenizer, &error), MB_OK, "%s", error.message);
    cr_assert_eq(mb_tokenizer_vocab_size(tokenizer), sizeof expected / sizeof *expected);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        cr_assert_str_eq(mb_tokenizer_piece(tokenizer, (int32_t)i), expected[i]);
    }
    cr_assert_eq(mb_tokenizer_special(tokenizer, MB_SPECIAL_MASK), 5);
    mb_tokenizer_free(tokenizer);
    options.vocab_size = 7;
    cr_assert_eq(train(dir, "hugs", &options, &tokenizer, &error), MB_ERROR_USAGE);
    cr_assert_not_null(strstr(error.message, "the initial one has 8"), "%s", error.message);
    mb_tokenizer_free(first);
    remove_dir(dir);
}

Test(train, normalizes_as_encode_does) {
    static const char *const cased[] = {"A", "a", "É", "é", "中"}, *const uncased[] = {"a", "e", "中"};
    char *dir = new_dir();
    mb_tokenizer *tokenizer;
    mb_error error;
    mb_vocab_train_options options = options_of(100);
    options.config.do_lower_case = false;
    cr_assert_eq(train(dir, "A a É é中A", &options, &tokenizer, &error), MB_OK);
    check_vocab(tokenizer, cased, 5);
    mb_tokenizer_free(tokenizer);
    options = options_of(100);
    cr_assert_eq(train(dir, "A a É é中A", &options, &tokenizer, &error), MB_OK);
    check_vocab(tokenizer, uncased, 3);
    mb_tokenizer_free(tokenizer);
    remove_dir(dir);
}

/* Enough text for several chunks, of made-up words. */
MB_WRAPS static char *make_text(size_t n_bytes) {
    static const char *const syllables[] = {"ka", "to", "mi", "re", "shu", "no", "la", "be", "di", "go", "é", "中"};
    char *text = malloc(n_bytes + 16);
    uint64_t state = 1;
    size_t n = 0;
    while (n < n_bytes) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        unsigned draw = (unsigned)(state >> 33);
        const char *next = draw % 5 < 3 ? syllables[draw / 5 % 12] : draw % 35 < 5 ? "\n" : " ";
        n += (size_t)sprintf(text + n, "%s", next);
    }
    return text;
}

Test(train, is_the_same_at_any_number_of_threads) {
    char *dir = new_dir(), *text = make_text(5u << 20);
    uint64_t first = 0;
    for (int n_threads = 1; n_threads <= 5; n_threads++) {
        mb_threads_set(n_threads);
        mb_tokenizer *tokenizer;
        mb_error error;
        mb_vocab_train_options options = options_of(600);
        cr_assert_eq(train(dir, text, &options, &tokenizer, &error), MB_OK);
        cr_assert_eq(mb_tokenizer_vocab_size(tokenizer), 600);
        uint64_t fingerprint = mb_tokenizer_fingerprint(tokenizer);
        cr_assert(n_threads == 1 || fingerprint == first);
        first = fingerprint;
        mb_tokenizer_free(tokenizer);
    }
    free(text);
    remove_dir(dir);
}

static bool stop_at_once(void *user, const char *phase, double fraction) {
    cr_assert(fraction >= 0 && fraction <= 1, "%s %f", phase, fraction);
    return --*(int *)user > 0;
}

Test(train, stops_when_asked) {
    char *dir = new_dir(), *text = make_text(3u << 20);
    for (int calls = 1; calls <= 8; calls += 7) {
        mb_threads_set(1); /* then every chunk reports: 3 times, and merging after that */
        int left = calls;
        mb_tokenizer *tokenizer;
        mb_error error;
        mb_vocab_train_options options = options_of(600);
        options.progress = stop_at_once;
        options.user = &left;
        cr_assert_eq(train(dir, text, &options, &tokenizer, &error), MB_ERROR_INTERRUPTED);
        cr_assert_null(tokenizer);
        cr_assert_eq(left, 0);
    }
    free(text);
    remove_dir(dir);
}

Test(train, errors) {
    char *dir = new_dir();
    mb_tokenizer *tokenizer;
    mb_error error = {.message = ""};
    mb_vocab_train_options options = options_of(100);
    cr_assert_eq(train(dir, "", &options, &tokenizer, &error), MB_ERROR_FORMAT);
    cr_assert_not_null(strstr(error.message, "not one word"));
    cr_assert_eq(train(dir, " \n ", &options, &tokenizer, &error), MB_ERROR_FORMAT);
    options.vocab_size = 9;
    cr_assert_eq(train(dir, "abcde fghij", &options, &tokenizer, &error), MB_ERROR_USAGE);
    cr_assert_not_null(strstr(error.message, "need 23"), "%s", error.message); /* 5 special, 10 letters, 8 within words */
    options.vocab_size = 5;
    cr_assert_eq(train(dir, "a", &options, &tokenizer, &error), MB_ERROR_USAGE);

    options = options_of(100);
    const char *missing[] = {"/nonexistent/minibert.txt"};
    options.files = missing;
    options.n_files = 1;
    cr_assert_eq(mb_tokenizer_train(&options, &tokenizer, &error), MB_ERROR_IO);
    cr_assert_not_null(strstr(error.message, missing[0]));
    options.n_files = 0;
    cr_assert_eq(mb_tokenizer_train(&options, &tokenizer, &error), MB_ERROR_USAGE);

    char *path = mb_path_join(dir, "binary");
    cr_assert_eq(mb_file_write(path, "ab\0cd", 5, &error), MB_OK);
    const char *binary[] = {path};
    options.files = binary;
    options.n_files = 1;
    cr_assert_eq(mb_tokenizer_train(&options, &tokenizer, &error), MB_ERROR_FORMAT);
    cr_assert_not_null(strstr(error.message, "byte 2 is NUL"), "%s", error.message);
    cr_assert_null(tokenizer);
    free(path);
    remove_dir(dir);
}
