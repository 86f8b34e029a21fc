/* What a long job needs from its caller: where to report, and how it is told to stop. The library prints nothing itself. */
#ifndef MB_BASE_JOB_H
#define MB_BASE_JOB_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum mb_level { MB_LEVEL_INFO, MB_LEVEL_WARNING } mb_level;

/* A moment of a long job. Numbers that do not apply are NAN (reals) or 0 (counts). */
typedef struct mb_progress {
    const char *phase;            /* "tokenize", "train", "evaluate", "embed" ... */
    const char *unit;             /* what done/total count: "steps", "lines", "bytes" */
    int64_t done, total;          /* total 0: not known */
    double loss;                  /* running mean since the last report */
    const char *stage;            /* what that loss means, in words; may be NULL */
    double usual_low, usual_high; /* between what such a loss usually is by now; 0: not known */
    double learning_rate;
    double tokens_per_second;
    double elapsed_seconds, eta_seconds;
} mb_progress;

typedef struct mb_job {
    void *user;
    void (*message)(void *user, mb_level level, const char *text); /* one line without "\n"; may be NULL */
    void (*progress)(void *user, const mb_progress *progress);     /* called often; the receiver rate-limits; may be NULL */
    const volatile sig_atomic_t *stop_signal; /* becomes the signal's number when the user asks to stop; may be NULL */
    int n_threads;                            /* 0: all cores */
    bool bf16; /* --precision: models keep their activations in bf16 and multiply in it; false: fp32 */
} mb_job;

/* `job` may be NULL in all of these. */
__attribute__((format(printf, 3, 4))) void mb_job_message(const mb_job *job, mb_level level, const char *format, ...);
void mb_job_progress(const mb_job *job, const mb_progress *progress);
bool mb_job_should_stop(const mb_job *job);
/* Monotonic seconds. */
double mb_clock_seconds(void);

#endif
