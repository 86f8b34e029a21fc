#include <criterion/criterion.h>
#include <math.h>

#include "train/schedule.h"

/* Values by hand: warm-up over the first 20%, then the fall over the other 80%. */
static const struct {
    mb_schedule_shape shape;
    double warmup, progress, factor;
} values[] = {
    {MB_SCHEDULE_LINEAR, 0.2, 0, 0},
    {MB_SCHEDULE_LINEAR, 0.2, 0.1, 0.5},
    {MB_SCHEDULE_LINEAR, 0.2, 0.2, 1},
    {MB_SCHEDULE_LINEAR, 0.2, 0.6, 0.5},
    {MB_SCHEDULE_LINEAR, 0.2, 1, 0},
    {MB_SCHEDULE_LINEAR, 0, 0, 1},
    {MB_SCHEDULE_LINEAR, 0, 0.25, 0.75},
    {MB_SCHEDULE_COSINE, 0.2, 0.1, 0.5},
    {MB_SCHEDULE_COSINE, 0.2, 0.4, 0.8535533905932737}, /* (1 + cos(pi / 4)) / 2 */
    {MB_SCHEDULE_COSINE, 0.2, 0.6, 0.5},
    {MB_SCHEDULE_COSINE, 0.2, 1, 0},
    {MB_SCHEDULE_CONSTANT, 0.2, 0.1, 0.5},
    {MB_SCHEDULE_CONSTANT, 0.2, 0.2, 1},
    {MB_SCHEDULE_CONSTANT, 0.2, 1, 1},
    {MB_SCHEDULE_LINEAR, 1, 0.5, 0.5}, /* nothing but warm-up */
    {MB_SCHEDULE_LINEAR, 1, 1, 1},
    {MB_SCHEDULE_LINEAR, 0.2, 1.5, 0}, /* past the end of a --budget */
    {MB_SCHEDULE_LINEAR, 0.2, -1, 0},
};

Test(schedule, values) {
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        double factor = mb_schedule_factor(values[i].shape, values[i].warmup, values[i].progress);
        cr_assert(fabs(factor - values[i].factor) < 1e-12, "row %zu: %.15f, expected %.15f", i, factor, values[i].factor);
    }
}

Test(schedule, names_follow_the_enumeration) {
    cr_assert_str_eq(mb_schedule_names[MB_SCHEDULE_LINEAR], "linear");
    cr_assert_str_eq(mb_schedule_names[MB_SCHEDULE_COSINE], "cosine");
    cr_assert_str_eq(mb_schedule_names[MB_SCHEDULE_CONSTANT], "constant");
    cr_assert_null(mb_schedule_names[3]);
}
