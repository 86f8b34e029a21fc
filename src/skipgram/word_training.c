#include "skipgram/word_training.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/threads.h"
#include "skipgram/word_progress.h"

enum { SYNC_WORDS = 10000, STEP_ROWS = 2 * MB_PAIRS_MAX_IN + MB_PAIRS_MAX_OUT };

/* A thread's own. */
typedef struct worker {
    mb_word_step step;
    mb_example_stream stream;
    mb_example examples[2]; /* one in work, one being fetched */
    int64_t synced_words;
    float alpha;
} worker;

/* Adds what the thread did since the last time to the common count, and takes the learning rate from it. */
static void share(worker *w, mb_word_progress *progress, bool reports) {
    mb_word_progress_add(progress, w->stream.n_words - w->synced_words, &w->step);
    w->synced_words = w->stream.n_words;
    w->alpha = mb_word_progress_alpha(progress);
    if (reports) {
        mb_word_progress_report(progress);
    }
}

static void work(worker *w, const mb_word_model *model, mb_word_progress *progress, bool reports) {
    int current = 0;
    bool more = mb_example_stream_next(&w->stream, &w->examples[0]);
    w->alpha = mb_word_progress_alpha(progress);
    while (more && !mb_word_progress_stopped(progress)) {
        more = mb_example_stream_next(&w->stream, &w->examples[!current]);
        if (more) {
            mb_word_model_prefetch(model, &w->examples[!current]);
        }
        mb_word_step_train(&w->step, model, &w->examples[current], w->alpha);
        current = !current;
        if (w->stream.n_words - w->synced_words >= SYNC_WORDS) {
            share(w, progress, reports);
        }
    }
    share(w, progress, false);
}

mb_status mb_word_training_run(mb_word_training *training, mb_error *error) {
    const int n_workers = mb_threads_count();
    worker **workers = calloc((size_t)n_workers, sizeof *workers);
    mb_status status = workers ? MB_OK : mb_fail(error, MB_ERROR_MEMORY, "out of memory for training");
    for (int i = 0; status == MB_OK && i < n_workers; i++) {
        workers[i] = mb_memory_alloc(sizeof **workers);
        if (!workers[i]) {
            status = mb_fail(error, MB_ERROR_MEMORY, "out of memory for training");
            break;
        }
        workers[i]->synced_words = 0;
        status = mb_word_step_init(&workers[i]->step, training->model, STEP_ROWS, error);
    }
    mb_word_progress progress;
    mb_word_progress_begin(&progress, training);
    if (status == MB_OK) {
#pragma omp parallel for schedule(static, 1)
        for (int i = 0; i < n_workers; i++) {
            mb_example_stream_init(&workers[i]->stream, training->source, i, n_workers);
            work(workers[i], training->model, &progress, i == 0);
        }
        status = mb_word_progress_end(&progress, training, error);
    }
    for (int i = 0; workers && i < n_workers; i++) {
        if (workers[i]) {
            mb_word_step_free(&workers[i]->step);
        }
        free(workers[i]);
    }
    free(workers);
    return status;
}
