/* How far training is, counted by all threads: learning rate, loss, words a second. */
#ifndef MB_SKIPGRAM_WORD_PROGRESS_H
#define MB_SKIPGRAM_WORD_PROGRESS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "skipgram/word_training.h"

typedef struct mb_word_progress {
    const mb_job *job;
    double alpha, began_at;
    int64_t total_words;   /* of all epochs */
    pthread_mutex_t mutex; /* for what follows */
    int64_t n_words, n_pairs, reported_pairs;
    double loss, reported_loss; /* sums */
    bool stopped;               /* atomic */
} mb_word_progress;

void mb_word_progress_begin(mb_word_progress *progress, const mb_word_training *training);
/* Adds `n_words` and what `step` counted, whose counts begin anew. */
void mb_word_progress_add(mb_word_progress *progress, int64_t n_words, mb_word_step *step);
float mb_word_progress_alpha(mb_word_progress *progress);
/* The loss reported is the mean since the last report. */
void mb_word_progress_report(mb_word_progress *progress);
static inline bool mb_word_progress_stopped(const mb_word_progress *progress) {
    return __atomic_load_n(&progress->stopped, __ATOMIC_RELAXED);
}
/* Fills the results of `training`. MB_ERROR_INTERRUPTED if the user stopped it, MB_ERROR_DIVERGED if the loss is no number. */
mb_status mb_word_progress_end(mb_word_progress *progress, mb_word_training *training, mb_error *error);

#endif
