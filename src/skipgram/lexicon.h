/* Words by number and numbers by word: a hash table of byte strings with counts. */
#ifndef MB_SKIPGRAM_LEXICON_H
#define MB_SKIPGRAM_LEXICON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

typedef struct mb_lexicon_slot {
    uint32_t hash;  /* the lower half of it: enough to find the slot's place in any table */
    uint32_t entry; /* number + 1; 0: the slot is free */
} mb_lexicon_slot;

/* Begins as {0}. */
typedef struct mb_lexicon {
    int64_t n, capacity;
    mb_buffer bytes;        /* the words, end to end */
    size_t *ends;           /* n: end of each in bytes */
    int64_t *counts;        /* n; NULL: dropped */
    mb_lexicon_slot *slots; /* open addressing */
    uint64_t n_slots;       /* a power of two, more than 1.5 n */
} mb_lexicon;

void mb_lexicon_free(mb_lexicon *table);
/* -1: not there. */
int64_t mb_lexicon_find(const mb_lexicon *table, const void *bytes, size_t n_bytes);
/* Adds `count` to a word's, which is made if it is new. Returns its number, -1 without memory (or beyond 2^31 words). */
int64_t mb_lexicon_add(mb_lexicon *table, const void *bytes, size_t n_bytes, int64_t count);
/* Frees the counts; from now on the table can be read alone. */
void mb_lexicon_drop_counts(mb_lexicon *table);
const char *mb_lexicon_get(const mb_lexicon *table, int64_t word, size_t *n_bytes);
/* A new table with words `order[0..n)` of the old one, in this order. False without memory. */
bool mb_lexicon_select(const mb_lexicon *table, const uint32_t *order, int64_t n, mb_lexicon *out);
/* All words, most frequent first, then by their bytes. malloc'ed; NULL without memory. */
uint32_t *mb_lexicon_order(const mb_lexicon *table);

#endif
