#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "skipgram/phrases.h"
#include "skipgram/sampler.h"
#include "unit/skipgram/support.h"

typedef struct outcome {
    mb_status status;
    mb_error error;
    char *text;
    double words, pairs, phrases, joined;
} outcome;

static outcome find(const char *text, double threshold, int64_t min_count, int64_t passes, const mb_job *job) {
    char *dir = test_dir_new();
    char *corpus = test_text(dir, "text", text), *out = mb_path_join(dir, "out");
    const mb_phrases_options options = {
        .corpus = corpus, .out = out, .threshold = threshold, .min_count = min_count, .passes = passes};
    json_t *result;
    outcome o = {0};
    size_t n_bytes;
    o.status = mb_phrases(&options, job, &result, &o.error);
    if (o.status == MB_OK) {
        o.text = test_read(out, &n_bytes);
        o.words = json_number_value(json_object_get(result, "words"));
        o.pairs = json_number_value(json_object_get(result, "pairs"));
        o.phrases = json_number_value(json_object_get(result, "phrases"));
        o.joined = json_number_value(json_object_get(result, "joined"));
    } else {
        cr_assert_null(result);
        cr_assert_not(mb_path_exists(out), "a failed run left a file");
    }
    char *pass0 = mb_path_join(dir, "out.pass0"), *pass1 = mb_path_join(dir, "out.pass1");
    cr_assert(!mb_path_exists(pass0) && !mb_path_exists(pass1), "a pass was left behind");
    free(pass0);
    free(pass1);
    json_decref(result);
    free(corpus);
    free(out);
    test_dir_free(dir);
    return o;
}

static void expect(const char *text, double threshold, int64_t min_count, int64_t passes, const char *expected) {
    outcome o = find(text, threshold, min_count, passes, NULL);
    cr_assert_eq(o.status, MB_OK, "%s", o.error.message);
    cr_assert_str_eq(o.text, expected, "at %g: '%s'", threshold, o.text);
    free(o.text);
}

/* 12 words; new 3, york 3, of 2, old 2, city 1, is 1. new york: 3 times, (3 - 1) * 12 / (3 * 3) = 2.667; of old: 2 times,
 * 1 * 12 / (2 * 2) = 3; york of: 2 times, 12 / (3 * 2) = 2. */
static const char city[] = "new york of old\nnew  york of old\n\nnew york city is\n";

Test(phrases, scores_by_hand) {
    expect(city, 3.0, 1, 1, city); /* not above */
    expect(city, 2.9, 1, 1, "new york of_old\nnew  york of_old\n\nnew york city is\n");
    expect(city, 2.667, 1, 1, "new york of_old\nnew  york of_old\n\nnew york city is\n");
    expect(city, 2.666, 1, 1, "new_york of_old\nnew_york of_old\n\nnew_york city is\n");
    /* york of is above, too, but york belongs to new already */
    expect(city, 1.9, 1, 1, "new_york of_old\nnew_york of_old\n\nnew_york city is\n");
    /* min_count 2: new york (3 - 2) * 12 / 9 = 1.33, of old 0: a threshold of 0 joins what is above 0 */
    expect(city, 0, 2, 1, "new_york of old\nnew_york of old\n\nnew_york city is\n");
    expect(city, 0, 3, 1, city);
}

Test(phrases, a_second_pass_makes_longer_ones) {
    /* 9 words: a, b, c 3 times each; a b and b c score 2 * 9 / 9 = 2; then a_b c: 2 * 6 / 9 = 1.33 */
    expect("a b c\na b c\na b c", 1, 1, 1, "a_b c\na_b c\na_b c");
    expect("a b c\na b c\na b c", 1, 1, 2, "a_b_c\na_b_c\na_b_c");
    expect("a b c\na b c\na b c", 1, 1, 3, "a_b_c\na_b_c\na_b_c");
    expect("a b c\na b c\na b c", 1.5, 1, 2, "a_b c\na_b c\na_b c");
}

Test(phrases, counts_are_reported) {
    outcome o = find(city, 2.5, 1, 1, NULL);
    cr_assert_eq(o.words, 12);
    cr_assert_eq(o.pairs, 5, "%g", o.pairs); /* new york, york of, of old, york city, city is: none across lines */
    cr_assert_eq(o.phrases, 2);
    cr_assert_eq(o.joined, 5);
    free(o.text);
}

enum { N_WORDS = 40 };

/* The same rule from a matrix of counts, a word at a time, on a text with one space or line feed after each word. */
static char *join_slowly(const char *text, double threshold, double min_count) {
    static double counts[N_WORDS], together[N_WORDS][N_WORDS];
    memset(counts, 0, sizeof counts);
    memset(together, 0, sizeof together);
    double n = 0;
    int last = -1;
    for (const char *p = text; *p; p += strcspn(p, " \n")) {
        last = *p == '\n' ? -1 : last;
        p += strspn(p, " \n");
        if (!*p) {
            break;
        }
        const int word = atoi(p + 1);
        counts[word]++;
        n++;
        if (last >= 0) {
            together[last][word]++;
        }
        last = word;
    }
    char *out = calloc(strlen(text) + 1, 1), *to = out;
    last = -1;
    for (const char *p = text; *p;) {
        if (*p == ' ' || *p == '\n') {
            last = *p == '\n' ? -1 : last;
            *to++ = *p++;
            continue;
        }
        const int word = atoi(p + 1);
        const bool joins = last >= 0 && counts[last] >= min_count && counts[word] >= min_count &&
                           together[last][word] >= min_count &&
                           (together[last][word] - min_count) / (counts[last] * counts[word]) * n > threshold;
        if (joins) {
            to[-1] = '_';
        }
        last = joins ? -1 : word;
        const size_t length = strcspn(p, " \n");
        memcpy(to, p, length);
        to += length;
        p += length;
    }
    return out;
}

Test(phrases, as_counted_slowly_and_whatever_the_threads) {
    mb_buffer text = {0};
    uint64_t random = 5;
    for (int i = 0; i < 6000; i++) {
        const unsigned r = mb_lcg_next(&random) >> 1, word = r % 7 ? r / 7 % N_WORDS * (r / 7 % N_WORDS) / N_WORDS : 0;
        mb_buffer_printf(&text, "w%u", word);
        if (r % 7 == 1) { /* often followed by the same one */
            mb_buffer_printf(&text, " w%u", (word + 1) % N_WORDS);
        }
        mb_buffer_append_text(&text, r % 11 ? " " : "\n");
    }
    for (double threshold = 0.5; threshold < 4; threshold += 0.7) {
        char *expected = join_slowly(text.data, threshold, 5);
        cr_assert(strchr(expected, '_') && strlen(expected) == text.n_bytes);
        for (int n_threads = 1; n_threads <= 9; n_threads += 4) {
            mb_threads_set(n_threads);
            outcome o = find(text.data, threshold, 5, 1, NULL);
            cr_assert_str_eq(o.text, expected, "threshold %g, %d threads", threshold, n_threads);
            free(o.text);
        }
        free(expected);
    }
    mb_buffer_free(&text);
}

Test(phrases, what_cannot_be_done_is_said) {
    cr_assert_eq(find("a b", 1, 5, 1, NULL).status, MB_ERROR_FORMAT);
    static const volatile sig_atomic_t stop = SIGINT;
    const mb_job job = {.stop_signal = &stop};
    cr_assert_eq(find(city, 1, 1, 2, &job).status, MB_ERROR_INTERRUPTED);
    json_t *result;
    mb_error error;
    const mb_phrases_options no_out = {.corpus = "x", .passes = 1};
    cr_assert_eq(mb_phrases(&no_out, NULL, &result, &error), MB_ERROR_USAGE);
    cr_assert(strstr(error.message, "--out"), "%s", error.message);
}
