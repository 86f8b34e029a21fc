#include "skipgram/lexicon.h"

#include <stdlib.h>
#include <string.h>

#include "base/wraps.h"

static const int64_t MAX_WORDS = (int64_t)1 << 31; /* no more than 2^32 slots */

void mb_lexicon_free(mb_lexicon *table) {
    mb_buffer_free(&table->bytes);
    free(table->ends);
    free(table->counts);
    free(table->slots);
    *table = (mb_lexicon){0};
}

void mb_lexicon_drop_counts(mb_lexicon *table) {
    free(table->counts);
    table->counts = NULL;
}

const char *mb_lexicon_get(const mb_lexicon *table, int64_t word, size_t *n_bytes) {
    const size_t start = word ? table->ends[word - 1] : 0;
    *n_bytes = table->ends[word] - start;
    return table->bytes.data + start;
}

/* Up to eight bytes as a number, the missing ones zero. */
static inline uint64_t short_word(const unsigned char *bytes, size_t n_bytes) {
    if (n_bytes >= 4) {
        uint32_t low, high;
        memcpy(&low, bytes, 4);
        memcpy(&high, bytes + n_bytes - 4, 4);
        return low | (uint64_t)high << (8 * (n_bytes - 4));
    }
    uint64_t word = 0;
    for (size_t i = 0; i < n_bytes; i++) {
        word |= (uint64_t)bytes[i] << (8 * i);
    }
    return word;
}

/* A bijection: an odd factor, and the upper half added to the lower one, twice (the constants are those of MurmurHash3's
 * fmix64). */
MB_WRAPS static uint64_t mix(uint64_t x) {
    x = (x ^ x >> 33) * 0xFF51AFD7ED558CCDu;
    x = (x ^ x >> 33) * 0xC4CEB9FE1A85EC53u;
    return x ^ x >> 33;
}

static inline uint32_t hash_word(const unsigned char *bytes, size_t n_bytes) {
    uint64_t hash = 0, part;
    for (; n_bytes > 8; bytes += 8, n_bytes -= 8) {
        memcpy(&part, bytes, 8);
        hash = mix(hash ^ part);
    }
    return (uint32_t)mix(hash ^ short_word(bytes, n_bytes));
}

static inline bool is_word(const mb_lexicon *table, int64_t word, const void *bytes, size_t n_bytes) {
    const size_t start = word ? table->ends[word - 1] : 0;
    const char *other = table->bytes.data + start;
    if (table->ends[word] - start != n_bytes) {
        return false;
    }
    return n_bytes <= 8 ? short_word((const unsigned char *)other, n_bytes) == short_word(bytes, n_bytes)
                        : memcmp(other, bytes, n_bytes) == 0;
}

/* The slot of a word, or the free one where it would be. */
static inline mb_lexicon_slot *find_slot(const mb_lexicon *table, const void *bytes, size_t n_bytes, uint32_t hash) {
    uint64_t at = hash & (table->n_slots - 1);
    while (table->slots[at].entry) {
        const mb_lexicon_slot *slot = &table->slots[at];
        if (slot->hash == hash && is_word(table, (int64_t)slot->entry - 1, bytes, n_bytes)) {
            break;
        }
        at = (at + 1) & (table->n_slots - 1);
    }
    return table->slots + at;
}

int64_t mb_lexicon_find(const mb_lexicon *table, const void *bytes, size_t n_bytes) {
    if (table->n == 0) {
        return -1;
    }
    return (int64_t)find_slot(table, bytes, n_bytes, hash_word(bytes, n_bytes))->entry - 1;
}

static bool grow_slots(mb_lexicon *table) {
    const uint64_t n_slots = table->n_slots ? 2 * table->n_slots : 4096;
    mb_lexicon_slot *slots = calloc(n_slots, sizeof *slots);
    if (!slots) {
        return false;
    }
    for (uint64_t i = 0; i < table->n_slots; i++) {
        uint64_t at = table->slots[i].hash & (n_slots - 1);
        while (table->slots[i].entry && slots[at].entry) {
            at = (at + 1) & (n_slots - 1);
        }
        if (table->slots[i].entry) {
            slots[at] = table->slots[i];
        }
    }
    free(table->slots);
    table->slots = slots;
    table->n_slots = n_slots;
    return true;
}

static bool grow_words(mb_lexicon *table) {
    const int64_t capacity = table->capacity ? 2 * table->capacity : 1024;
    size_t *ends = realloc(table->ends, (size_t)capacity * sizeof *ends);
    if (ends) {
        table->ends = ends;
    }
    int64_t *counts = realloc(table->counts, (size_t)capacity * sizeof *counts);
    if (counts) {
        table->counts = counts;
    }
    if (!ends || !counts) {
        return false;
    }
    table->capacity = capacity;
    return true;
}

int64_t mb_lexicon_add(mb_lexicon *table, const void *bytes, size_t n_bytes, int64_t count) {
    if ((uint64_t)table->n * 3 + 3 > table->n_slots * 2 && !grow_slots(table)) {
        return -1;
    }
    const uint32_t hash = hash_word(bytes, n_bytes);
    mb_lexicon_slot *slot = find_slot(table, bytes, n_bytes, hash);
    if (slot->entry) {
        table->counts[slot->entry - 1] += count;
        return (int64_t)slot->entry - 1;
    }
    if (table->n >= MAX_WORDS || (table->n == table->capacity && !grow_words(table)) ||
        !mb_buffer_append(&table->bytes, bytes, n_bytes)) {
        return -1;
    }
    table->ends[table->n] = table->bytes.n_bytes;
    table->counts[table->n] = count;
    *slot = (mb_lexicon_slot){hash, (uint32_t)(table->n + 1)};
    return table->n++;
}

bool mb_lexicon_select(const mb_lexicon *table, const uint32_t *order, int64_t n, mb_lexicon *out) {
    *out = (mb_lexicon){0};
    for (int64_t i = 0; i < n; i++) {
        size_t n_bytes;
        const char *bytes = mb_lexicon_get(table, order[i], &n_bytes);
        if (mb_lexicon_add(out, bytes, n_bytes, table->counts[order[i]]) < 0) {
            mb_lexicon_free(out);
            return false;
        }
    }
    return true;
}

static int compare_words(const void *a, const void *b, void *context) {
    const mb_lexicon *table = context;
    const uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    if (table->counts[i] != table->counts[j]) {
        return table->counts[i] > table->counts[j] ? -1 : 1;
    }
    size_t i_bytes, j_bytes;
    const char *i_word = mb_lexicon_get(table, i, &i_bytes), *j_word = mb_lexicon_get(table, j, &j_bytes);
    const int order = memcmp(i_word, j_word, i_bytes < j_bytes ? i_bytes : j_bytes);
    return order ? order : (i_bytes > j_bytes) - (i_bytes < j_bytes);
}

uint32_t *mb_lexicon_order(const mb_lexicon *table) {
    uint32_t *order = malloc((size_t)(table->n + 1) * sizeof *order);
    for (int64_t i = 0; order && i < table->n; i++) {
        order[i] = (uint32_t)i;
    }
    if (order) {
        qsort_r(order, (size_t)table->n, sizeof *order, compare_words, (void *)(uintptr_t)table);
    }
    return order;
}
