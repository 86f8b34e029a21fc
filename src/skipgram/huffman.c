#include "skipgram/huffman.h"

#include <stdbool.h>
#include <stdlib.h>

void mb_huffman_free(mb_huffman *tree) {
    free(tree->starts);
    free(tree->nodes);
    free(tree->turns);
    *tree = (mb_huffman){0};
}

/* Joins the two rarest until one is left: words from the back, joined ones in the order they were made (both sorted). parent[i]
 * and turn[i] of word i < n or inner node n + k, 2 n - 1 of them; `weight` has as many. */
static void join(const int64_t *counts, int64_t n, int64_t *weight, uint32_t *parent, uint8_t *turn) {
    int64_t word = n - 1, inner = n;
    for (int64_t i = 0; i < n; i++) {
        weight[i] = counts[i];
    }
    for (int64_t made = n; made < 2 * n - 1; made++) {
        int64_t rarest[2];
        for (int k = 0; k < 2; k++) {
            const bool take_word = word >= 0 && (inner >= made || weight[word] < weight[inner]);
            rarest[k] = take_word ? word-- : inner++;
            parent[rarest[k]] = (uint32_t)made;
            turn[rarest[k]] = (uint8_t)k;
        }
        weight[made] = weight[rarest[0]] + weight[rarest[1]];
    }
}

static int path_length(const uint32_t *parent, int64_t word, int64_t root) {
    int length = 0;
    for (int64_t at = word; at != root; at = parent[at]) {
        length++;
    }
    return length;
}

mb_status mb_huffman_init(mb_huffman *tree, const int64_t *counts, int64_t n, int max_length, mb_error *error) {
    *tree = (mb_huffman){.n = n, .starts = calloc((size_t)n + 1, sizeof *tree->starts)};
    int64_t *weight = malloc(2 * (size_t)n * sizeof *weight);
    uint32_t *parent = malloc(2 * (size_t)n * sizeof *parent);
    uint8_t *turn = malloc(2 * (size_t)n);
    bool fine = tree->starts && weight && parent && turn;
    const int64_t root = 2 * n - 2;
    uint64_t total = 0;
    if (fine) {
        join(counts, n, weight, parent, turn);
        for (int64_t word = 0; word < n; word++) {
            const int length = path_length(parent, word, root);
            tree->longest = length > tree->longest ? length : tree->longest;
            total += (uint64_t)length;
            tree->starts[word + 1] = (uint32_t)total;
        }
        fine = total <= UINT32_MAX && (tree->nodes = malloc((total + 1) * sizeof *tree->nodes)) != NULL &&
               (tree->turns = malloc(total + 1)) != NULL;
    }
    for (int64_t word = 0; fine && word < n; word++) { /* upwards: the path is filled from its end */
        uint32_t at = tree->starts[word + 1];
        for (int64_t node = word; node != root; node = parent[node]) {
            at--;
            tree->nodes[at] = (uint32_t)(parent[node] - n);
            tree->turns[at] = turn[node];
        }
    }
    free(weight);
    free(parent);
    free(turn);
    if (!fine) {
        mb_huffman_free(tree);
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the Huffman tree of %lld words", (long long)n);
    }
    if (tree->longest > max_length) {
        const int longest = tree->longest;
        mb_huffman_free(tree);
        return mb_fail(error, MB_ERROR_FORMAT, "the Huffman code of a word has %d turns, more than %d: raise --min-count",
                       longest, max_length);
    }
    return MB_OK;
}
