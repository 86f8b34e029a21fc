/* What the two references know of Unicode, one code point at a time.
 *
 * Hugging Face's BertNormalizer and BertPreTokenizer draw on three tables of different ages: general categories of Unicode 8,
 * canonical decomposition and combining classes of Unicode 9, and the lower case of Rust's standard library (Unicode 17).
 * google-research/bert has those of its Python; here 3.11, Unicode 14. A vocabulary is only right with the categories it was
 * made with, so the sets are pinned here (unicode_ranges*.h, made by scripts/golden/tokenizer.py) and do not move with the
 * installed utf8proc; decomposition and lower case come from utf8proc, held back to what the reference has. */
#ifndef MB_TOKENIZER_UNICODE_H
#define MB_TOKENIZER_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "minibert/tokenizer.h"

typedef struct mb_range {
    uint32_t first, last;
} mb_range;

enum { MB_UNICODE_END = 0x110000, MB_REPLACEMENT = 0xFFFD, MB_CAPITAL_SIGMA = 0x3A3, MB_DECOMPOSITION_MAX = 8 };

/* Deleted by clean_text: control and format characters, NUL and U+FFFD, and Hugging Face's private-use ones; not the unassigned
 * ones. */
bool mb_unicode_is_removed(mb_compat compat, uint32_t code);
/* Where words end: the White_Space property; Google's with U+001C to U+001F, which clean_text deletes first. */
bool mb_unicode_is_space(mb_compat compat, uint32_t code);
/* Ideographs that get spaces around them. */
bool mb_unicode_is_cjk(mb_compat compat, uint32_t code);
/* ASCII symbols and categories P*: words of their own. */
bool mb_unicode_is_punctuation(mb_compat compat, uint32_t code);
/* Category Mn: what strip_accents deletes. */
bool mb_unicode_is_accent(mb_compat compat, uint32_t code);
/* Canonical combining class. */
int mb_unicode_combining_class(mb_compat compat, uint32_t code);
/* Full canonical decomposition, not reordered; returns its length, 1 when the code point stands for itself. */
size_t mb_unicode_decompose(mb_compat compat, uint32_t code, uint32_t out[MB_DECOMPOSITION_MAX]);
/* Lower case, without context; returns the length, 1 or 2 (only U+0130 has 2). Python's str.lower looks at the neighbours of
 * MB_CAPITAL_SIGMA: see mb_unicode_is_cased. */
size_t mb_unicode_lower(mb_compat compat, uint32_t code, uint32_t out[2]);

/* A capital sigma is a final one if a cased letter stands before it and none behind it, not counting the case-ignorable
 * characters in between (The Unicode Standard, 3.13, Final_Sigma). Cased here means: cased and not case-ignorable. */
bool mb_unicode_is_cased(uint32_t code);
bool mb_unicode_is_case_ignorable(uint32_t code);

/* Every code point outside of these ranges is its own lower case and its own decomposition (precomposed Hangul is inside). */
extern const mb_range mb_unicode_changing[];
extern const size_t mb_unicode_n_changing;
/* The sets above as sorted ranges: the table of code points (charmap.h) is filled from them. */
typedef enum mb_range_set {
    MB_RANGES_REMOVED,
    MB_RANGES_SPACE,
    MB_RANGES_CJK,
    MB_RANGES_PUNCTUATION,
    MB_RANGES_ACCENT,
    MB_RANGES_MARK,
    MB_RANGES_DECOMPOSED, /* beyond U+FFFF */
    MB_N_RANGE_SETS
} mb_range_set;
const mb_range *mb_unicode_ranges(mb_compat compat, mb_range_set set, size_t *n_ranges);

/* One character from `text` (n_bytes > 0): its code point, and its length in *n_read. Bad UTF-8 is U+FFFD for each maximal
 * part of a well-formed sequence (The Unicode Standard, 3.9, U+FFFD substitution of maximal subparts). */
uint32_t mb_utf8_decode(const unsigned char *text, size_t n_bytes, size_t *n_read);
/* Returns the length, 1 to 4. `out` must have room for 4 bytes. */
static inline size_t mb_utf8_encode(uint32_t code, unsigned char *out) {
    if (code < 0x80) {
        out[0] = (unsigned char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (unsigned char)(0xC0 | code >> 6);
        out[1] = (unsigned char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (unsigned char)(0xE0 | code >> 12);
        out[1] = (unsigned char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (unsigned char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (unsigned char)(0xF0 | code >> 18);
    out[1] = (unsigned char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (unsigned char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (unsigned char)(0x80 | (code & 0x3F));
    return 4;
}

#endif
