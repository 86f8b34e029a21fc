#include "skipgram/pair_counts.h"

#include <stdlib.h>

#include "base/wraps.h"

enum { FIRST_SLOTS = 4096 };

void mb_pair_counts_free(mb_pair_counts *counts) {
    free(counts->slots);
    *counts = (mb_pair_counts){0};
}

/* The pair's slot, or the free one where it would be. The upper bits of a product with an odd number depend on all bits. */
MB_WRAPS static mb_pair_slot *find_slot(mb_pair_slot *slots, uint64_t n_slots, uint64_t pair) {
    const uint64_t hash = (pair ^ pair >> 29) * 0x9E3779B97F4A7C15u;
    uint64_t at = (hash ^ hash >> 32) & (n_slots - 1);
    while (slots[at].count && slots[at].pair != pair) {
        at = (at + 1) & (n_slots - 1);
    }
    return &slots[at];
}

static bool grow(mb_pair_counts *counts) {
    const uint64_t n_slots = counts->n_slots ? 2 * counts->n_slots : FIRST_SLOTS;
    mb_pair_slot *slots = calloc(n_slots, sizeof *slots);
    if (!slots) {
        return false;
    }
    for (uint64_t i = 0; i < counts->n_slots; i++) {
        if (counts->slots[i].count) {
            *find_slot(slots, n_slots, counts->slots[i].pair) = counts->slots[i];
        }
    }
    free(counts->slots);
    counts->slots = slots;
    counts->n_slots = n_slots;
    return true;
}

bool mb_pair_counts_add(mb_pair_counts *counts, uint64_t pair, int64_t count) {
    if (((uint64_t)counts->n + 1) * 4 > counts->n_slots * 3 && !grow(counts)) {
        return false;
    }
    mb_pair_slot *slot = find_slot(counts->slots, counts->n_slots, pair);
    counts->n += slot->count == 0;
    slot->pair = pair;
    slot->count += count;
    return true;
}

int64_t mb_pair_counts_get(const mb_pair_counts *counts, uint64_t pair) {
    return counts->n_slots ? find_slot(counts->slots, counts->n_slots, pair)->count : 0;
}
