/* Whether a run's loss has gone up for good. A single loss says little; the rule: the mean of about the last 100 steps lies
 * more than a quarter and 0.5 nats above the mean of the run's first 10 steps, for 300 steps on end. */
#ifndef MB_TRAIN_LOSS_WATCH_H
#define MB_TRAIN_LOSS_WATCH_H

#include <stdbool.h>
#include <stdint.h>

typedef struct mb_loss_watch { /* begins as {0}; part of a checkpoint */
    double first_sum;          /* over the first steps */
    double recent;             /* exponential mean */
    int64_t n_steps, n_above;  /* seen; on end above the limit */
} mb_loss_watch;

/* Adds the loss (finite) of one more step; true when the rule holds. */
bool mb_loss_watch_add(mb_loss_watch *watch, double loss);
/* The mean of the first steps; meaningful after ten. */
double mb_loss_watch_first(const mb_loss_watch *watch);

#endif
