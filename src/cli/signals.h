/* Ctrl-C and SIGTERM: the first one asks the work to stop (and save), the second one ends the process at once. */
#ifndef MB_CLI_SIGNALS_H
#define MB_CLI_SIGNALS_H

#include <signal.h>

void mb_signals_install(void);
/* The number of the first signal that came, 0 before. For mb_job.stop_signal. */
const volatile sig_atomic_t *mb_signals_stop(void);

#endif
