#include "base/threads.h"

#include <omp.h>

int mb_threads_set(int n_threads) {
    omp_set_num_threads(n_threads > 0 ? n_threads : omp_get_num_procs());
    return mb_threads_count();
}

int mb_threads_count(void) {
    return omp_get_max_threads();
}
