/* Ctrl-C, SIGTERM and the terminal that goes (SIGHUP, unless nohup has it ignored): the first one asks the work to stop (and
 * save), a second one ends the process at once, but for SIGHUP, which often comes twice. */
#ifndef MB_CLI_SIGNALS_H
#define MB_CLI_SIGNALS_H

#include <signal.h>

void mb_signals_install(void);
/* The number of the first signal that came, 0 before. For mb_job.stop_signal. */
const volatile sig_atomic_t *mb_signals_stop(void);

#endif
