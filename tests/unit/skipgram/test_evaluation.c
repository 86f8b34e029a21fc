#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "skipgram/analogy.h"
#include "skipgram/similarity.h"
#include "unit/skipgram/support.h"

Test(evaluation, correlations_by_hand) {
    /* Spearman's: ranks 1 2 3 4 5 and 2 1 4 3 5: 1 - 6 * 4 / (5 * 24) = 0.8 */
    static const double x[] = {1, 2, 3, 4, 5}, y[] = {20, 1, 400, 30, 500};
    cr_assert_float_eq(mb_spearman(x, y, 5), 0.8, 1e-12);
    /* equal numbers share the mean of their ranks: 1 2.5 2.5 4 against 1 2 3 4: 4.5 / sqrt(4.5 * 5) */
    static const double t[] = {1, 2, 2, 3}, u[] = {1, 2, 3, 4};
    cr_assert_float_eq(mb_spearman(t, u, 4), 4.5 / sqrt(4.5 * 5), 1e-12);
    /* deviations -1 0 1 and -2 1 1: 3 / sqrt(2 * 6) */
    static const double p[] = {1, 2, 3}, q[] = {0, 3, 3};
    cr_assert_float_eq(mb_pearson(p, q, 3), 3 / sqrt(12), 1e-12);
    static const double c[] = {7, 7, 7};
    cr_assert(isnan(mb_pearson(p, c, 3)));
    cr_assert(isnan(mb_spearman(p, c, 0)));
}

/* In the plane: cosines are those of the angles between 0, 30, 60, 90 and 180 degrees. Lengths do not matter. */
static const char plane[] = "6 2\n"
                            "east 2 0\n"
                            "near 0.8660254 0.5\n"
                            "mid 5 8.6602540\n"
                            "north 0 1\n"
                            "west -3 0\n"
                            "Paris 0.7071068 0.7071068\n";

static json_t *judge(const char *pairs, mb_status expected, mb_error *error) {
    char *dir = test_dir_new();
    char *vectors = test_text(dir, "plane.vec", plane), *file = test_text(dir, "pairs.txt", pairs);
    const char *files[] = {file};
    const mb_similarity_options options = {.vectors = vectors, .files = {files, 1}};
    json_t *result;
    const mb_status status = mb_similarity(&options, &result, error);
    cr_assert_eq(status, expected, "%s", status == MB_OK ? "accepted" : error->message);
    free(vectors);
    free(file);
    test_dir_free(dir);
    return result;
}

static double number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    cr_assert(json_is_number(value), "%s is no number", key);
    return json_number_value(value);
}

Test(evaluation, similarity_in_three_spellings) {
    /* cosines 0.866, 0.5, 0, -1; ratings 9, 10, 5, 1: ranks 4 3 2 1 and 3 4 2 1: 1 - 6 * 2 / (4 * 15) = 0.8. One pair is
     * unknown, "PARIS" is found as "Paris". Cosine of Paris and north 0.707 between the first two: ranks 5 3 4 2 1, ratings 3 4
     * 5 2 1 */
    static const char *const files[] = {
        "word1\tword2\tscore\neast\tnear\t9\neast\tmid\t10\neast\tnorth\t5\neast\twest\t1\neast\tnowhere\t3\n",
        "Word 1,Word 2,Human (mean)\neast,near,9\neast,mid,10\n\neast,north,5\neast,west,1\nnowhere,east,3",
        "# a comment\neast near N 9 0.1 4\neast mid N 10 0.2 4\r\neast north N 5 0.1 4\nwest east N 1 0 0\nnowhere x N 3 0 0\n",
    };
    for (size_t i = 0; i < 3; i++) {
        mb_error error;
        json_t *result = judge(files[i], MB_OK, &error);
        cr_assert_eq(json_array_size(result), 1u);
        const json_t *object = json_array_get(result, 0);
        cr_assert_eq(number(object, "pairs"), 5);
        cr_assert_eq(number(object, "found"), 4);
        cr_assert_eq(number(object, "out_of_vocabulary"), 1);
        cr_assert_float_eq(number(object, "spearman"), 0.8, 1e-9, "file %zu: %f", i, number(object, "spearman"));
        const double cosines[] = {sqrt(3) / 2, 0.5, 0, -1}, people[] = {9, 10, 5, 1};
        cr_assert_float_eq(number(object, "pearson"), mb_pearson(cosines, people, 4), 1e-6);
        json_decref(result);
    }
    mb_error error;
    json_t *result = judge("east PARIS 1\n", MB_OK, &error);
    cr_assert_eq(number(json_array_get(result, 0), "found"), 1);
    cr_assert(json_is_null(json_object_get(json_array_get(result, 0), "spearman")));
    json_decref(result);
    judge("a b 1\na b\n", MB_ERROR_FORMAT, &error);
    cr_assert(strstr(error.message, "line 2"), "%s", error.message);
    judge("", MB_ERROR_FORMAT, &error);
}

/* Axes: x is male, y is female, z is royal; and "mix" between. The last word is beyond --restrict 7. */
static const char family[] = "8 3\n"
                             "man 1 0 0\n"
                             "woman 0 1 0\n"
                             "king 0.6 0 0.8\n"
                             "queen 0 0.6 0.8\n"
                             "throne 0 0 1\n"
                             "boy 0.9 0.1 0.05\n"
                             "mix 0.45 0.55 0.7\n"
                             "girl 0.1 0.9 0.05\n";

static json_t *ask(const char *questions, int method, int64_t restrict_words, mb_status expected, mb_error *error) {
    char *dir = test_dir_new();
    char *vectors = test_text(dir, "family.vec", family), *file = test_text(dir, "questions.txt", questions);
    const mb_analogy_options options = {
        .vectors = vectors, .questions = file, .restrict_words = restrict_words, .method = method};
    json_t *result;
    const mb_status status = mb_analogy(&options, &result, error);
    cr_assert_eq(status, expected, "%s", status == MB_OK ? "accepted" : error->message);
    free(vectors);
    free(file);
    test_dir_free(dir);
    return result;
}

static void expect_score(const json_t *result, const char *key, int correct, int asked, int passed_over) {
    const json_t *score = json_object_get(result, key);
    cr_assert_eq(number(score, "correct"), correct, "%s: %g correct", key, number(score, "correct"));
    cr_assert_eq(number(score, "asked"), asked);
    cr_assert_eq(number(score, "passed_over"), passed_over);
}

/* man : king = woman : ?  3CosAdd: king - man + woman = (-0.4, 1, 0.8): queen 1.24, mix 0.93, girl 0.9, throne 0.8. */
static const char questions[] = ": family\nman king woman QUEEN\nman woman king queen\nman king woman throne\n"
                                ": gram1-age\nman boy woman girl\nman king woman nobody\n";

Test(evaluation, analogies_by_hand) {
    mb_error error;
    for (int method = MB_ANALOGY_ADD; method <= MB_ANALOGY_MULTIPLY; method++) {
        json_t *result = ask(questions, method, 0, MB_OK, &error);
        expect_score(result, "semantic", 2, 3, 0); /* "throne" is the wrong answer */
        expect_score(result, "syntactic", 1, 1, 1);
        expect_score(result, "total", 3, 4, 1);
        const json_t *sections = json_object_get(result, "sections");
        cr_assert_eq(json_array_size(sections), 2u);
        cr_assert_str_eq(json_string_value(json_object_get(json_array_get(sections, 1), "name")), "gram1-age");
        cr_assert_float_eq(number(json_array_get(sections, 0), "accuracy"), 2 / 3.0, 1e-12);
        json_decref(result);
        result = ask(questions, method, 7, MB_OK, &error);
        expect_score(result, "syntactic", 0, 0, 2); /* girl is the eighth word */
        cr_assert(json_is_null(json_object_get(json_object_get(result, "syntactic"), "accuracy")));
        json_decref(result);
    }
    ask(": x\nman king woman\n", MB_ANALOGY_ADD, 0, MB_ERROR_FORMAT, &error);
    cr_assert(strstr(error.message, "line 2"), "%s", error.message);
    ask("\n", MB_ANALOGY_ADD, 0, MB_ERROR_FORMAT, &error);
}

/* A question that the two methods answer differently. Vectors of length 1 with a, b, c along axes; p has cosines 0, .8, .1 with
 * a, b, c and q has .05, .45, .45. Sum: p 0.9, q 0.85. Product, (1 + b)(1 + c) / (4 ((1 + a) / 2 + .001)): p .988, q .999. */
Test(evaluation, the_methods_differ) {
    static const char vectors[] = "5 4\na 1 0 0 0\nb 0 1 0 0\nc 0 0 1 0\np 0 0.8 0.1 0.5916080\nq 0.05 0.45 0.45 0.7697402\n";
    static const char *const right[] = {"a b c p\n", "a b c q\n"};
    for (int method = MB_ANALOGY_ADD; method <= MB_ANALOGY_MULTIPLY; method++) {
        char *dir = test_dir_new();
        char *path = test_text(dir, "v", vectors), *file = test_text(dir, "q", right[method]);
        const mb_analogy_options options = {.vectors = path, .questions = file, .method = method};
        json_t *result;
        mb_error error;
        cr_assert_eq(mb_analogy(&options, &result, &error), MB_OK, "%s", error.message);
        expect_score(result, "total", 1, 1, 0);
        json_decref(result);
        free(path);
        free(file);
        test_dir_free(dir);
    }
}

/* --- gensim's numbers on the same vectors (scripts/golden/words.py) --- */

#define GOLDEN MB_TESTS_DIR "/golden/words/"
static const char *const golden_vectors[] = {GOLDEN "vectors.txt", GOLDEN "vectors.bin"};

static json_t *golden_load(void) {
    json_error_t error;
    json_t *golden = json_load_file(GOLDEN "gensim.json", 0, &error);
    cr_assert(golden, "%s", error.text);
    return golden;
}

Test(evaluation, rated_pairs_as_gensim_judges_them) {
    json_t *golden = golden_load();
    const char *pairs = GOLDEN "pairs.tsv";
    for (int format = 0; format < 2; format++) {
        const mb_similarity_options options = {.vectors = golden_vectors[format], .files = {&pairs, 1}};
        json_t *result;
        mb_error error;
        cr_assert_eq(mb_similarity(&options, &result, &error), MB_OK, "%s", error.message);
        const json_t *file = json_array_get(result, 0);
        cr_assert_float_eq(number(file, "spearman"), number(golden, "spearman"), 1e-9);
        cr_assert_float_eq(number(file, "pearson"), number(golden, "pearson"), 1e-6);
        cr_assert_eq(number(file, "out_of_vocabulary"), number(golden, "out_of_vocabulary"));
        json_decref(result);
    }
    json_decref(golden);
}

static void check_sections(const json_t *result, const json_t *expected, const char *what) {
    const json_t *sections = json_object_get(result, "sections");
    cr_assert_eq(json_array_size(sections), json_array_size(expected));
    for (size_t i = 0; i < json_array_size(expected); i++) {
        const json_t *ours = json_array_get(sections, i), *theirs = json_array_get(expected, i);
        cr_assert_str_eq(json_string_value(json_object_get(ours, "name")), json_string_value(json_object_get(theirs, "name")));
        cr_assert_eq(number(ours, "correct"), number(theirs, "correct"), "%s, section %zu: %g correct", what, i,
                     number(ours, "correct"));
        cr_assert_eq(number(ours, "asked"), number(theirs, "asked"), "%s, section %zu: %g asked", what, i,
                     number(ours, "asked"));
    }
}

Test(evaluation, analogies_as_gensim_answers_them) {
    static const char *const methods[] = {"add", "multiply"};
    json_t *golden = golden_load();
    for (int k = 0; k < 8; k++) { /* both methods, all words and the first ones, both formats */
        const int method = k & 1, restricted = k >> 1 & 1;
        const mb_analogy_options options = {.vectors = golden_vectors[k >> 2],
                                            .questions = GOLDEN "questions.txt",
                                            .restrict_words = restricted ? (int64_t)number(golden, "restrict") : 0,
                                            .method = method};
        json_t *result;
        mb_error error;
        cr_assert_eq(mb_analogy(&options, &result, &error), MB_OK, "%s", error.message);
        const json_t *expected = json_object_get(json_object_get(golden, "analogies"), methods[method]);
        check_sections(result, json_array_get(expected, (size_t)restricted), methods[method]);
        json_decref(result);
    }
    json_decref(golden);
}
