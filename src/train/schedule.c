#include "train/schedule.h"

#include <math.h>
#include <stddef.h>

const char *const mb_schedule_names[] = {"linear", "cosine", "constant", "trapezoid", NULL};

mb_status mb_schedule_check(const mb_schedule *schedule, mb_error *error) {
    if (schedule->shape == MB_SCHEDULE_TRAPEZOID && schedule->warmup + schedule->decay > 1) {
        return mb_fail(error, MB_ERROR_USAGE, "--warmup %g and --decay-fraction %g are together more than the whole run",
                       schedule->warmup, schedule->decay);
    }
    return MB_OK;
}

static double clamp(double progress) {
    return progress < 0 ? 0 : progress > 1 ? 1 : progress;
}

double mb_schedule_factor(const mb_schedule *schedule, double progress) {
    const double warmup = schedule->warmup;
    progress = clamp(progress);
    if (progress < warmup) {
        return progress / warmup;
    }
    /* How much of the fall is done; a warm-up of the whole run has none. */
    const double fallen = warmup < 1 ? (progress - warmup) / (1 - warmup) : 0;
    switch (schedule->shape) {
    case MB_SCHEDULE_LINEAR:
        return 1 - fallen;
    case MB_SCHEDULE_COSINE:
        return 0.5 * (1 + cos(3.14159265358979323846 * fallen));
    case MB_SCHEDULE_TRAPEZOID:
        return progress > 1 - schedule->decay ? (1 - progress) / schedule->decay : 1;
    case MB_SCHEDULE_CONSTANT:
        break;
    }
    return 1;
}

double mb_schedule_between(double start, double end, double progress) {
    return start + (end - start) * clamp(progress);
}
