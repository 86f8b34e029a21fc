/* How good predicted classes are. */
#ifndef MB_TASKS_SCORES_H
#define MB_TASKS_SCORES_H

#include <jansson.h>
#include <stdint.h>

#include "minibert/status.h"

typedef struct mb_class_scores {
    int64_t n;
    int32_t n_answers; /* different classes among the predictions */
    double accuracy;
    double macro_f1; /* mean F1 of the classes that occur among labels or predictions (scikit-learn's convention) */
    double matthews; /* correlation of predictions and labels, R_K for many classes (Gorodkin 2004); 0 where undefined */
    double majority; /* share of the most frequent label: the accuracy of always guessing it */
    double loss;     /* mean -log p(label), nats; filled by the caller */
} mb_class_scores;

/* `predicted` and `labels`: n classes in [0, n_classes). */
mb_status mb_class_scores_compute(const int32_t *predicted, const int32_t *labels, int64_t n, int32_t n_classes,
                                  mb_class_scores *out, mb_error *error);
/* Adds "accuracy", "macro_f1", "matthews", "majority", "loss" and "examples". */
mb_status mb_class_scores_to_json(const mb_class_scores *scores, json_t *object, mb_error *error);

#endif
