#include "data/prefetch.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/job.h"

/* Batch number k (from 0) lives in slot k % n_slots. The producer makes batch n_made while n_made - n_released < n_slots; the
 * consumer holds the batches from n_released to n_taken. */
struct mb_prefetch {
    const mb_batcher *batcher;
    int64_t first_index;
    int32_t n_slots;
    mb_batch *slots;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t made, released;
    int64_t n_made, n_taken, n_released;
    bool stop;
    mb_status status; /* of the batch n_made, after which none is made */
    mb_error error;
    double waited_seconds; /* the consumer's own */
};

static void *produce(void *argument) {
    mb_prefetch *prefetch = argument;
    pthread_mutex_lock(&prefetch->mutex);
    for (;;) {
        while (!prefetch->stop && prefetch->n_made - prefetch->n_released >= prefetch->n_slots) {
            pthread_cond_wait(&prefetch->released, &prefetch->mutex);
        }
        if (prefetch->stop) {
            break;
        }
        mb_batch *slot = &prefetch->slots[prefetch->n_made % prefetch->n_slots];
        const int64_t index = prefetch->first_index + prefetch->n_made;
        pthread_mutex_unlock(&prefetch->mutex); /* the slot is the producer's until n_made passes it */
        mb_error error;
        const mb_status status = mb_batcher_get(prefetch->batcher, index, slot, &error);
        pthread_mutex_lock(&prefetch->mutex);
        if (status == MB_OK) {
            prefetch->n_made++;
        } else {
            prefetch->status = status;
            prefetch->error = error;
        }
        pthread_cond_signal(&prefetch->made);
        if (status != MB_OK) {
            break;
        }
    }
    pthread_mutex_unlock(&prefetch->mutex);
    return NULL;
}

static void free_slots(mb_prefetch *prefetch) {
    for (int32_t i = 0; i < prefetch->n_slots; i++) {
        mb_batch_free(&prefetch->slots[i]);
    }
    free(prefetch->slots);
    pthread_cond_destroy(&prefetch->made);
    pthread_cond_destroy(&prefetch->released);
    pthread_mutex_destroy(&prefetch->mutex);
    free(prefetch);
}

mb_status mb_prefetch_new(const mb_batcher *batcher, int64_t first_index, int32_t n_slots, mb_prefetch **out, mb_error *error) {
    *out = NULL;
    if (n_slots < 1) {
        return mb_fail(error, MB_ERROR_USAGE, "%d batches ahead are out of range: at least 1", n_slots);
    }
    mb_prefetch *prefetch = calloc(1, sizeof(*prefetch));
    mb_batch *slots = calloc((size_t)n_slots, sizeof(*slots));
    if (prefetch == NULL || slots == NULL) {
        free(prefetch);
        free(slots);
        return mb_fail(error, MB_ERROR_MEMORY, "cannot make %d batches ahead: out of memory", n_slots);
    }
    prefetch->batcher = batcher;
    prefetch->first_index = first_index;
    prefetch->n_slots = n_slots;
    prefetch->slots = slots;
    pthread_mutex_init(&prefetch->mutex, NULL); /* these three cannot fail with default attributes on Linux */
    pthread_cond_init(&prefetch->made, NULL);
    pthread_cond_init(&prefetch->released, NULL);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the new thread inherits the mask: handlers run on the caller's threads */
    const int reason = pthread_create(&prefetch->thread, NULL, produce, prefetch);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (reason != 0) {
        free_slots(prefetch);
        return mb_fail(error, MB_ERROR_MEMORY, "cannot start the thread that makes batches: %s", strerror(reason));
    }
    *out = prefetch;
    return MB_OK;
}

mb_status mb_prefetch_next(mb_prefetch *prefetch, int32_t n, const mb_batch **batches, mb_error *error) {
    if (n < 1 || n > prefetch->n_slots) {
        return mb_fail(error, MB_ERROR_USAGE, "%d batches at a time are out of range: 1 to %d", n, prefetch->n_slots);
    }
    mb_status status = MB_OK;
    pthread_mutex_lock(&prefetch->mutex);
    prefetch->n_released = prefetch->n_taken;
    pthread_cond_signal(&prefetch->released);
    const int64_t first = prefetch->n_taken;
    if (prefetch->n_made < first + n && prefetch->status == MB_OK) {
        const double begin_seconds = mb_clock_seconds();
        while (prefetch->n_made < first + n && prefetch->status == MB_OK) {
            pthread_cond_wait(&prefetch->made, &prefetch->mutex);
        }
        prefetch->waited_seconds += mb_clock_seconds() - begin_seconds;
    }
    if (prefetch->n_made >= first + n) {
        for (int32_t i = 0; i < n; i++) {
            batches[i] = &prefetch->slots[(first + i) % prefetch->n_slots];
        }
        prefetch->n_taken = first + n;
    } else {
        status = mb_fail(error, prefetch->status, "%s", prefetch->error.message);
    }
    pthread_mutex_unlock(&prefetch->mutex);
    return status;
}

double mb_prefetch_waited_seconds(const mb_prefetch *prefetch) {
    return prefetch->waited_seconds;
}

void mb_prefetch_free(mb_prefetch *prefetch) {
    if (prefetch == NULL) {
        return;
    }
    pthread_mutex_lock(&prefetch->mutex);
    prefetch->stop = true;
    pthread_cond_signal(&prefetch->released);
    pthread_mutex_unlock(&prefetch->mutex);
    pthread_join(prefetch->thread, NULL);
    free_slots(prefetch);
}
