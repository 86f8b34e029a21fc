#include "base/job.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

void mb_job_message(const mb_job *job, mb_level level, const char *format, ...) {
    if (job == NULL || job->message == NULL) {
        return;
    }
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    job->message(job->user, level, text);
}

void mb_job_progress(const mb_job *job, const mb_progress *progress) {
    if (job != NULL && job->progress != NULL) {
        job->progress(job->user, progress);
    }
}

bool mb_job_should_stop(const mb_job *job) {
    return job != NULL && job->stop_signal != NULL && *job->stop_signal != 0;
}

double mb_clock_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}
