#include "cli/progress.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const double LIVE_SECONDS = 0.1; /* between two states of the live line */
static const double PLAIN_SECONDS = 5;  /* between two plain lines without --log-every */
static const double BRIEF_SECONDS = 1;  /* a phase over sooner than this leaves no plain line */

void mb_progress_line_init(mb_progress_line *line, FILE *out, bool quiet, int64_t log_every) {
    *line = (mb_progress_line){.out = out, .quiet = quiet, .log_every = log_every, .shown_at = -INFINITY};
    line->live = isatty(fileno(out)) == 1 && log_every == 0;
}

void mb_progress_line_close(mb_progress_line *line) {
    if (line->open) {
        (void)fputc('\n', line->out);
        line->open = false;
    }
}

void mb_progress_line_message(void *user, mb_level level, const char *text) {
    mb_progress_line *line = user;
    if (line->quiet && level == MB_LEVEL_INFO) {
        return;
    }
    if (line->open) { /* the message takes the live line's place; the next report draws it anew, below */
        (void)fputs("\r\033[K", line->out);
        line->open = false;
    }
    fprintf(line->out, "%s%s\n", level == MB_LEVEL_WARNING ? "warning: " : "", text);
}

/* 950, 12.3k, 4.56M */
static void format_count(double n, char *out, size_t out_bytes) {
    if (n < 1000) {
        snprintf(out, out_bytes, "%.0f", n);
    } else if (n < 1e6) {
        snprintf(out, out_bytes, "%.1fk", n / 1e3);
    } else {
        snprintf(out, out_bytes, "%.2fM", n / 1e6);
    }
}

/* 0:07, 12:30, 1:02:03 */
static void format_time(double seconds, char *out, size_t out_bytes) {
    const int64_t s = (int64_t)(fmin(fmax(seconds, 0), 1e9) + 0.5);
    const long long hours = (long long)(s / 3600), minutes = (long long)(s / 60 % 60), rest = (long long)(s % 60);
    if (hours) {
        snprintf(out, out_bytes, "%lld:%02lld:%02lld", hours, minutes, rest);
    } else {
        snprintf(out, out_bytes, "%lld:%02lld", minutes, rest);
    }
}

/* Appends at the end of the text; what does not fit is cut. */
__attribute__((format(printf, 3, 4))) static void append(char *out, size_t out_bytes, const char *format, ...) {
    const size_t used = strlen(out);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(out + used, out_bytes - used, format, arguments);
    va_end(arguments);
}

void mb_progress_format(const mb_progress *p, char *out, size_t out_bytes) {
    char text[32];
    snprintf(out, out_bytes, "%s %lld", p->phase ? p->phase : "work", (long long)p->done);
    if (p->total > 0) {
        append(out, out_bytes, "/%lld", (long long)p->total);
    }
    append(out, out_bytes, " %s", p->unit ? p->unit : "");
    if (p->total > 0) {
        append(out, out_bytes, " (%.0f%%)", floor(100 * (double)p->done / (double)p->total));
    }
    if (isfinite(p->loss)) {
        append(out, out_bytes, "  loss %.4f", p->loss);
        if (p->usual_high > 0) {
            append(out, out_bytes, " (usual: %.1f-%.1f)", p->usual_low, p->usual_high);
        }
        append(out, out_bytes, "%s%s", p->stage ? ", " : "", p->stage ? p->stage : "");
    }
    if (isfinite(p->learning_rate)) {
        append(out, out_bytes, "  lr %.2e", p->learning_rate);
    }
    if (isfinite(p->tokens_per_second) && p->tokens_per_second > 0) {
        format_count(p->tokens_per_second, text, sizeof text);
        append(out, out_bytes, "  %s tokens/s", text);
    }
    if (isfinite(p->elapsed_seconds) && p->elapsed_seconds > 0) {
        format_time(p->elapsed_seconds, text, sizeof text);
        append(out, out_bytes, "  %s gone", text);
    }
    if (isfinite(p->eta_seconds)) {
        format_time(p->eta_seconds, text, sizeof text);
        append(out, out_bytes, ", %s left", text);
    }
}

static size_t terminal_columns(FILE *out) {
    struct winsize size;
    return ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

static bool is_due(const mb_progress_line *line, const mb_progress *p, double now) {
    if (p->total > 0 && p->done >= p->total && line->done != p->done) { /* the end of a phase */
        return line->live || line->phase_shown || now - line->phase_began_at >= BRIEF_SECONDS;
    }
    if (line->log_every > 0) {
        return p->done / line->log_every != line->reported / line->log_every;
    }
    return now - line->shown_at >= (line->live ? LIVE_SECONDS : PLAIN_SECONDS);
}

void mb_progress_line_show(void *user, const mb_progress *p) {
    mb_progress_line *line = user;
    if (line->quiet) {
        return;
    }
    const double now = mb_clock_seconds();
    if (strncmp(line->phase, p->phase ? p->phase : "", sizeof line->phase - 1) != 0) {
        /* Training comes back after each evaluation, somewhere in the middle. */
        line->reported = line->phase[0] && p->done > 0 ? p->done - 1 : 0;
        snprintf(line->phase, sizeof line->phase, "%s", p->phase ? p->phase : "");
        line->done = 0;
        line->phase_began_at = now;
        line->phase_shown = false;
        line->shown_at = line->live ? -INFINITY : now;
    }
    const bool due = is_due(line, p, now);
    line->reported = p->done;
    if (!due) {
        return;
    }
    char text[300];
    mb_progress_format(p, text, sizeof text);
    if (line->live) {
        const size_t columns = terminal_columns(line->out);
        if (columns < sizeof text) {
            text[columns - 1] = '\0';
        }
        fprintf(line->out, "\r%s\033[K", text);
        line->open = true;
    } else {
        fprintf(line->out, "%s\n", text);
    }
    (void)fflush(line->out);
    line->done = p->done;
    line->shown_at = now;
    line->phase_shown = true;
}
