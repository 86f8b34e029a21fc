#include <criterion/criterion.h>

#include "train/loss_watch.h"

/* The step at which the rule first holds; 0: not within n steps. */
static int first_alarm(mb_loss_watch *watch, double (*loss)(int), int n) {
    for (int step = 1; step <= n; step++) {
        if (mb_loss_watch_add(watch, loss(step))) {
            return step;
        }
    }
    return 0;
}

static double falls(int step) {
    return 10 / (1 + 0.01 * step);
}
static double stays_high(int step) {
    return step <= 10 ? 10 : 12.9; /* the limit is 1.25 * 10 + 0.5 */
}
static double leaps(int step) {
    return step <= 10 ? 10 : 1000;
}
static double spike(int step) {
    return step > 500 && step <= 580 ? 100 : 9;
}

Test(loss_watch, a_loss_that_falls_stays_or_has_a_spike_is_fine) {
    cr_expect_eq(first_alarm(&(mb_loss_watch){0}, falls, 5000), 0);
    cr_expect_eq(first_alarm(&(mb_loss_watch){0}, stays_high, 5000), 0);
    cr_expect_eq(first_alarm(&(mb_loss_watch){0}, spike, 720), 0); /* the mean forgets it in time */
}

Test(loss_watch, a_loss_far_above_the_first_for_long_is_not) {
    mb_loss_watch watch = {0};
    cr_expect_eq(first_alarm(&watch, leaps, 5000), 10 + 300); /* the very next mean is above, and 300 have to be */
    cr_expect_float_eq(mb_loss_watch_first(&watch), 10, 1e-12);
}
