/* The training loop of word vectors, in two kinds: as fast as it goes, or the same to the byte at any number of threads. */
#ifndef MB_SKIPGRAM_WORD_TRAINING_H
#define MB_SKIPGRAM_WORD_TRAINING_H

#include <stdint.h>

#include "base/job.h"
#include "minibert/status.h"
#include "skipgram/examples.h"
#include "skipgram/word_model.h"

typedef struct mb_word_training {
    const mb_example_source *source;
    const mb_word_model *model;
    double alpha; /* falls linearly, by the words read, to a ten-thousandth of itself */
    const mb_job *job;

    /* results */
    int64_t n_words, n_pairs;
    double loss; /* mean over the pairs of all epochs of -log sigma(+-f), summed over a pair's outputs */
    double seconds;
} mb_word_training;

/* Each thread takes a range of the text and changes the rows with no lock (Hogwild, Recht et al. 2011): two threads that meet
 * in a row may lose an update, and no two runs are the same. MB_ERROR_INTERRUPTED leaves a model that can be saved. */
mb_status mb_word_training_run(mb_word_training *training, mb_error *error);

/* The text is cut into MB_ORDERED_RANGES ranges, whatever the number of threads. A round takes MB_ORDERED_WINDOWS examples of
 * each, computes their changes from the vectors as they are, then adds them in the order of the ranges; each row is changed by
 * one thread. An example thus sees vectors up to a round old. Threads wait for each other twice a round, and soon give up the
 * processor if they must. */
mb_status mb_word_training_run_ordered(mb_word_training *training, mb_error *error);
enum { MB_ORDERED_RANGES = 32, MB_ORDERED_WINDOWS = 8 };

#endif
