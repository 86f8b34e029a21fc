/* Progress on standard error: one live line on a terminal, plain lines otherwise, not more often than anyone can read. */
#ifndef MB_CLI_PROGRESS_H
#define MB_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/job.h"

typedef struct mb_progress_line {
    FILE *out; /* standard error */
    bool live; /* `out` is a terminal */
    bool quiet;
    int64_t log_every; /* a plain line each N units; 0: the live line, or a plain line each few seconds */
    char phase[32];    /* of the last report */
    double phase_began_at;
    bool phase_shown; /* some line of this phase was shown */
    int64_t reported; /* `done` of the last report */
    int64_t done;     /* of the last line shown */
    double shown_at;  /* mb_clock_seconds of it */
    bool open;        /* a live line stands on the terminal, without its line feed */
} mb_progress_line;

void mb_progress_line_init(mb_progress_line *line, FILE *out, bool quiet, int64_t log_every);
/* mb_job's callbacks; `user` is the mb_progress_line. */
void mb_progress_line_message(void *user, mb_level level, const char *text);
void mb_progress_line_show(void *user, const mb_progress *progress);
/* Ends a live line, so that whatever is printed next begins on a line of its own. */
void mb_progress_line_close(mb_progress_line *line);

/* "train 1200/5000 steps (24%)  loss 5.123  lr 4.5e-04  12.3k tokens/s  1:05 gone, 3:20 left" */
void mb_progress_format(const mb_progress *progress, char *out, size_t out_bytes);

#endif
