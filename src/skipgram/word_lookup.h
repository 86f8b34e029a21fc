/* The row of a word in loaded vectors: as it is written, else without regard to the case of ASCII letters. */
#ifndef MB_SKIPGRAM_WORD_LOOKUP_H
#define MB_SKIPGRAM_WORD_LOOKUP_H

#include <stdint.h>

#include "minibert/status.h"
#include "skipgram/word_vectors.h"

typedef struct mb_word_lookup {
    const mb_word_vectors *vectors; /* their rows of length 1 (or 0) */
    mb_lexicon folded;              /* in lower case; count: the first row so spelled */
} mb_word_lookup;

/* Brings the vectors to length 1. They must outlive the lookup. */
mb_status mb_word_lookup_init(mb_word_lookup *lookup, mb_word_vectors *vectors, mb_error *error);
void mb_word_lookup_free(mb_word_lookup *lookup);
/* -1: not there. */
int64_t mb_word_lookup_find(const mb_word_lookup *lookup, const unsigned char *bytes, size_t n_bytes);

#endif
