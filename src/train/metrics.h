/* metrics.jsonl: the history of a run, one JSON object a line, appended as it happens.
 *
 *   {"event":"train","step":50,"tokens":409600,"seconds":12.1,"loss":8.1,"learning_rate":4e-4,"grad_norm":0.9,...}
 *   {"event":"evaluation","step":100,...,"loss":6.9,"perplexity":992.3,"accuracy":0.08,...}
 *
 * The event of a step is the trainer's phase: finetune --adapt-epochs writes "adapt" before "train". */
#ifndef MB_TRAIN_METRICS_H
#define MB_TRAIN_METRICS_H

#include <jansson.h>
#include <stdint.h>

#include "minibert/status.h"

typedef struct mb_metrics mb_metrics;

/* Opens DIR/metrics.jsonl for appending. Records of an earlier run with a "step" beyond `resumed_step` are dropped first
 * (they will be made again), and so is a last line that a crash cut short; -1 drops everything. */
mb_status mb_metrics_open(const char *dir, int64_t resumed_step, mb_metrics **out, mb_error *error);
/* One line, flushed. `record` stays the caller's. */
mb_status mb_metrics_append(mb_metrics *metrics, const json_t *record, mb_error *error);
mb_status mb_metrics_close(mb_metrics *metrics, mb_error *error); /* always frees; fine on NULL */

#endif
