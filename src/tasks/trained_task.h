/* What a fine-tuned directory was trained for, and opening it for use on a file of that kind. */
#ifndef MB_TASKS_TRAINED_TASK_H
#define MB_TASKS_TRAINED_TASK_H

#include <stdint.h>

#include "data/labelled.h"
#include "minibert/status.h"

/* The choices of --task where it may be left out: "auto", then those of mb_task_names. */
extern const char *const mb_trained_task_names[];

/* `choice`: index in mb_trained_task_names. "auto": the "task" of DIR/training.json; a directory made by another program has
 * none, then MB_TASK_ANY: the file's columns decide. */
mb_status mb_trained_task(const char *dir, int choice, mb_task_kind *out, mb_error *error);

#endif
