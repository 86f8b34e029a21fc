/* OpenMP owns the threads. All parallel loops of minibert cut their work by size alone, never by the number of threads, and
 * add partial results in a fixed order, so results do not depend on --threads. */
#ifndef MB_BASE_THREADS_H
#define MB_BASE_THREADS_H

/* Sets the number of threads of all later parallel regions; 0: as many as cores. Returns the number in use. */
int mb_threads_set(int n_threads);
int mb_threads_count(void);

#endif
