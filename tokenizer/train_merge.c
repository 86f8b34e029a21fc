#include <stdlib.h>
#include <string.h>

#include "base/wraps.h"
#include "tokenizer/train.h"

/* Byte-pair merging (Sennrich, Haddow and Birch 2016) as Hugging Face's WordPieceTrainer does it. Counts are kept up to date
 * word by word, and the best pair comes from a heap whose entries may be out of date: an entry that is popped with more than
 * its pair's present count goes back with the present one, and a pair whose count grew got a new entry. So each popped entry
 * that is up to date is the most frequent pair. */

typedef struct pair {
    uint64_t key;    /* left id in the upper half, right id in the lower: its order is the tie rule */
    int64_t count;   /* occurrences, each word counted as often as it occurs */
    uint32_t *words; /* where it occurs, or once did; a word may be there twice */
    uint32_t n_words, capacity;
    uint32_t stamp; /* the merge in which it was last touched */
} pair;

typedef struct heap_entry {
    int64_t count;
    uint64_t key;
    uint32_t pair;
} heap_entry;

typedef struct merger {
    mb_symbols *symbols;
    int64_t min_frequency;
    pair *pairs;
    size_t n_pairs, pair_capacity;
    uint32_t *slots; /* pair + 1 by key, 0: empty */
    size_t n_slots;
    heap_entry *heap;
    size_t n_heap, heap_capacity;
    uint32_t *touched; /* pairs that became more frequent in this merge */
    size_t n_touched, touched_capacity;
    uint32_t stamp;
} merger;

static void free_merger(merger *self) {
    for (size_t i = 0; i < self->n_pairs; i++) {
        free(self->pairs[i].words);
    }
    free(self->pairs);
    free(self->slots);
    free(self->heap);
    free(self->touched);
}

static uint64_t key_of(int32_t left, int32_t right) {
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

/* --- table of pairs --- */

MB_WRAPS static size_t find_slot(const merger *self, uint64_t key) {
    size_t slot = (size_t)((key ^ key >> 29) * 0x9E3779B97F4A7C15u >> 20) & (self->n_slots - 1);
    while (self->slots[slot] != 0 && self->pairs[self->slots[slot] - 1].key != key) {
        slot = (slot + 1) & (self->n_slots - 1);
    }
    return slot;
}

static bool grow_pairs(merger *self) {
    if (self->n_pairs == self->pair_capacity) {
        size_t capacity = 2 * self->pair_capacity + 4096;
        pair *pairs = capacity < UINT32_MAX ? realloc(self->pairs, capacity * sizeof *pairs) : NULL;
        if (pairs == NULL) {
            return false;
        }
        self->pairs = pairs;
        self->pair_capacity = capacity;
    }
    if (2 * (self->n_pairs + 1) < self->n_slots) {
        return true;
    }
    size_t n_slots = self->n_slots == 0 ? (size_t)1 << 14 : 2 * self->n_slots;
    uint32_t *slots = calloc(n_slots, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    free(self->slots);
    self->slots = slots;
    self->n_slots = n_slots;
    for (size_t i = 0; i < self->n_pairs; i++) {
        self->slots[find_slot(self, self->pairs[i].key)] = (uint32_t)i + 1;
    }
    return true;
}

/* The pair's place, made if need be; SIZE_MAX without memory. */
static size_t pair_at(merger *self, uint64_t key) {
    size_t slot = self->n_slots == 0 ? 0 : find_slot(self, key);
    if (self->n_slots > 0 && self->slots[slot] != 0) {
        return self->slots[slot] - 1;
    }
    if (!grow_pairs(self)) {
        return SIZE_MAX;
    }
    self->pairs[self->n_pairs] = (pair){.key = key};
    self->slots[find_slot(self, key)] = (uint32_t)self->n_pairs + 1;
    return self->n_pairs++;
}

/* One more occurrence of a pair in a word. */
static bool gain(merger *self, int32_t left, int32_t right, uint32_t word) {
    size_t at = pair_at(self, key_of(left, right));
    if (at == SIZE_MAX) {
        return false;
    }
    pair *found = &self->pairs[at];
    found->count += (int64_t)self->symbols->counts[word];
    if (found->stamp != self->stamp) {
        if (self->n_touched == self->touched_capacity) {
            size_t capacity = 2 * self->touched_capacity + 256;
            uint32_t *touched = realloc(self->touched, capacity * sizeof *touched);
            if (touched == NULL) {
                return false;
            }
            self->touched = touched;
            self->touched_capacity = capacity;
        }
        self->touched[self->n_touched++] = (uint32_t)at;
        found->stamp = self->stamp;
    }
    if (found->n_words > 0 && found->words[found->n_words - 1] == word) {
        return true;
    }
    if (found->n_words == found->capacity) {
        uint32_t capacity = found->capacity < 4 ? 4 : found->capacity + found->capacity / 2;
        uint32_t *words = capacity > found->capacity ? realloc(found->words, capacity * sizeof *words) : NULL;
        if (words == NULL) {
            return false;
        }
        found->words = words;
        found->capacity = capacity;
    }
    found->words[found->n_words++] = word;
    return true;
}

/* One occurrence less; the pair exists. */
static void lose(merger *self, int32_t left, int32_t right, uint32_t word) {
    pair *found = &self->pairs[self->slots[find_slot(self, key_of(left, right))] - 1];
    found->count -= (int64_t)self->symbols->counts[word];
}

/* --- heap --- */

/* The more frequent pair first, of equally frequent ones that whose pieces come first in the vocabulary. */
static bool comes_first(const heap_entry *a, const heap_entry *b) {
    return a->count != b->count ? a->count > b->count : a->key < b->key;
}

static bool push(merger *self, uint32_t at) {
    const pair *found = &self->pairs[at];
    if (found->count < self->min_frequency || found->count < 1) {
        return true; /* not frequent enough; pushed when it has become so */
    }
    if (self->n_heap == self->heap_capacity) {
        size_t capacity = 2 * self->heap_capacity + 4096;
        heap_entry *heap = realloc(self->heap, capacity * sizeof *heap);
        if (heap == NULL) {
            return false;
        }
        self->heap = heap;
        self->heap_capacity = capacity;
    }
    heap_entry entry = {.count = found->count, .key = found->key, .pair = at};
    size_t child = self->n_heap++;
    while (child > 0 && comes_first(&entry, &self->heap[(child - 1) / 2])) {
        self->heap[child] = self->heap[(child - 1) / 2];
        child = (child - 1) / 2;
    }
    self->heap[child] = entry;
    return true;
}

static heap_entry pop(merger *self) {
    heap_entry top = self->heap[0], last = self->heap[--self->n_heap];
    size_t parent = 0;
    for (;;) {
        size_t child = 2 * parent + 1;
        if (child >= self->n_heap) {
            break;
        }
        if (child + 1 < self->n_heap && comes_first(&self->heap[child + 1], &self->heap[child])) {
            child++;
        }
        if (!comes_first(&self->heap[child], &last)) {
            break;
        }
        self->heap[parent] = self->heap[child];
        parent = child;
    }
    self->heap[parent] = last;
    return top;
}

/* All pairs that became more frequent since the last call go into the heap. */
static bool push_touched(merger *self) {
    for (size_t i = 0; i < self->n_touched; i++) {
        if (!push(self, self->touched[i])) {
            return false;
        }
    }
    self->n_touched = 0;
    self->stamp++;
    return true;
}

/* --- merging --- */

static bool count_pairs(merger *self) {
    const mb_symbols *symbols = self->symbols;
    for (size_t word = 0; word < symbols->n_words; word++) {
        const int32_t *ids = symbols->ids + symbols->begins[word];
        for (size_t i = 0; i + 1 < symbols->n_ids[word]; i++) {
            if (!gain(self, ids[i], ids[i + 1], (uint32_t)word)) {
                return false;
            }
        }
    }
    return push_touched(self);
}

/* Replaces left, right by `merged` in one word, from left to right, and keeps the counts of the neighbouring pairs. */
static bool merge_word(merger *self, uint32_t word, int32_t left, int32_t right, int32_t merged) {
    mb_symbols *symbols = self->symbols;
    int32_t *ids = symbols->ids + symbols->begins[word];
    size_t n = symbols->n_ids[word], n_out = 0;
    for (size_t i = 0; i < n; i++) {
        if (i + 1 >= n || ids[i] != left || ids[i + 1] != right) {
            ids[n_out++] = ids[i];
            continue;
        }
        if (n_out > 0) {
            lose(self, ids[n_out - 1], left, word);
            if (!gain(self, ids[n_out - 1], merged, word)) {
                return false;
            }
        }
        if (i + 2 < n) {
            lose(self, right, ids[i + 2], word);
            if (!gain(self, merged, ids[i + 2], word)) {
                return false;
            }
        }
        ids[n_out++] = merged;
        i++;
    }
    symbols->n_ids[word] = (uint32_t)n_out;
    return true;
}

/* The id of left and right glued together; new, or that of another pair that spells the same. */
static mb_status add_merged(mb_vocab *vocab, int32_t left, int32_t right, int32_t *id, mb_error *error) {
    const char *head = vocab->texts[left], *tail = vocab->texts[right];
    tail += strncmp(tail, "##", 2) == 0 ? 2 : 0;
    mb_buffer text = {0};
    mb_status status = MB_OK;
    if (!mb_buffer_append_text(&text, head) || !mb_buffer_append_text(&text, tail)) {
        status = mb_fail(error, MB_ERROR_MEMORY, "no memory for a piece");
    } else {
        *id = mb_vocab_find(vocab, text.data, text.n_bytes);
        if (*id < 0) {
            *id = (int32_t)vocab->n;
            status = mb_vocab_add(vocab, text.data, text.n_bytes, "the training text", 0, error);
        }
    }
    mb_buffer_free(&text);
    return status;
}

static mb_status merge_pair(merger *self, uint32_t at, mb_vocab *vocab, mb_error *error) {
    int32_t left = (int32_t)(self->pairs[at].key >> 32), right = (int32_t)(self->pairs[at].key & UINT32_MAX), merged = -1;
    mb_status status = add_merged(vocab, left, right, &merged, error);
    if (status != MB_OK) {
        return status;
    }
    uint32_t *words = self->pairs[at].words, n_words = self->pairs[at].n_words;
    self->pairs[at].words = NULL;
    self->pairs[at].n_words = self->pairs[at].capacity = 0;
    bool has_memory = true;
    for (uint32_t i = 0; i < n_words && has_memory; i++) {
        has_memory = merge_word(self, words[i], left, right, merged);
    }
    free(words);
    self->pairs[at].count = 0;
    has_memory = has_memory && push_touched(self);
    return has_memory ? MB_OK : mb_fail(error, MB_ERROR_MEMORY, "no memory for %zu pairs of pieces", self->n_pairs);
}

static mb_status merge_all(merger *self, const mb_vocab_train_options *options, mb_vocab *vocab, mb_error *error) {
    while (vocab->n < options->vocab_size && self->n_heap > 0) {
        heap_entry top = pop(self);
        if (top.count != self->pairs[top.pair].count) {
            if (!push(self, top.pair)) {
                return mb_fail(error, MB_ERROR_MEMORY, "no memory for %zu pairs of pieces", self->n_pairs);
            }
            continue;
        }
        mb_status status = merge_pair(self, top.pair, vocab, error);
        if (status != MB_OK) {
            return status;
        }
        if (vocab->n % 64 == 0 && !mb_train_report(options, "merge pairs", (double)vocab->n / (double)options->vocab_size)) {
            return mb_fail(error, MB_ERROR_INTERRUPTED, "stopped while merging pairs of pieces");
        }
    }
    return MB_OK;
}

mb_status mb_train_merge(const mb_vocab_train_options *options, mb_symbols *symbols, mb_vocab *vocab, mb_error *error) {
    if (symbols->n_words > UINT32_MAX) {
        return mb_fail(error, MB_ERROR_FORMAT, "the text has %zu distinct words: more than 4,294,967,295 are not supported",
                       symbols->n_words);
    }
    merger self = {.symbols = symbols, .min_frequency = options->min_frequency, .stamp = 1};
    mb_status status = count_pairs(&self)
                           ? merge_all(&self, options, vocab, error)
                           : mb_fail(error, MB_ERROR_MEMORY, "no memory for the pairs of %zu distinct words", symbols->n_words);
    free_merger(&self);
    return status;
}
