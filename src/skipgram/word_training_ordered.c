#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "skipgram/word_progress.h"
#include "skipgram/word_training.h"

enum { STEP_ROWS = 2 * MB_PAIRS_MAX_IN + MB_PAIRS_MAX_OUT, N_SLOTS = MB_ORDERED_RANGES * MB_ORDERED_WINDOWS };

/* An example's place in a round. */
typedef struct slot {
    mb_word_step *step;
    bool used;
} slot;

typedef struct ordered_run {
    const mb_word_model *model;
    mb_example_stream *streams; /* MB_ORDERED_RANGES */
    bool *ended;
    slot slots[N_SLOTS];
    mb_example *examples; /* N_SLOTS */
    bool out_of_memory;   /* atomic */
} ordered_run;

static void run_free(ordered_run *run) {
    for (int i = 0; i < N_SLOTS; i++) {
        if (run->slots[i].step) {
            mb_word_step_free(run->slots[i].step);
        }
        free(run->slots[i].step);
    }
    free(run->streams);
    free(run->ended);
    free(run->examples);
}

static int64_t rows_needed(const mb_example_source *source) {
    const int64_t n_out = source->n_negatives + 1 + (source->tree ? source->tree->longest : 0);
    return 4 * (int64_t)source->window + n_out;
}

static mb_status run_init(ordered_run *run, const mb_word_training *training, mb_error *error) {
    *run = (ordered_run){.model = training->model};
    run->streams = calloc(MB_ORDERED_RANGES, sizeof *run->streams);
    run->ended = calloc(MB_ORDERED_RANGES, sizeof *run->ended);
    run->examples = calloc(N_SLOTS, sizeof *run->examples);
    mb_status status = run->streams && run->ended && run->examples ? MB_OK : MB_ERROR_MEMORY;
    for (int i = 0; status == MB_OK && i < N_SLOTS; i++) {
        run->slots[i].step = aligned_alloc(64, (sizeof(mb_word_step) + 63) / 64 * 64);
        if (!run->slots[i].step) {
            status = MB_ERROR_MEMORY;
            break;
        }
        status = mb_word_step_init(run->slots[i].step, training->model, rows_needed(training->source), error);
    }
    for (int r = 0; status == MB_OK && r < MB_ORDERED_RANGES; r++) {
        mb_example_stream_init(&run->streams[r], training->source, r, MB_ORDERED_RANGES);
    }
    return status == MB_OK ? MB_OK : mb_fail(error, MB_ERROR_MEMORY, "out of memory for training");
}

/* The changes of a range's next examples, from the vectors as they are. */
static void compute_range(ordered_run *run, int range, float alpha) {
    for (int k = 0; k < MB_ORDERED_WINDOWS; k++) {
        const int i = range * MB_ORDERED_WINDOWS + k;
        run->slots[i].used = !run->ended[range] && mb_example_stream_next(&run->streams[range], &run->examples[i]);
        run->ended[range] = !run->slots[i].used;
        if (run->slots[i].used && !mb_word_step_compute(run->slots[i].step, run->model, &run->examples[i], alpha)) {
            __atomic_store_n(&run->out_of_memory, true, __ATOMIC_RELAXED);
        }
    }
}

/* Applies the changes of the rows that are this thread's, slot after slot. */
static void apply(const ordered_run *run, size_t thread, size_t n_threads) {
    const int64_t width = run->model->width, stride = run->model->stride;
    for (int i = 0; i < N_SLOTS; i++) {
        const mb_word_step *step = run->slots[i].step;
        for (int64_t k = 0; run->slots[i].used && k < step->n_later; k++) {
            const mb_row_change *change = &step->later[k];
            if ((size_t)change->row / ((size_t)stride * sizeof(float)) % n_threads == thread) {
                for (int64_t j = 0; j < width; j++) {
                    change->row[j] += change->scale * change->change[j];
                }
            }
        }
    }
}

/* Words read since the last round, and the slots' losses, in their order. */
static bool finish_round(ordered_run *run, mb_word_progress *progress) {
    int64_t n_words = 0;
    bool more = false;
    for (int r = 0; r < MB_ORDERED_RANGES; r++) {
        n_words += run->streams[r].n_words;
        more |= !run->ended[r];
    }
    n_words -= progress->n_words;
    for (int i = 0; i < N_SLOTS; i++) {
        mb_word_progress_add(progress, i == 0 ? n_words : 0, run->slots[i].step);
    }
    return more && !progress->stopped && !run->out_of_memory;
}

mb_status mb_word_training_run_ordered(mb_word_training *training, mb_error *error) {
    ordered_run *run = malloc(sizeof *run);
    if (!run) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for training");
    }
    mb_status status = run_init(run, training, error);
    mb_word_progress progress;
    mb_word_progress_begin(&progress, training);
    float alpha = (float)training->alpha;
    bool more = status == MB_OK;
    int64_t n_rounds = 0;
#pragma omp parallel if (more)
    while (more) {
#pragma omp for schedule(static)
        for (int r = 0; r < MB_ORDERED_RANGES; r++) {
            compute_range(run, r, alpha);
        }
        apply(run, (size_t)omp_get_thread_num(), (size_t)omp_get_num_threads());
#pragma omp barrier
#pragma omp single
        {
            more = finish_round(run, &progress);
            alpha = mb_word_progress_alpha(&progress);
            if (++n_rounds % 64 == 0) {
                mb_word_progress_report(&progress);
            }
        }
    }
    if (status == MB_OK) {
        const bool out_of_memory = run->out_of_memory;
        status = mb_word_progress_end(&progress, training, error);
        if (out_of_memory) {
            status = mb_fail(error, MB_ERROR_MEMORY, "out of memory for training");
        }
    }
    run_free(run);
    free(run);
    return status;
}
