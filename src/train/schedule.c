#include "train/schedule.h"

#include <math.h>
#include <stddef.h>

const char *const mb_schedule_names[] = {"linear", "cosine", "constant", NULL};

double mb_schedule_factor(mb_schedule_shape shape, double warmup, double progress) {
    progress = progress < 0 ? 0 : progress > 1 ? 1 : progress;
    if (progress < warmup) {
        return progress / warmup;
    }
    /* How much of the fall is done; a warm-up of the whole run has none. */
    double fallen = warmup < 1 ? (progress - warmup) / (1 - warmup) : 0;
    switch (shape) {
    case MB_SCHEDULE_LINEAR:
        return 1 - fallen;
    case MB_SCHEDULE_COSINE:
        return 0.5 * (1 + cos(3.14159265358979323846 * fallen));
    case MB_SCHEDULE_CONSTANT:
        break;
    }
    return 1;
}
