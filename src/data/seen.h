/* A set of 64-bit hashes: which texts were seen before. 16 bytes a text at most, while it grows 24. */
#ifndef MB_DATA_SEEN_H
#define MB_DATA_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Begins as {0}. */
typedef struct mb_seen {
    uint64_t *slots; /* 0: free */
    size_t capacity, n;
} mb_seen;

/* Adds a hash; *before: whether it was there. False without memory. */
bool mb_seen_add(mb_seen *seen, uint64_t hash, bool *before);
void mb_seen_free(mb_seen *seen);

#endif
