/* One table look-up per character: what normalization and pre-tokenization together make of a code point.
 *
 * BertNormalizer looks at one character at a time in all its steps (clean, space ideographs, decompose, delete accents, lower),
 * and BertPreTokenizer too, so their composition can be tabulated. The one exception is canonical reordering: it is visible
 * only for the few marks that are not deleted, which MB_CHAR_REORDER announces (see normalize.c). */
#ifndef MB_TOKENIZER_CHARMAP_H
#define MB_TOKENIZER_CHARMAP_H

#include "minibert/tokenizer.h"
#include "tokenizer/unicode.h"

typedef enum mb_char_kind {
    MB_CHAR_WORD,    /* part of a word */
    MB_CHAR_ALONE,   /* a word of its own: punctuation, ideograph */
    MB_CHAR_SPACE,   /* ends a word */
    MB_CHAR_DROP,    /* as if it were not there */
    MB_CHAR_EXPAND,  /* several entries, each of one of the kinds above */
    MB_CHAR_HANGUL,  /* a syllable that decomposes into two or three letters, by arithmetic */
    MB_CHAR_REORDER, /* or by what it decomposes to: a mark that is kept and has a combining class */
    MB_CHAR_SIGMA,   /* part of a word; its lower case depends on its neighbours (MB_COMPAT_GOOGLE) */
} mb_char_kind;

/* kind in bits 29..31. WORD, ALONE: the new code point in bits 0..20, 0 when it stays as it is.
 * EXPAND: first index into `expansions` in bits 0..15, their number in bits 16..20. */
typedef uint32_t mb_char_entry;

typedef struct mb_charmap {
    uint16_t page_of[MB_UNICODE_END / 256]; /* code point / 256 -> page */
    mb_char_entry *pages;                   /* 256 entries each */
    size_t n_pages, page_capacity;
    mb_char_entry *expansions; /* never with a code point of 0 */
    size_t n_expansions, expansion_capacity;
} mb_charmap;

/* `map` begins as {0}. False: no memory (free it all the same). */
bool mb_charmap_build(mb_charmap *map, const mb_tokenizer_config *config);
void mb_charmap_free(mb_charmap *map);

static inline mb_char_entry mb_charmap_get(const mb_charmap *map, uint32_t code) {
    return map->pages[(size_t)map->page_of[code >> 8] << 8 | (code & 255)];
}
static inline mb_char_kind mb_char_kind_of(mb_char_entry entry) {
    return (mb_char_kind)(entry >> 29);
}
static inline uint32_t mb_char_code(mb_char_entry entry, uint32_t code) {
    uint32_t mapped = entry & 0x1FFFFF;
    return mapped != 0 ? mapped : code;
}
static inline size_t mb_char_expansion(mb_char_entry entry, size_t *n) {
    *n = entry >> 16 & 31;
    return entry & 0xFFFF;
}

#endif
