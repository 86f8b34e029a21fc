#include "tasks/scores.h"

#include <math.h>
#include <stdlib.h>

/* With t_k labels and p_k predictions of class k, c right ones, s in all:
 *   R_K = (c s - sum p_k t_k) / sqrt((s^2 - sum p_k^2) (s^2 - sum t_k^2)) */
static double matthews(const int64_t *n_labels, const int64_t *n_predicted, int32_t n_classes, int64_t n_right, int64_t n) {
    const double s = (double)n;
    double cross = 0, predicted_squares = 0, label_squares = 0;
    for (int32_t k = 0; k < n_classes; k++) {
        const double t = (double)n_labels[k], p = (double)n_predicted[k];
        cross += p * t;
        predicted_squares += p * p;
        label_squares += t * t;
    }
    const double spread = (s * s - predicted_squares) * (s * s - label_squares);
    return spread > 0 ? ((double)n_right * s - cross) / sqrt(spread) : 0;
}

static double macro_f1(const int64_t *n_labels, const int64_t *n_predicted, const int64_t *n_both, int32_t n_classes) {
    double sum = 0;
    int32_t n_occurring = 0;
    for (int32_t k = 0; k < n_classes; k++) {
        const int64_t mentions = n_labels[k] + n_predicted[k];
        if (mentions > 0) {
            sum += 2 * (double)n_both[k] / (double)mentions;
            n_occurring++;
        }
    }
    return n_occurring > 0 ? sum / n_occurring : 0;
}

mb_status mb_class_scores_compute(const int32_t *predicted, const int32_t *labels, int64_t n, int32_t n_classes,
                                  mb_class_scores *out, mb_error *error) {
    int64_t *counts = calloc(3 * (size_t)n_classes, sizeof *counts);
    if (counts == NULL) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    int64_t *n_labels = counts, *n_predicted = counts + n_classes, *n_both = counts + 2 * (int64_t)n_classes;
    int64_t n_right = 0, n_most = 0;
    int32_t n_answers = 0;
    for (int64_t i = 0; i < n; i++) {
        n_labels[labels[i]]++;
        n_predicted[predicted[i]]++;
        n_both[labels[i]] += predicted[i] == labels[i];
        n_right += predicted[i] == labels[i];
    }
    for (int32_t k = 0; k < n_classes; k++) {
        n_most = n_labels[k] > n_most ? n_labels[k] : n_most;
        n_answers += n_predicted[k] > 0;
    }
    *out = (mb_class_scores){
        .n = n,
        .n_answers = n_answers,
        .accuracy = n > 0 ? (double)n_right / (double)n : 0,
        .macro_f1 = macro_f1(n_labels, n_predicted, n_both, n_classes),
        .matthews = matthews(n_labels, n_predicted, n_classes, n_right, n),
        .majority = n > 0 ? (double)n_most / (double)n : 0,
    };
    free(counts);
    return MB_OK;
}

mb_status mb_class_scores_to_json(const mb_class_scores *scores, json_t *object, mb_error *error) {
    int failed = json_object_set_new(object, "accuracy", json_real(scores->accuracy));
    failed |= json_object_set_new(object, "macro_f1", json_real(scores->macro_f1));
    failed |= json_object_set_new(object, "matthews", json_real(scores->matthews));
    failed |= json_object_set_new(object, "majority", json_real(scores->majority));
    failed |= json_object_set_new(object, "loss", json_real(scores->loss));
    failed |= json_object_set_new(object, "examples", json_integer(scores->n));
    return failed ? mb_fail(error, MB_ERROR_MEMORY, "out of memory") : MB_OK;
}
