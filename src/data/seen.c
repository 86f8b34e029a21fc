#include "data/seen.h"

#include <stdlib.h>

enum { FIRST_CAPACITY = 1024 };

/* The slot that holds the hash, or the free one where it belongs. */
static uint64_t *slot_of(uint64_t *slots, size_t capacity, uint64_t hash) {
    size_t at = hash & (capacity - 1);
    while (slots[at] != 0 && slots[at] != hash) {
        at = (at + 1) & (capacity - 1);
    }
    return &slots[at];
}

static bool grow(mb_seen *seen) {
    const size_t capacity = seen->capacity > 0 ? 2 * seen->capacity : FIRST_CAPACITY;
    uint64_t *slots = calloc(capacity, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < seen->capacity; i++) {
        if (seen->slots[i] != 0) {
            *slot_of(slots, capacity, seen->slots[i]) = seen->slots[i];
        }
    }
    free(seen->slots);
    seen->slots = slots;
    seen->capacity = capacity;
    return true;
}

bool mb_seen_add(mb_seen *seen, uint64_t hash, bool *before) {
    if (2 * (seen->n + 1) > seen->capacity && !grow(seen)) {
        return false;
    }
    hash += hash == 0; /* 0 is a free slot */
    uint64_t *slot = slot_of(seen->slots, seen->capacity, hash);
    *before = *slot != 0;
    seen->n += !*before;
    *slot = hash;
    return true;
}

void mb_seen_free(mb_seen *seen) {
    free(seen->slots);
    *seen = (mb_seen){0};
}
