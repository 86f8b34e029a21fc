#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "train/class_sampler.h"

enum { N_CLASSES = 803, N_CERTAIN = 100, N_TARGETS = 3 };
static const int32_t targets[N_TARGETS] = {1, 700, 1};

/* Every eighth class is frequent, 100 of them: 7, 15, 23 ... 799. */
static bool is_frequent(int32_t c) {
    return c % 8 == 7;
}

static mb_class_sampler *new_sampler(void) {
    uint64_t counts[N_CLASSES];
    mb_class_sampler *sampler = NULL;
    mb_error error = {0};
    for (int32_t c = 0; c < N_CLASSES; c++) {
        counts[c] = is_frequent(c) ? 1000 : (uint64_t)(c % 5);
    }
    cr_assert_eq(mb_class_sampler_new(counts, N_CLASSES, &sampler, &error), MB_OK);
    return sampler;
}

static bool is_target(int32_t c) {
    return c == targets[0] || c == targets[1];
}

Test(class_sampler, frequent_classes_and_targets_are_always_there) {
    mb_class_sampler *sampler = new_sampler();
    const mb_class_sample *sample = mb_class_sampler_draw(sampler, 3, 5, targets, N_TARGETS);
    int64_t n_certain = 0;
    for (int64_t i = 0; i < sample->n; i++) {
        const int32_t c = sample->classes[i];
        const bool certain = is_frequent(c) || is_target(c);
        cr_expect(i == 0 || c > sample->classes[i - 1]);
        cr_expect_eq(sample->places[c], i);
        cr_expect_float_eq(sample->log_weights[i], certain ? 0 : log(8), 1e-6, "class %d", (int)c);
        n_certain += certain;
    }
    cr_expect_eq(n_certain, N_CERTAIN + 2);
    cr_expect_eq(sample->classes[sample->places[700]], 700);
    mb_class_sampler_free(sampler);
}

/* Horvitz and Thompson: a sum over the sample, each weighted by what log_weights says, is on average that over all classes. */
Test(class_sampler, weighted_sums_are_right_on_average) {
    enum { DRAWS = 4000 };
    mb_class_sampler *sampler = new_sampler();
    double sum = 0, all = 0, seen[N_CLASSES] = {0};
    for (int32_t c = 0; c < N_CLASSES; c++) {
        all += 1.0 / (1 + c);
    }
    for (uint64_t draw = 0; draw < DRAWS; draw++) {
        const mb_class_sample *sample = mb_class_sampler_draw(sampler, 3, draw, targets, N_TARGETS);
        for (int64_t i = 0; i < sample->n; i++) {
            sum += exp((double)sample->log_weights[i]) / (1 + sample->classes[i]) / DRAWS;
            seen[sample->classes[i]]++;
        }
    }
    cr_expect(fabs(sum / all - 1) < 0.01, "%g, not %g", sum, all);
    for (int32_t c = 0; c < N_CLASSES; c++) { /* 500 draws of 4,000, deviation 21 */
        const double expected = is_frequent(c) || is_target(c) ? DRAWS : DRAWS / 8.0;
        cr_expect(fabs(seen[c] - expected) <= (expected < DRAWS ? 100 : 0), "class %d: %g times", (int)c, seen[c]);
    }
    mb_class_sampler_free(sampler);
}

Test(class_sampler, a_sample_is_a_function_of_seed_and_number) {
    mb_class_sampler *one = new_sampler(), *other = new_sampler();
    const mb_class_sample first = *mb_class_sampler_draw(one, 3, (uint64_t)1 << 40, targets, N_TARGETS);
    int32_t classes[N_CLASSES];
    memcpy(classes, first.classes, (size_t)first.n * sizeof *classes);
    (void)mb_class_sampler_draw(other, 3, 8, targets, 1);
    const mb_class_sample *same = mb_class_sampler_draw(other, 3, (uint64_t)1 << 40, targets, N_TARGETS);
    cr_assert_eq(same->n, first.n);
    cr_expect_arr_eq(same->classes, classes, (size_t)first.n * sizeof *classes);
    for (int i = 0; i < 2; i++) {
        const mb_class_sample *next =
            mb_class_sampler_draw(other, i == 0 ? 4 : 3, i == 0 ? (uint64_t)1 << 40 : 0, targets, N_TARGETS);
        cr_expect(next->n != first.n || memcmp(next->classes, classes, (size_t)first.n * sizeof *classes) != 0);
    }
    mb_class_sampler_free(one);
    mb_class_sampler_free(other);
}
