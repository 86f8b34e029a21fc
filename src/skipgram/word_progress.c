#include "skipgram/word_progress.h"

#include <math.h>

static const double LAST_ALPHA = 1e-4; /* of the first; word2vec.c's */

void mb_word_progress_begin(mb_word_progress *progress, const mb_word_training *training) {
    *progress = (mb_word_progress){
        .job = training->job,
        .alpha = training->alpha,
        .began_at = mb_clock_seconds(),
        .total_words = training->source->vocabulary->n_words * training->source->n_epochs,
    };
    pthread_mutex_init(&progress->mutex, NULL);
}

void mb_word_progress_add(mb_word_progress *progress, int64_t n_words, mb_word_step *step) {
    pthread_mutex_lock(&progress->mutex);
    progress->n_words += n_words;
    progress->n_pairs += step->n_pairs;
    progress->loss += mb_loss_sum_get(&step->loss);
    pthread_mutex_unlock(&progress->mutex);
    step->n_pairs = 0;
    step->loss = (mb_loss_sum){.product = 1};
    if (mb_job_should_stop(progress->job)) {
        __atomic_store_n(&progress->stopped, true, __ATOMIC_RELAXED);
    }
}

float mb_word_progress_alpha(mb_word_progress *progress) {
    pthread_mutex_lock(&progress->mutex);
    const double done = (double)progress->n_words / (double)(progress->total_words + 1);
    pthread_mutex_unlock(&progress->mutex);
    return (float)(progress->alpha * fmax(1 - done, LAST_ALPHA));
}

void mb_word_progress_report(mb_word_progress *progress) {
    pthread_mutex_lock(&progress->mutex);
    const int64_t n_words = progress->n_words, n_pairs = progress->n_pairs - progress->reported_pairs;
    const double loss = progress->loss - progress->reported_loss;
    progress->reported_pairs = progress->n_pairs;
    progress->reported_loss = progress->loss;
    pthread_mutex_unlock(&progress->mutex);
    const double seconds = mb_clock_seconds() - progress->began_at, rate = (double)n_words / seconds;
    const mb_progress report = {.phase = "train",
                                .unit = "words",
                                .done = n_words,
                                .total = progress->total_words,
                                .loss = n_pairs ? loss / (double)n_pairs : (double)NAN,
                                .learning_rate = (double)mb_word_progress_alpha(progress),
                                .tokens_per_second = rate,
                                .elapsed_seconds = seconds,
                                .eta_seconds = (double)(progress->total_words - n_words) / rate};
    mb_job_progress(progress->job, &report);
}

mb_status mb_word_progress_end(mb_word_progress *progress, mb_word_training *training, mb_error *error) {
    training->n_words = progress->n_words;
    training->n_pairs = progress->n_pairs;
    training->loss = progress->n_pairs ? progress->loss / (double)progress->n_pairs : 0;
    training->seconds = mb_clock_seconds() - progress->began_at;
    pthread_mutex_destroy(&progress->mutex);
    if (progress->stopped) {
        return mb_fail(error, MB_ERROR_INTERRUPTED, "interrupted after %lld of %lld words", (long long)progress->n_words,
                       (long long)progress->total_words);
    }
    if (!isfinite(training->loss)) {
        return mb_fail(error, MB_ERROR_DIVERGED, "training diverged: the loss is no number; lower --alpha");
    }
    return MB_OK;
}
