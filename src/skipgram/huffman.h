/* The tree of hierarchical softmax: Huffman codes of the words by their counts (Morin & Bengio 2005; Mikolov et al. 2013). */
#ifndef MB_SKIPGRAM_HUFFMAN_H
#define MB_SKIPGRAM_HUFFMAN_H

#include <stdint.h>

#include "minibert/status.h"

/* A word's path: the inner nodes from the root down, numbered 0 to n - 2, and the turn at each. The label of a node is
 * 1 - turn, as in word2vec.c: sigma(v . node) is the probability of turn 0. */
typedef struct mb_huffman {
    int64_t n;
    uint32_t *starts; /* n + 1: where a word's path begins in the two below */
    uint32_t *nodes;
    uint8_t *turns;
    int longest;
} mb_huffman;

/* `counts` most frequent first. MB_ERROR_FORMAT if a path is longer than `max_length`. */
mb_status mb_huffman_init(mb_huffman *tree, const int64_t *counts, int64_t n, int max_length, mb_error *error);
void mb_huffman_free(mb_huffman *tree);

#endif
