/* Batches made ahead of time by one background thread, handed out in order.
 *
 *     mb_prefetch *prefetch;
 *     if (mb_prefetch_new(batcher, first_index, 2 * group, &prefetch, &error) != MB_OK) ...
 *     const mb_batch *batches[group];
 *     while (training)
 *         if (mb_prefetch_next(prefetch, group, batches, &error) != MB_OK) ...
 *     mb_prefetch_free(prefetch);
 *
 * The ring's memory is allocated while it fills for the first time; after that neither thread allocates. */
#ifndef MB_DATA_PREFETCH_H
#define MB_DATA_PREFETCH_H

#include <stdint.h>

#include "data/batch.h"
#include "minibert/status.h"

typedef struct mb_prefetch mb_prefetch;

/* Starts making the batches first_index, first_index + 1, ... into a ring of n_slots >= 1 batches. `batcher` must outlive it.
 * With n_slots at least twice the group taken at a time, the next group is made while the caller works on this one. Signals
 * are not delivered to the thread. */
mb_status mb_prefetch_new(const mb_batcher *batcher, int64_t first_index, int32_t n_slots, mb_prefetch **out, mb_error *error);

/* The next n batches (1 <= n <= n_slots), waiting until they are made. They stay valid until the next call or free. A batch
 * that could not be made is reported here, in its turn, and by every later call. One consumer at a time. */
mb_status mb_prefetch_next(mb_prefetch *prefetch, int32_t n, const mb_batch **batches, mb_error *error);

/* Seconds that mb_prefetch_next has waited, in total: what data loading cost the caller. */
double mb_prefetch_waited_seconds(const mb_prefetch *prefetch);

/* Stops the thread, joins it and frees everything; fine on NULL. Takes at most the time of one batch. */
void mb_prefetch_free(mb_prefetch *prefetch);

#endif
