#include <stdlib.h>
#include <string.h>

#include "tokenizer/wordpiece.h"

enum { BLOCK = 256, WINDOW = 2 * BLOCK };

/* A piece without its "##". */
typedef struct entry {
    const unsigned char *text;
    uint64_t key; /* the first 8 bytes, as they are compared */
    int32_t id;
} entry;

/* A node whose children are still to be placed: those of entries first..last-1, which agree in their first `depth` bytes. */
typedef struct task {
    size_t first, last;
    uint32_t depth, node;
} task;

typedef struct builder {
    mb_trie *trie;
    size_t first_free; /* no free place before it */
    task *tasks;       /* a queue: nodes near the root, which are used most, come to lie close together */
    size_t n_tasks, task_capacity;
} builder;

static uint64_t key_of(const unsigned char *text) {
    uint64_t key = 0;
    for (int i = 0; i < 8; i++) {
        key = key << 8 | *text;
        text += *text != '\0';
    }
    return key;
}

static int compare_entries(const void *a, const void *b) {
    const entry *left = a, *right = b;
    return left->key != right->key ? (left->key > right->key) - (left->key < right->key)
                                   : strcmp((const char *)left->text, (const char *)right->text);
}

static bool grow(mb_trie *trie) {
    mb_trie_node *nodes = realloc(trie->nodes, (trie->n_nodes + BLOCK) * sizeof *nodes);
    if (nodes == NULL) {
        return false;
    }
    trie->nodes = nodes;
    int32_t *pieces = realloc(trie->pieces, (trie->n_nodes + BLOCK) * sizeof *pieces);
    if (pieces == NULL) {
        return false;
    }
    trie->pieces = pieces;
    memset(nodes + trie->n_nodes, 0, BLOCK * sizeof *nodes);
    memset(pieces + trie->n_nodes, -1, BLOCK * sizeof *pieces);
    trie->n_nodes += BLOCK;
    return true;
}

static bool fits(const mb_trie *trie, size_t base, const unsigned char *bytes, size_t n_bytes) {
    for (size_t i = 0; i < n_bytes; i++) {
        if (trie->nodes[base ^ bytes[i]].parent != 0) {
            return false;
        }
    }
    return true;
}

/* A base whose places for all these children are free. Only children take any hole; siblings look in the last blocks alone,
 * which bounds the time. SIZE_MAX: no memory. */
static size_t find_base(builder *self, const unsigned char *bytes, size_t n_bytes) {
    mb_trie *trie = self->trie;
    while (self->first_free < trie->n_nodes && trie->nodes[self->first_free].parent != 0) {
        self->first_free++;
    }
    size_t from = n_bytes > 1 && trie->n_nodes > WINDOW ? trie->n_nodes - WINDOW : 0;
    for (size_t place = from > self->first_free ? from : self->first_free; place < trie->n_nodes; place++) {
        if (trie->nodes[place].parent == 0 && fits(trie, place ^ bytes[0], bytes, n_bytes)) {
            return place ^ bytes[0];
        }
    }
    size_t base = trie->n_nodes;
    return grow(trie) ? base : SIZE_MAX;
}

static bool add_task(builder *self, task next) {
    if (self->n_tasks == self->task_capacity) {
        size_t capacity = 2 * self->task_capacity + 1024;
        task *tasks = realloc(self->tasks, capacity * sizeof *tasks);
        if (tasks == NULL) {
            return false;
        }
        self->tasks = tasks;
        self->task_capacity = capacity;
    }
    self->tasks[self->n_tasks++] = next;
    return true;
}

/* Marks the piece that ends at the task's node, and places the node's children. */
static bool expand(builder *self, const entry *entries, task parent) {
    mb_trie *trie = self->trie;
    uint32_t accepts = 0;
    if (entries[parent.first].text[parent.depth] == '\0') {
        accepts = MB_TRIE_ACCEPTS;
        trie->nodes[parent.node].base = accepts;
        trie->pieces[parent.node] = entries[parent.first].id;
        parent.first++;
    }
    unsigned char bytes[BLOCK];
    size_t begins[BLOCK + 1], n = 0;
    for (size_t i = parent.first; i < parent.last; i++) {
        unsigned char byte = entries[i].text[parent.depth];
        if (n == 0 || bytes[n - 1] != byte) {
            begins[n] = i;
            bytes[n++] = byte;
        }
    }
    begins[n] = parent.last;
    if (n == 0) {
        return true;
    }
    size_t base = find_base(self, bytes, n);
    if (base == SIZE_MAX) {
        return false;
    }
    trie->nodes[parent.node].base = (uint32_t)base | accepts;
    for (size_t i = 0; i < n; i++) {
        uint32_t child = (uint32_t)(base ^ bytes[i]);
        trie->nodes[child].parent = parent.node + 1;
        task next = {.first = begins[i], .last = begins[i + 1], .depth = parent.depth + 1, .node = child};
        if (!add_task(self, next)) {
            return false;
        }
    }
    return true;
}

/* Sorts the pieces of each root; returns how many begin a word. They come first in `entries`. */
static size_t sort_pieces(const char *const *pieces, size_t n_pieces, entry *entries) {
    size_t n_begin = 0, n_continue = 0;
    for (size_t i = 0; i < n_pieces; i++) {
        const unsigned char *text = (const unsigned char *)pieces[i];
        bool continues = strncmp(pieces[i], "##", 2) == 0 && pieces[i][2] != '\0';
        size_t at = continues ? n_pieces - ++n_continue : n_begin++;
        text += continues ? 2 : 0;
        entries[at] = (entry){.text = text, .key = key_of(text), .id = (int32_t)i};
    }
    qsort(entries, n_begin, sizeof *entries, compare_entries);
    qsort(entries + n_begin, n_continue, sizeof *entries, compare_entries);
    return n_begin;
}

static bool build(builder *self, const char *const *pieces, size_t n_pieces, entry *entries) {
    if (!grow(self->trie)) {
        return false;
    }
    size_t n_begin = sort_pieces(pieces, n_pieces, entries);
    const task roots[] = {{.first = 0, .last = n_begin, .node = MB_TRIE_ROOT_WORD},
                          {.first = n_begin, .last = n_pieces, .node = MB_TRIE_ROOT_CONTINUATION}};
    for (int i = 0; i < 2; i++) {
        self->trie->nodes[roots[i].node].parent = UINT32_MAX;
        if (roots[i].first < roots[i].last && !add_task(self, roots[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < self->n_tasks; i++) {
        if (!expand(self, entries, self->tasks[i])) {
            return false;
        }
    }
    return true;
}

mb_status mb_trie_build(mb_trie *trie, const char *const *pieces, size_t n_pieces, mb_error *error) {
    size_t n_bytes = 0;
    for (size_t i = 0; i < n_pieces; i++) {
        n_bytes += strlen(pieces[i]);
    }
    if (n_bytes > (size_t)1 << 28) { /* far below where a node's index would need the bit of MB_TRIE_ACCEPTS */
        return mb_fail(error, MB_ERROR_FORMAT, "the vocabulary has %zu bytes of pieces: more than 256 MiB are not supported",
                       n_bytes);
    }
    builder self = {.trie = trie};
    entry *entries = malloc((n_pieces + 1) * sizeof *entries);
    bool has_memory = entries != NULL && build(&self, pieces, n_pieces, entries);
    free(entries);
    free(self.tasks);
    if (!has_memory) {
        mb_trie_free(trie);
        return mb_fail(error, MB_ERROR_MEMORY, "no memory for the trie of %zu pieces", n_pieces);
    }
    return MB_OK;
}

void mb_trie_free(mb_trie *trie) {
    free(trie->nodes);
    free(trie->pieces);
    *trie = (mb_trie){0};
}
