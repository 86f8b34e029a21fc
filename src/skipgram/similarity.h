/* Word vectors judged by people's ratings of word pairs: WordSim-353, SimLex-999, MEN and the like. */
#ifndef MB_SKIPGRAM_SIMILARITY_H
#define MB_SKIPGRAM_SIMILARITY_H

#include <jansson.h>

#include "base/options.h"
#include "minibert/status.h"

typedef struct mb_similarity_options {
    const char *vectors;
    mb_text_list files;
} mb_similarity_options;

extern const mb_option mb_similarity_option_table[];

/* Each file: two words a line and then, somewhere, the rating: the first number. Columns are divided by tabs, else commas, else
 * spaces; a first line without a number is a header; blank lines and those with '#' at their beginning are passed over.
 * *result: an array (new reference) with an object a file: file, pairs, found, out_of_vocabulary, spearman and pearson of the
 * cosines and the ratings of the pairs found (null with fewer than two of them, or when all are the same). */
mb_status mb_similarity(const mb_similarity_options *options, json_t **result, mb_error *error);

/* Correlations of n pairs of numbers; NAN when one side is constant. Spearman's: Pearson's of the ranks, equal numbers having
 * the mean of theirs. spearman: NAN without memory too. */
double mb_pearson(const double *x, const double *y, int64_t n);
double mb_spearman(const double *x, const double *y, int64_t n);

#endif
