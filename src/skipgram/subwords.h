/* Character n-grams of words (Bojanowski et al. 2017, "Enriching Word Vectors with Subword Information"), hashed into buckets
 * as fastText does, so that a word that was never seen has a vector too. */
#ifndef MB_SKIPGRAM_SUBWORDS_H
#define MB_SKIPGRAM_SUBWORDS_H

#include <stdint.h>

#include "minibert/status.h"
#include "skipgram/lexicon.h"

typedef struct mb_subword_options {
    int64_t min_chars, max_chars; /* max_chars 0: no n-grams */
    int64_t n_buckets;
} mb_subword_options;

/* The buckets of the n-grams of "<word>", up to `capacity` of them into `out`. Returns how many there are. */
int64_t mb_subwords_of(const mb_subword_options *options, const void *bytes, size_t n_bytes, uint32_t *out, int64_t capacity);

/* Those of a whole vocabulary. Begins as {0}: no word has any. */
typedef struct mb_subwords {
    uint64_t *starts; /* n + 1 */
    uint32_t *buckets;
} mb_subwords;
mb_status mb_subwords_init(mb_subwords *subwords, const mb_subword_options *options, const mb_lexicon *words, mb_error *error);
void mb_subwords_free(mb_subwords *subwords);

#endif
