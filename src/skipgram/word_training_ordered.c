#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/threads.h"
#include "base/wraps.h"
#include "skipgram/rendezvous.h"
#include "skipgram/word_progress.h"
#include "skipgram/word_training.h"

/* A range of the text: its examples of a round are one step's. */
typedef struct range {
    mb_word_step step;
    mb_example_stream stream;
    mb_example example;
    bool ended;
} range;

typedef struct ordered_run {
    const mb_word_training *training;
    mb_word_progress progress;
    range *ranges[MB_ORDERED_RANGES];
    mb_rendezvous rendezvous;
    bool out_of_memory; /* atomic */
    bool more;          /* the first thread's to change, between two meetings; as is alpha */
    float alpha;
} ordered_run;

static void run_free(ordered_run *run) {
    for (int r = 0; r < MB_ORDERED_RANGES; r++) {
        if (run->ranges[r]) {
            mb_word_step_free(&run->ranges[r]->step);
        }
        free(run->ranges[r]);
    }
}

/* Of the longest example. */
static int64_t rows_needed(const mb_example_source *source) {
    const int64_t n_out = source->n_negatives + 1 + (source->tree ? source->tree->longest : 0);
    return 4 * (int64_t)source->window + n_out;
}

static mb_status run_init(ordered_run *run, const mb_word_training *training, mb_error *error) {
    *run = (ordered_run){.training = training, .more = true, .alpha = (float)training->alpha};
    for (int r = 0; r < MB_ORDERED_RANGES; r++) {
        range *made = mb_memory_alloc(sizeof *made);
        run->ranges[r] = made;
        if (!made) {
            return mb_fail(error, MB_ERROR_MEMORY, "out of memory for training");
        }
        made->ended = false;
        mb_example_stream_init(&made->stream, training->source, r, MB_ORDERED_RANGES);
        const mb_status status =
            mb_word_step_init(&made->step, training->model, MB_ORDERED_WINDOWS * rows_needed(training->source), error);
        if (status != MB_OK) {
            return status;
        }
    }
    return MB_OK;
}

/* The changes of a range's next examples, from the vectors as they are. */
static void compute_range(ordered_run *run, range *r) {
    mb_word_step_clear(&r->step);
    for (int k = 0; k < MB_ORDERED_WINDOWS && !r->ended; k++) {
        r->ended = !mb_example_stream_next(&r->stream, &r->example);
        if (!r->ended && !mb_word_step_compute(&r->step, run->training->model, &r->example, run->alpha)) {
            __atomic_store_n(&run->out_of_memory, true, __ATOMIC_RELAXED);
        }
    }
}

/* Which thread changes a row: all of a row's changes are one thread's, in their order. */
MB_WRAPS static unsigned owner(const float *row, unsigned n_threads) {
    const uint32_t hash = (uint32_t)((uintptr_t)row >> 6) * 2654435761u; /* Knuth's: 2^32 / golden ratio */
    return (unsigned)((uint64_t)hash * n_threads >> 32);
}

/* Applies the changes of the rows that are this thread's, range after range. */
static void apply(const ordered_run *run, unsigned thread, unsigned n_threads) {
    const int64_t width = run->training->model->width;
    for (int r = 0; r < MB_ORDERED_RANGES; r++) {
        const mb_word_step *step = &run->ranges[r]->step;
        for (int64_t k = 0; k < step->n_later; k++) {
            const mb_row_change *change = &step->later[k];
            if (owner(change->row, n_threads) == thread) {
                for (int64_t j = 0; j < width; j++) {
                    change->row[j] += change->scale * change->change[j];
                }
            }
        }
    }
}

/* Words read since the last round, and the ranges' losses, in their order. */
static void finish_round(ordered_run *run) {
    int64_t n_words = 0;
    bool more = false;
    for (int r = 0; r < MB_ORDERED_RANGES; r++) {
        n_words += run->ranges[r]->stream.n_words;
        more |= !run->ranges[r]->ended;
    }
    n_words -= run->progress.n_words;
    for (int r = 0; r < MB_ORDERED_RANGES; r++) {
        mb_word_progress_add(&run->progress, r == 0 ? n_words : 0, &run->ranges[r]->step);
    }
    run->more = more && !mb_word_progress_stopped(&run->progress) && !run->out_of_memory;
    run->alpha = mb_word_progress_alpha(&run->progress);
}

/* Between its two meetings a round reads the vectors, then changes them; the counts are the first thread's, while the others
 * change. */
static void work(ordered_run *run, int thread, int n_threads) {
    enum { REPORT_ROUNDS = 64 };
    for (int64_t round = 1; run->more; round++) {
        for (int r = thread; r < MB_ORDERED_RANGES; r += n_threads) {
            compute_range(run, run->ranges[r]);
        }
        mb_rendezvous_wait(&run->rendezvous);
        apply(run, (unsigned)thread, (unsigned)n_threads);
        if (thread == 0) {
            finish_round(run);
            if (round % REPORT_ROUNDS == 0) {
                mb_word_progress_report(&run->progress);
            }
        }
        mb_rendezvous_wait(&run->rendezvous);
    }
}

mb_status mb_word_training_run_ordered(mb_word_training *training, mb_error *error) {
    ordered_run run;
    mb_status status = run_init(&run, training, error);
    if (status == MB_OK) {
        mb_word_progress_begin(&run.progress, training);
#pragma omp parallel num_threads(mb_threads_count())
        {
#pragma omp single
            mb_rendezvous_init(&run.rendezvous, omp_get_num_threads(), omp_get_num_procs());
            work(&run, omp_get_thread_num(), omp_get_num_threads());
        }
        mb_rendezvous_destroy(&run.rendezvous);
        status = mb_word_progress_end(&run.progress, training, error);
        if (run.out_of_memory) {
            status = mb_fail(error, MB_ERROR_MEMORY, "out of memory for training");
        }
    }
    run_free(&run);
    return status;
}
