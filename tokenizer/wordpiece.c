#include "tokenizer/wordpiece.h"

#include <stdlib.h>
#include <string.h>

enum { ROOT_WORD, ROOT_CONTINUATION, N_ROOTS };

static size_t slot_of(const mb_trie *trie, uint32_t key) {
    return (size_t)((key * 0x9E3779B97F4A7C15u) >> 32) & trie->edge_mask;
}

/* The edge's place: an edge with this key, or the empty one where it belongs. */
static mb_trie_edge *find(const mb_trie *trie, uint32_t node, unsigned char byte) {
    uint32_t key = (node << 8 | byte) + 1;
    size_t slot = slot_of(trie, key);
    while (trie->edges[slot].key != 0 && trie->edges[slot].key != key) {
        slot = (slot + 1) & trie->edge_mask;
    }
    return &trie->edges[slot];
}

static void insert(mb_trie *trie, const char *piece, int32_t id) {
    bool continues = strncmp(piece, "##", 2) == 0 && piece[2] != '\0';
    uint32_t node = continues ? ROOT_CONTINUATION : ROOT_WORD;
    for (const unsigned char *byte = (const unsigned char *)(continues ? piece + 2 : piece); *byte != '\0'; byte++) {
        mb_trie_edge *edge = find(trie, node, *byte);
        if (edge->key == 0) {
            *edge = (mb_trie_edge){.key = (node << 8 | *byte) + 1, .next = (uint32_t)trie->n_nodes};
            trie->pieces[trie->n_nodes++] = -1;
        }
        node = edge->next;
    }
    trie->pieces[node] = id;
}

mb_status mb_trie_build(mb_trie *trie, const char *const *pieces, size_t n_pieces, mb_error *error) {
    size_t n_bytes = 0;
    for (size_t i = 0; i < n_pieces; i++) {
        n_bytes += strlen(pieces[i]);
    }
    size_t max_nodes = n_bytes + N_ROOTS;
    if (max_nodes >= (size_t)1 << 24) { /* a node must fit beside its byte in the edge's key */
        return mb_fail(error, MB_ERROR_FORMAT, "the vocabulary has %zu bytes of pieces: more than 16 MB is not supported",
                       n_bytes);
    }
    size_t capacity = 64;
    while (capacity < 2 * max_nodes) {
        capacity *= 2;
    }
    trie->edges = calloc(capacity, sizeof *trie->edges);
    trie->pieces = malloc(max_nodes * sizeof *trie->pieces);
    if (trie->edges == NULL || trie->pieces == NULL) {
        mb_trie_free(trie);
        return mb_fail(error, MB_ERROR_MEMORY, "no memory for the trie of %zu pieces", n_pieces);
    }
    trie->edge_mask = capacity - 1;
    trie->n_nodes = N_ROOTS;
    trie->pieces[ROOT_WORD] = trie->pieces[ROOT_CONTINUATION] = -1;
    for (size_t i = 0; i < n_pieces; i++) {
        insert(trie, pieces[i], (int32_t)i);
    }
    return MB_OK;
}

void mb_trie_free(mb_trie *trie) {
    free(trie->edges);
    free(trie->pieces);
    *trie = (mb_trie){0};
}

size_t mb_trie_match(const mb_trie *trie, const unsigned char *word, size_t n_bytes, mb_piece *out) {
    size_t n_pieces = 0, begin = 0;
    uint32_t root = ROOT_WORD;
    while (begin < n_bytes) {
        uint32_t node = root;
        mb_piece longest = {.id = -1};
        for (size_t i = begin; i < n_bytes; i++) {
            const mb_trie_edge *edge = find(trie, node, word[i]);
            if (edge->key == 0) {
                break;
            }
            node = edge->next;
            if (trie->pieces[node] >= 0) {
                longest = (mb_piece){.id = trie->pieces[node], .end = (uint32_t)(i + 1)};
            }
        }
        if (longest.id < 0) {
            return 0; /* one part without a piece makes the whole word unknown */
        }
        out[n_pieces++] = longest;
        begin = longest.end;
        root = ROOT_CONTINUATION;
    }
    return n_pieces;
}
