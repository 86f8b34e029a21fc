/* The senses of a word: its occurrences in a text, grouped by their contextual vectors. */
#ifndef MB_TASKS_SENSES_H
#define MB_TASKS_SENSES_H

#include <jansson.h>

#include "base/job.h"
#include "base/options.h"
#include "minibert/status.h"

typedef struct mb_senses_options {
    const char *model, *corpus;
    const char *vectors; /* word vectors to compare with; NULL: none */
    const char *points;  /* a TSV of all occurrences in two dimensions; NULL: none */
    int64_t n_senses;    /* 0: as many, 1 aside, as have the best silhouette */
    int64_t max_senses, max_occurrences, max_length, n_examples;
    mb_int_list layers;
    mb_text_list words;
    int64_t seed;
} mb_senses_options;

extern const mb_option mb_senses_option_table[];

/* Each word's first max_occurrences occurrences in the corpus (words and their spelling are the tokenizer's) have a vector
 * each: the mean of its pieces' hidden states. From these the word's mean is subtracted, which all its senses share, they are
 * brought to length 1 and grouped by spherical k-means (clusters.h).
 *
 * *result (new reference): an array, for each word an object with word, occurrences, silhouette (null for one sense), with
 * vectors also neighbors: the words nearest to its one static vector; and senses, most frequent first, each with occurrences,
 * share, words: those that its lines have more than the other senses' lines do (by the log-likelihood ratio; Dunning 1993),
 * examples: the occurrences nearest to its centre; and, where the vectors are as wide as the model (embed --static of the same
 * model and layers), neighbors: the words nearest to the sense's mean. Vectors are compared less the mean of all word vectors.
 *
 * options->points: columns word, sense (1 is the most frequent), x, y and text, the two principal components of the centred
 * vectors.
 *
 * Errors: MB_ERROR_USAGE for a word that the tokenizer takes for none or several, MB_ERROR_FORMAT when the corpus has one of
 * them not at all. */
mb_status mb_senses(const mb_senses_options *options, const mb_job *job, json_t **result, mb_error *error);

#endif
