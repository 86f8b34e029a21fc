#include <criterion/criterion.h>
#include <math.h>

#include "tasks/scores.h"

static mb_class_scores scores_of(const int32_t *predicted, const int32_t *labels, int64_t n, int32_t n_classes) {
    mb_class_scores scores;
    mb_error error;
    cr_assert_eq(mb_class_scores_compute(predicted, labels, n, n_classes, &scores, &error), MB_OK);
    return scores;
}

/* Two classes by hand: 3 true positives, 1 false positive, 2 false negatives, 4 true negatives.
 * F1: 6/9 and 8/11. Matthews: (3 4 - 1 2) / sqrt(4 5 5 6) = 10 / sqrt(600). */
Test(scores, two_classes_by_hand) {
    const int32_t labels[] = {1, 1, 1, 1, 1, 0, 0, 0, 0, 0}, predicted[] = {1, 1, 1, 0, 0, 1, 0, 0, 0, 0};
    const mb_class_scores s = scores_of(predicted, labels, 10, 2);
    cr_assert_float_eq(s.accuracy, 0.7, 1e-12);
    cr_assert_float_eq(s.macro_f1, (6.0 / 9 + 8.0 / 11) / 2, 1e-12);
    cr_assert_float_eq(s.matthews, 10 / sqrt(600), 1e-12);
    cr_assert_float_eq(s.majority, 0.5, 1e-12);
    cr_assert_eq(s.n_answers, 2);
}

/* Three classes; scikit-learn gives f1_score(average="macro") 0.6555555555555556 and matthews_corrcoef 0.5222329678670935. */
Test(scores, three_classes_against_scikit_learn) {
    const int32_t labels[] = {0, 0, 1, 1, 2, 2}, predicted[] = {0, 1, 1, 1, 2, 0};
    const mb_class_scores s = scores_of(predicted, labels, 6, 3);
    cr_assert_float_eq(s.accuracy, 4.0 / 6, 1e-12);
    cr_assert_float_eq(s.macro_f1, 0.6555555555555556, 1e-12);
    cr_assert_float_eq(s.matthews, 0.5222329678670935, 1e-12);
}

/* A class that occurs neither among labels nor predictions does not count in the mean; one that is only predicted does. */
Test(scores, macro_f1_is_over_the_classes_that_occur) {
    const int32_t labels[] = {0, 0, 1, 1}, predicted[] = {0, 0, 1, 1};
    cr_assert_eq(scores_of(predicted, labels, 4, 5).macro_f1, 1);
    const int32_t off[] = {0, 0, 1, 4};
    cr_assert_float_eq(scores_of(off, labels, 4, 5).macro_f1, (1 + 2.0 / 3 + 0) / 3, 1e-12);
}

Test(scores, matthews_of_a_constant_answer_is_zero) {
    const int32_t labels[] = {0, 1, 1, 1}, predicted[] = {1, 1, 1, 1};
    const mb_class_scores s = scores_of(predicted, labels, 4, 2);
    cr_assert_eq(s.matthews, 0);
    cr_assert_eq(s.n_answers, 1);
    cr_assert_eq(s.majority, 0.75);
    cr_assert_eq(s.accuracy, 0.75);
}
