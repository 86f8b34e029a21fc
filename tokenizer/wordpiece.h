/* Greedy longest-match-first WordPiece (Schuster and Nakajima 2012; the inference rule of BERT).
 *
 * The pieces lie in a trie with two roots, one for the beginning of a word and one for "##" pieces. Each step of the greedy
 * rule walks down from a root and keeps the last piece passed, so a byte of the word is looked at no more often than the
 * longest piece has bytes: linear in the text. The trie is a double array (Aoe 1989): the child of `node` by `byte` is at base
 * ^ byte, if the node there says that `node` is its parent. */
#ifndef MB_TOKENIZER_WORDPIECE_H
#define MB_TOKENIZER_WORDPIECE_H

#include "base/wraps.h"
#include "tokenizer/normalize.h"

#define MB_TRIE_ACCEPTS 0x80000000u /* in base: a piece ends here */

/* The first two nodes. */
enum { MB_TRIE_ROOT_WORD, MB_TRIE_ROOT_CONTINUATION };

typedef struct mb_trie_node {
    uint32_t base;
    uint32_t parent; /* index + 1; 0: a free place; UINT32_MAX: a root */
} mb_trie_node;

typedef struct mb_trie {
    mb_trie_node *nodes; /* whole blocks of 256, so that base ^ byte stays inside */
    int32_t *pieces;     /* id of the piece that ends at each node, where MB_TRIE_ACCEPTS is set */
    size_t n_nodes;
} mb_trie;

typedef struct mb_piece {
    int32_t id;
    uint32_t end; /* in normalized bytes of the word; it begins where the one before ends */
} mb_piece;

/* `pieces` are in id order, n_pieces < 2^31, "##" marks continuations. Status MEMORY, or FORMAT when they are too long in all.
 */
mb_status mb_trie_build(mb_trie *trie, const char *const *pieces, size_t n_pieces, mb_error *error);
void mb_trie_free(mb_trie *trie);
/* Splits one word. `out` needs room for n_bytes pieces. Returns how many, 0 when the word cannot be split: [UNK]. */
size_t mb_trie_match(const mb_trie *trie, const unsigned char *word, size_t n_bytes, mb_piece *out);

/* A word's pieces are the same each time, and words follow Zipf's law: a direct-mapped cache in front of the trie. It belongs
 * to the caller's mb_encoding, so threads share nothing. */
enum { MB_CACHE_BITS = 14, MB_CACHE_PIECES = 3 };

typedef struct mb_cache_entry {
    mb_word_key key; /* {0, 0}: empty, since a key holds a length of at least 1 */
    int32_t ids[MB_CACHE_PIECES];
    uint8_t n;
    uint8_t ends[MB_CACHE_PIECES];
} mb_cache_entry;

MB_WRAPS static inline size_t mb_cache_slot(mb_word_key key) {
    /* 2^64 over the golden ratio, and an odd constant of SplitMix64: any two with well-mixed upper bits would do */
    return (size_t)((key.low * 0x9E3779B97F4A7C15u + (key.high ^ key.low >> 32) * 0xBF58476D1CE4E5B9u) >> (64 - MB_CACHE_BITS));
}

#endif
