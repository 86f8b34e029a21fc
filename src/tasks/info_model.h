#ifndef MB_TASKS_INFO_MODEL_H
#define MB_TASKS_INFO_MODEL_H

#include <stdbool.h>

#include "base/buffer.h"
#include "minibert/status.h"

/* The part of mb_info that describes a model directory. `tensors`: every row of the parameter table instead of a summary. */
mb_status mb_info_model(const char *dir, bool tensors, mb_buffer *out, mb_error *error);

#endif
