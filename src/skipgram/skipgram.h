/* Word vectors from raw text: Skip-Gram and CBOW, with negative sampling or hierarchical softmax (Mikolov et al. 2013). */
#ifndef MB_SKIPGRAM_SKIPGRAM_H
#define MB_SKIPGRAM_SKIPGRAM_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/job.h"
#include "base/options.h"
#include "minibert/status.h"

typedef enum mb_skipgram_engine { MB_ENGINE_FAST, MB_ENGINE_PLAIN } mb_skipgram_engine;

typedef struct mb_skipgram_options {
    const char *corpus, *out, *init;
    const char *save_context, *save_vocabulary, *read_vocabulary, *save_ngrams;
    int64_t size, window, negative, min_count, max_vocabulary, epochs;
    int64_t min_chars, max_chars, buckets;
    double sample, alpha, exponent;
    bool cbow, hs, binary, fixed_window, unknown, deterministic;
    int engine, format;
    int64_t debug, classes; /* word2vec.c's; without effect */
    int64_t seed;           /* not in the table: a common option */
} mb_skipgram_options;

/* The names of word2vec.c beside our own: both spellings of an option share a field. */
extern const mb_option mb_skipgram_option_table[];

/* Counts the words, trains, writes the vectors. *result: new reference, what was done and how fast, as JSON.
 * A text is words between white space; a line is a sentence. It is mapped, not loaded. Interrupted (job), it writes nothing. */
mb_status mb_skipgram(const mb_skipgram_options *options, const mb_job *job, json_t **result, mb_error *error);

#endif
