#include "cli/signals.h"

#include <errno.h>
#include <stddef.h>
#include <unistd.h>

static volatile sig_atomic_t stop_signal; /* a handler can reach nothing but a global */

/* The terminal that went tells its processes twice: the kernel does, and so does the shell. */
static void on_signal(int number) {
    if (stop_signal && number == SIGHUP) {
        return;
    }
    if (stop_signal) {
        _exit(128 + number);
    }
    stop_signal = number;
    static const char text[] = "\nminibert is stopping; once more to end it at once\n";
    const int before = errno;
    const ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
    (void)written; /* nothing can be done about it here */
    errno = before;
}

void mb_signals_install(void) {
    struct sigaction action = {.sa_handler = on_signal}, inherited;
    sigemptyset(&action.sa_mask);
    /* No SA_RESTART: a read that waits for standard input must come back, so that the command can stop. */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (sigaction(SIGHUP, NULL, &inherited) == 0 && inherited.sa_handler != SIG_IGN) { /* nohup: it is to be ignored */
        sigaction(SIGHUP, &action, NULL);
    }
    (void)signal(SIGPIPE, SIG_IGN); /* a closed pipe is a write error, reported like any other */
}

const volatile sig_atomic_t *mb_signals_stop(void) {
    return &stop_signal;
}
