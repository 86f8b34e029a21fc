#include "tokenizer/wordpiece.h"

size_t mb_trie_match(const mb_trie *trie, const unsigned char *word, size_t n_bytes, mb_piece *out) {
    const mb_trie_node *nodes = trie->nodes;
    size_t n_pieces = 0, begin = 0;
    uint32_t root = MB_TRIE_ROOT_WORD;
    while (begin < n_bytes) {
        uint32_t node = root, longest = 0;
        size_t end = begin;
        for (size_t i = begin; i < n_bytes; i++) {
            uint32_t next = (nodes[node].base & ~MB_TRIE_ACCEPTS) ^ word[i];
            if (nodes[next].parent != node + 1) {
                break;
            }
            node = next;
            if (nodes[node].base & MB_TRIE_ACCEPTS) {
                longest = node;
                end = i + 1;
            }
        }
        if (end == begin) {
            return 0; /* one part without a piece makes the whole word unknown */
        }
        out[n_pieces++] = (mb_piece){.id = trie->pieces[longest], .end = (uint32_t)end};
        begin = end;
        root = MB_TRIE_ROOT_CONTINUATION;
    }
    return n_pieces;
}
