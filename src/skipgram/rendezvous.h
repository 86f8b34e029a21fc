/* A barrier for rounds of a tenth of a millisecond. OpenMP's spins for long: when other programs take a core, the threads that
 * have theirs wait on it at full speed. This one looks a few times and then sleeps. */
#ifndef MB_SKIPGRAM_RENDEZVOUS_H
#define MB_SKIPGRAM_RENDEZVOUS_H

#include <pthread.h>
#include <stdint.h>

typedef struct mb_rendezvous {
    pthread_mutex_t mutex;
    pthread_cond_t opened;
    int n_threads, n_arrived; /* n_arrived: guarded by the mutex */
    uint32_t round;           /* atomic; changes when all are there */
    int n_looks;              /* before a thread sleeps */
} mb_rendezvous;

/* n_cores: more threads than that sleep at once. */
void mb_rendezvous_init(mb_rendezvous *rendezvous, int n_threads, int n_cores);
void mb_rendezvous_destroy(mb_rendezvous *rendezvous);
/* Returns when all threads have called it. What each wrote before, all see after. */
void mb_rendezvous_wait(mb_rendezvous *rendezvous);

#endif
