/* Learning-rate schedules as a function of progress in [0,1], by steps or by the clock. */
#ifndef MB_TRAIN_SCHEDULE_H
#define MB_TRAIN_SCHEDULE_H

#include <stdint.h>

typedef enum mb_schedule_shape { MB_SCHEDULE_LINEAR, MB_SCHEDULE_COSINE, MB_SCHEDULE_CONSTANT } mb_schedule_shape;
extern const char *const mb_schedule_names[]; /* "linear", "cosine", "constant", NULL */

/* Fraction of the peak rate at `progress` (0 start, 1 end): rises linearly over the first `warmup` (a fraction), then falls to
 * 0 (linear, cosine) or stays (constant). */
double mb_schedule_factor(mb_schedule_shape shape, double warmup, double progress);

#endif
