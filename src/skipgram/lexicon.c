#include "skipgram/lexicon.h"

#include <stdlib.h>
#include <string.h>

#include "skipgram/text_words.h"

void mb_lexicon_free(mb_lexicon *table) {
    mb_buffer_free(&table->bytes);
    free(table->ends);
    free(table->counts);
    free(table->slots);
    *table = (mb_lexicon){0};
}

const char *mb_lexicon_get(const mb_lexicon *table, int64_t word, size_t *n_bytes) {
    const size_t start = word ? table->ends[word - 1] : 0;
    *n_bytes = table->ends[word] - start;
    return table->bytes.data + start;
}

/* The slot of a word, or the free one where it would be. */
static uint64_t *find_slot(const mb_lexicon *table, const void *bytes, size_t n_bytes, uint64_t hash) {
    const uint64_t tag = hash >> 32 << 32;
    uint64_t at = hash & (table->n_slots - 1);
    while (table->slots[at]) {
        if ((table->slots[at] >> 32 << 32) == tag) {
            size_t length;
            const char *word = mb_lexicon_get(table, (int64_t)(uint32_t)table->slots[at] - 1, &length);
            if (length == n_bytes && memcmp(word, bytes, n_bytes) == 0) {
                break;
            }
        }
        at = (at + 1) & (table->n_slots - 1);
    }
    return table->slots + at;
}

int64_t mb_lexicon_find(const mb_lexicon *table, const void *bytes, size_t n_bytes) {
    if (table->n == 0) {
        return -1;
    }
    return (int64_t)(uint32_t)*find_slot(table, bytes, n_bytes, mb_word_hash(bytes, n_bytes)) - 1;
}

static bool grow_slots(mb_lexicon *table) {
    const uint64_t n_slots = table->n_slots ? 2 * table->n_slots : 4096;
    uint64_t *slots = calloc(n_slots, sizeof *slots);
    if (!slots) {
        return false;
    }
    for (int64_t word = 0; word < table->n; word++) {
        size_t n_bytes;
        const char *bytes = mb_lexicon_get(table, word, &n_bytes);
        const uint64_t hash = mb_word_hash((const unsigned char *)bytes, n_bytes);
        uint64_t at = hash & (n_slots - 1);
        while (slots[at]) {
            at = (at + 1) & (n_slots - 1);
        }
        slots[at] = (hash >> 32 << 32) | (uint64_t)(word + 1);
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
    if ((uint64_t)table->n * 2 + 2 > table->n_slots && !grow_slots(table)) {
        return -1;
    }
    const uint64_t hash = mb_word_hash(bytes, n_bytes);
    uint64_t *slot = find_slot(table, bytes, n_bytes, hash);
    if (*slot) {
        const int64_t word = (int64_t)(uint32_t)*slot - 1;
        table->counts[word] += count;
        return word;
    }
    if (table->n >= UINT32_MAX - 1 || (table->n == table->capacity && !grow_words(table)) ||
        !mb_buffer_append(&table->bytes, bytes, n_bytes)) {
        return -1;
    }
    table->ends[table->n] = table->bytes.n_bytes;
    table->counts[table->n] = count;
    *slot = (hash >> 32 << 32) | (uint64_t)(table->n + 1);
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
