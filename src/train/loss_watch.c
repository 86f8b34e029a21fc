#include "train/loss_watch.h"

enum { FIRST_STEPS = 10, RECENT_STEPS = 100, LONG_STEPS = 300 };

double mb_loss_watch_first(const mb_loss_watch *watch) {
    return watch->first_sum / FIRST_STEPS;
}

bool mb_loss_watch_add(mb_loss_watch *watch, double loss) {
    if (watch->n_steps < FIRST_STEPS) {
        watch->first_sum += loss;
    }
    watch->n_steps++;
    watch->recent += (loss - watch->recent) / (double)(watch->n_steps < RECENT_STEPS ? watch->n_steps : RECENT_STEPS);
    const bool above = watch->n_steps > FIRST_STEPS && watch->recent > 1.25 * mb_loss_watch_first(watch) + 0.5;
    watch->n_above = above ? watch->n_above + 1 : 0;
    return watch->n_above >= LONG_STEPS;
}
