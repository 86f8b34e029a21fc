/* What is drawn while training: negatives, and which occurrences of frequent words are passed over. */
#ifndef MB_SKIPGRAM_SAMPLER_H
#define MB_SKIPGRAM_SAMPLER_H

#include <stdint.h>

#include "base/wraps.h"
#include "minibert/status.h"

/* Numbers as fast as a multiplication: a 64-bit linear congruential generator (Knuth's MMIX constants), of which the upper
 * half is used. A stream of text has one; its start comes from base/rng.h. */
MB_WRAPS static inline uint32_t mb_lcg_next(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 32);
}

/* Walker's alias method: any distribution over n numbers, drawn with one look at one entry. */
typedef struct mb_alias_entry {
    uint32_t threshold; /* below it: the entry's own number */
    uint32_t other;
} mb_alias_entry;

typedef struct mb_alias_table {
    mb_alias_entry *entries;
    uint32_t n;
} mb_alias_table;

/* Probability of i: counts[i]^exponent over the sum of these (0.75: Mikolov et al. 2013, section 2.2). */
mb_status mb_alias_table_init(mb_alias_table *table, const int64_t *counts, int64_t n, double exponent, mb_error *error);
void mb_alias_table_free(mb_alias_table *table);
static inline uint32_t mb_alias_table_draw(const mb_alias_table *table, uint64_t *random) {
    const uint32_t i = (uint32_t)(((uint64_t)mb_lcg_next(random) * table->n) >> 32);
    const mb_alias_entry entry = table->entries[i];
    return mb_lcg_next(random) < entry.threshold ? i : entry.other;
}

/* out[i]: an occurrence of word i is kept if a random uint32 is <= out[i]. word2vec.c's rule: with the word's share f of the
 * text and t = sample, the probability is sqrt(t / f) + t / f (the paper's is its first term alone). sample 0: all are kept. */
void mb_keep_thresholds(const int64_t *counts, int64_t n, int64_t n_total, double sample, uint32_t *out);

#endif
