#include "skipgram/rendezvous.h"

#include <stdbool.h>

enum { LOOKS = 1500 }; /* some 30 microseconds: waking a sleeper takes as long */

void mb_rendezvous_init(mb_rendezvous *rendezvous, int n_threads, int n_cores) {
    *rendezvous = (mb_rendezvous){.n_threads = n_threads, .n_looks = n_threads > n_cores ? 0 : LOOKS};
    pthread_mutex_init(&rendezvous->mutex, NULL);
    pthread_cond_init(&rendezvous->opened, NULL);
}

void mb_rendezvous_destroy(mb_rendezvous *rendezvous) {
    pthread_mutex_destroy(&rendezvous->mutex);
    pthread_cond_destroy(&rendezvous->opened);
}

static bool is_open(const mb_rendezvous *rendezvous, uint32_t round) {
    return __atomic_load_n(&rendezvous->round, __ATOMIC_ACQUIRE) != round;
}

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

void mb_rendezvous_wait(mb_rendezvous *rendezvous) {
    pthread_mutex_lock(&rendezvous->mutex);
    const uint32_t round = __atomic_load_n(&rendezvous->round, __ATOMIC_RELAXED);
    if (++rendezvous->n_arrived == rendezvous->n_threads) {
        rendezvous->n_arrived = 0;
        __atomic_store_n(&rendezvous->round, round + 1, __ATOMIC_RELEASE);
        pthread_cond_broadcast(&rendezvous->opened);
        pthread_mutex_unlock(&rendezvous->mutex);
        return;
    }
    pthread_mutex_unlock(&rendezvous->mutex);
    for (int i = 0; i < rendezvous->n_looks; i++) {
        if (is_open(rendezvous, round)) {
            return;
        }
        relax();
    }
    pthread_mutex_lock(&rendezvous->mutex);
    while (!is_open(rendezvous, round)) {
        pthread_cond_wait(&rendezvous->opened, &rendezvous->mutex);
    }
    pthread_mutex_unlock(&rendezvous->mutex);
}
