/* What a file or directory that minibert reads or writes is. */
#ifndef MB_TASKS_INFO_H
#define MB_TASKS_INFO_H

#include <stdbool.h>

#include "base/buffer.h"
#include "base/options.h"
#include "minibert/status.h"

typedef struct mb_info_options {
    const char *path;
    bool tensors;
} mb_info_options;

extern const mb_option mb_info_option_table[];

/* Appends a description for people to `out`: of a model directory its architecture, parameter table, vocabulary and training;
 * of a safetensors file its tensors; of a token shard or an npy file its sizes. Each file is checked as it is when it is used.
 * MB_ERROR_FORMAT for a file that is none of these. */
mb_status mb_info(const mb_info_options *options, mb_buffer *out, mb_error *error);

#endif
