/* How often two numbered words follow each other: a hash table from pairs to counts. */
#ifndef MB_SKIPGRAM_PAIR_COUNTS_H
#define MB_SKIPGRAM_PAIR_COUNTS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct mb_pair_slot {
    uint64_t pair;
    int64_t count; /* 0: the slot is free */
} mb_pair_slot;

/* Begins as {0}. */
typedef struct mb_pair_counts {
    mb_pair_slot *slots; /* open addressing */
    uint64_t n_slots;    /* a power of two, more than n * 4 / 3 */
    int64_t n;
} mb_pair_counts;

static inline uint64_t mb_pair_of(uint32_t first, uint32_t second) {
    return (uint64_t)first << 32 | second;
}

void mb_pair_counts_free(mb_pair_counts *counts);
/* False without memory. count > 0. */
bool mb_pair_counts_add(mb_pair_counts *counts, uint64_t pair, int64_t count);
int64_t mb_pair_counts_get(const mb_pair_counts *counts, uint64_t pair); /* 0: never */

#endif
