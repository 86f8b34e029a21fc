/* Schedules as a function of progress in [0,1], by steps or by the clock. */
#ifndef MB_TRAIN_SCHEDULE_H
#define MB_TRAIN_SCHEDULE_H

#include "minibert/status.h"

typedef enum mb_schedule_shape {
    MB_SCHEDULE_LINEAR,
    MB_SCHEDULE_COSINE,
    MB_SCHEDULE_CONSTANT,
    MB_SCHEDULE_TRAPEZOID,
} mb_schedule_shape;
extern const char *const mb_schedule_names[]; /* "linear", "cosine", "constant", "trapezoid", NULL */

typedef struct mb_schedule {
    mb_schedule_shape shape;
    double warmup; /* fraction of the run in which the rate rises */
    double decay;  /* fraction of the run in which a trapezoid falls; warmup + decay <= 1. The other shapes do not look at it */
} mb_schedule;

/* MB_ERROR_USAGE when a trapezoid's warm-up and fall do not fit into the run together. */
mb_status mb_schedule_check(const mb_schedule *schedule, mb_error *error);
/* Fraction of the peak rate at `progress` (0 start, 1 end): rises linearly over the warm-up, then falls to 0 at once (linear,
 * cosine: Loshchilov & Hutter 2017) or at the end (trapezoid: "warm-up, stable, decay", Hu et al. 2024, section 4), or stays.
 */
double mb_schedule_factor(const mb_schedule *schedule, double progress);

/* From `start` to `end` in a straight line over the run: mask rates, batch sizes. */
double mb_schedule_between(double start, double end, double progress);

#endif
