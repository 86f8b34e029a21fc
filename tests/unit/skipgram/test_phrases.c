#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "skipgram/phrases.h"
#include "unit/skipgram/support.h"

/* What becomes of a text; malloc'ed. */
static char *join(const char *text, double threshold, int64_t min_count, int64_t passes) {
    char *dir = test_dir_new(), *corpus = test_text(dir, "text.txt", text), *out = test_text(dir, "out.txt", "older");
    const mb_phrases_options options = {corpus, out, threshold, min_count, passes, 0};
    const mb_job job = {0};
    json_t *result = NULL;
    mb_error error;
    cr_assert_eq(mb_phrases(&options, &job, &result, &error), MB_OK, "%s", error.message);
    json_decref(result);
    size_t n_bytes;
    char *joined = test_read(out, &n_bytes);
    cr_assert_eq(strlen(joined), n_bytes);
    free(corpus);
    free(out);
    test_dir_free(dir);
    return joined;
}

static void expect(const char *text, double threshold, int64_t min_count, int64_t passes, const char *expected) {
    char *joined = join(text, threshold, min_count, passes);
    cr_assert_str_eq(joined, expected);
    free(joined);
}

/* new: 2, york: 3, seven words, "new york" twice: (2 - 1) * 7 / (2 * 3) = 1.1666... */
static const char york[] = "new york  new york\n\nyork a\tb";

Test(phrases, a_pair_above_the_threshold_is_one_word) {
    expect(york, 1.1666, 1, 1, "new_york  new_york\n\nyork a\tb");
    expect(york, 1.1667, 1, 1, york);
}

Test(phrases, rare_pairs_and_line_breaks_join_nothing) {
    expect(york, 0, 3, 1, york); /* two of them are too few */
    expect("new\nyork\nnew\nyork\nnew\nyork\n", 0, 1, 1, "new\nyork\nnew\nyork\nnew\nyork\n");
}

/* Both pairs score (3 - 1) * 9 / 9 = 2, and the one on the left is joined; then (3 - 1) * 6 / 9 = 1.33 for the rest. */
Test(phrases, each_pass_makes_them_longer) {
    static const char text[] = "san jose city\nsan jose city\nsan jose city\n";
    expect(text, 1, 1, 1, "san_jose city\nsan_jose city\nsan_jose city\n");
    expect(text, 1, 1, 2, "san_jose_city\nsan_jose_city\nsan_jose_city\n");
    expect(text, 1.5, 1, 2, "san_jose city\nsan_jose city\nsan_jose city\n");
}

Test(phrases, the_threads_change_nothing) {
    char *text = test_paired_text(3000);
    mb_threads_set(1);
    char *one = join(text, 2, 5, 2);
    mb_threads_set(3);
    char *three = join(text, 2, 5, 2);
    cr_assert_str_eq(one, three);
    cr_assert_not_null(strstr(one, "_"), "nothing was joined");
    cr_assert_str_neq(one, text);
    free(one);
    free(three);
    free(text);
}
