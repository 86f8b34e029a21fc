/* Lines of standard input to lines of wordpieces. */
#ifndef MB_CLI_ENCODE_LINES_H
#define MB_CLI_ENCODE_LINES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/job.h"
#include "minibert/status.h"

enum { MB_ENCODE_IDS, MB_ENCODE_TOKENS, MB_ENCODE_JSONL };
enum { MB_ENCODE_COMPAT_AUTO, MB_ENCODE_COMPAT_HF, MB_ENCODE_COMPAT_GOOGLE };

typedef struct mb_encode_lines_options {
    const char *model;
    int compat;
    int format;
    bool no_special;
    int64_t max_length; /* 0: no limit */
} mb_encode_lines_options;

/* One line of `out` for each line read, in order; the lines of a block are encoded in parallel. */
mb_status mb_encode_lines(const mb_encode_lines_options *options, const mb_job *job, FILE *out, mb_error *error);

#endif
