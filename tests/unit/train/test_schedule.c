#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "train/schedule.h"

/* Values by hand: warm-up over the first 20%, then the fall over the other 80%. */
static const struct {
    mb_schedule_shape shape;
    double warmup, decay, progress, factor;
} values[] = {
    {MB_SCHEDULE_LINEAR, 0.2, 0, 0, 0},
    {MB_SCHEDULE_LINEAR, 0.2, 0, 0.1, 0.5},
    {MB_SCHEDULE_LINEAR, 0.2, 0, 0.2, 1},
    {MB_SCHEDULE_LINEAR, 0.2, 0, 0.6, 0.5},
    {MB_SCHEDULE_LINEAR, 0.2, 0, 1, 0},
    {MB_SCHEDULE_LINEAR, 0, 0, 0, 1},
    {MB_SCHEDULE_LINEAR, 0, 0, 0.25, 0.75},
    {MB_SCHEDULE_COSINE, 0.2, 0, 0.1, 0.5},
    {MB_SCHEDULE_COSINE, 0.2, 0, 0.4, 0.8535533905932737}, /* (1 + cos(pi / 4)) / 2 */
    {MB_SCHEDULE_COSINE, 0.2, 0, 0.6, 0.5},
    {MB_SCHEDULE_COSINE, 0.2, 0, 1, 0},
    {MB_SCHEDULE_CONSTANT, 0.2, 0, 0.1, 0.5},
    {MB_SCHEDULE_CONSTANT, 0.2, 0, 0.2, 1},
    {MB_SCHEDULE_CONSTANT, 0.2, 0, 1, 1},
    {MB_SCHEDULE_LINEAR, 1, 0, 0.5, 0.5}, /* nothing but warm-up */
    {MB_SCHEDULE_LINEAR, 1, 0, 1, 1},
    {MB_SCHEDULE_LINEAR, 0.2, 0, 1.5, 0}, /* past the end of a --budget */
    {MB_SCHEDULE_LINEAR, 0.2, 0, -1, 0},
    {MB_SCHEDULE_TRAPEZOID, 0.2, 0.4, 0.1, 0.5},
    {MB_SCHEDULE_TRAPEZOID, 0.2, 0.4, 0.2, 1},
    {MB_SCHEDULE_TRAPEZOID, 0.2, 0.4, 0.6, 1},
    {MB_SCHEDULE_TRAPEZOID, 0.2, 0.4, 0.7, 0.75},
    {MB_SCHEDULE_TRAPEZOID, 0.2, 0.4, 1, 0},
    {MB_SCHEDULE_TRAPEZOID, 0.2, 0.8, 0.2, 1}, /* nothing stable */
    {MB_SCHEDULE_TRAPEZOID, 0.2, 0, 1, 1},     /* nothing falls */
    {MB_SCHEDULE_TRAPEZOID, 0, 1, 0.25, 0.75},
};

Test(schedule, values) {
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        const mb_schedule schedule = {values[i].shape, values[i].warmup, values[i].decay};
        double factor = mb_schedule_factor(&schedule, values[i].progress);
        cr_assert(fabs(factor - values[i].factor) < 1e-12, "row %zu: %.15f, expected %.15f", i, factor, values[i].factor);
    }
}

Test(schedule, names_follow_the_enumeration) {
    cr_assert_str_eq(mb_schedule_names[MB_SCHEDULE_LINEAR], "linear");
    cr_assert_str_eq(mb_schedule_names[MB_SCHEDULE_COSINE], "cosine");
    cr_assert_str_eq(mb_schedule_names[MB_SCHEDULE_CONSTANT], "constant");
    cr_assert_str_eq(mb_schedule_names[MB_SCHEDULE_TRAPEZOID], "trapezoid");
    cr_assert_null(mb_schedule_names[4]);
}

Test(schedule, a_trapezoid_must_fit_into_the_run) {
    mb_error error = {0};
    mb_schedule schedule = {MB_SCHEDULE_TRAPEZOID, 0.25, 0.75};
    cr_assert_eq(mb_schedule_check(&schedule, &error), MB_OK);
    schedule.decay = 0.8;
    cr_assert_eq(mb_schedule_check(&schedule, &error), MB_ERROR_USAGE);
    cr_assert_not_null(strstr(error.message, "--decay-fraction 0.8"), "%s", error.message);
    schedule.shape = MB_SCHEDULE_LINEAR; /* does not look at it */
    cr_assert_eq(mb_schedule_check(&schedule, &error), MB_OK);
}

Test(schedule, between_is_a_straight_line) {
    cr_assert_float_eq(mb_schedule_between(0.3, 0.1, 0.25), 0.25, 1e-15);
    cr_assert_eq(mb_schedule_between(0.3, 0.1, -1), 0.3);
    cr_assert_float_eq(mb_schedule_between(0.3, 0.1, 2), 0.1, 1e-15);
}
