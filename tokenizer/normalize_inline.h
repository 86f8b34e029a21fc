/* The fast paths of reading words, inlined into the loops that use them: nine words of ten take one. */
#ifndef MB_TOKENIZER_NORMALIZE_INLINE_H
#define MB_TOKENIZER_NORMALIZE_INLINE_H

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "tokenizer/normalize.h"

/* Reads up to 16 bytes at `from` and returns how many are letters or digits; they are stored, lower-cased if asked and padded
 * with zeros, at `out` (16 bytes). */
static inline size_t mb_read_alphanumerics(const unsigned char *from, size_t n_left, bool lower, unsigned char *out) {
    unsigned char tail[MB_KEY_BYTES];
    if (__builtin_expect(n_left < MB_KEY_BYTES, 0)) { /* never read past the text */
        memset(tail, 0, sizeof tail);
        memcpy(tail, from, n_left);
        from = tail;
    }
#ifdef __SSE2__
    __m128i raw = _mm_loadu_si128((const __m128i *)(const void *)from);
    __m128i from_a = _mm_sub_epi8(_mm_or_si128(raw, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
    __m128i is_letter = _mm_cmpeq_epi8(_mm_min_epu8(from_a, _mm_set1_epi8(25)), from_a);
    __m128i from_zero = _mm_sub_epi8(raw, _mm_set1_epi8('0'));
    __m128i is_digit = _mm_cmpeq_epi8(_mm_min_epu8(from_zero, _mm_set1_epi8(9)), from_zero);
    unsigned others = ~(unsigned)_mm_movemask_epi8(_mm_or_si128(is_letter, is_digit));
    size_t n = (size_t)__builtin_ctz(others); /* bits 16..31 are set: at most 16 */
    __m128i lowered = _mm_or_si128(raw, _mm_and_si128(is_letter, _mm_set1_epi8(lower ? 0x20 : 0)));
    const __m128i positions = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m128i inside = _mm_cmpgt_epi8(_mm_set1_epi8((char)n), positions);
    _mm_storeu_si128((__m128i *)(void *)out, _mm_and_si128(lowered, inside));
    return n;
#else
    size_t n = 0;
    memset(out, 0, MB_KEY_BYTES);
    for (; n < MB_KEY_BYTES; n++) {
        unsigned letter = (from[n] | 0x20u) - 'a', digit = (unsigned)from[n] - '0';
        if (letter > 25 && digit > 9) {
            break;
        }
        out[n] = (unsigned char)(letter <= 25 && lower ? from[n] | 0x20 : from[n]);
    }
    return n;
#endif
}

static inline void mb_words_set_key(mb_words *words) {
    memcpy(&words->key.low, words->bytes, 8);
    memcpy(&words->key.high, words->bytes + 8, 8);
    words->key.high |= (uint64_t)words->n_bytes << 56;
}

/* The code point of a well-formed sequence of three bytes, which most of the ideographs and punctuation are; 0: it is not one.
 * Lead bytes E0 and ED, which not all second bytes may follow, are left to mb_utf8_decode. */
static inline uint32_t mb_decode_three(const unsigned char *text, size_t n_left) {
    if (text[0] < 0xE1 || text[0] > 0xEF || text[0] == 0xED || n_left < 3 || (text[1] & 0xC0) != 0x80 ||
        (text[2] & 0xC0) != 0x80) {
        return 0;
    }
    return (uint32_t)(text[0] & 0x0F) << 12 | (uint32_t)(text[1] & 0x3F) << 6 | (text[2] & 0x3F);
}

/* Whether it is a word of its own that stays as it is. */
static inline bool mb_is_lone_char(const mb_charmap *charmap, uint32_t code) {
    return mb_charmap_get(charmap, code) == (mb_char_entry)MB_CHAR_ALONE << 29;
}

/* Whether a word of ASCII ends here, as far as a look can tell. */
static inline bool mb_ends_ascii_word(const mb_words *words, size_t at) {
    if (at == words->n_text) {
        return true;
    }
    unsigned kind = words->reader->byte_kind[words->text[at]];
    if (kind == MB_CHAR_SPACE || kind == MB_CHAR_ALONE) {
        return true;
    }
    uint32_t code = mb_decode_three(words->text + at, words->n_text - at);
    return code != 0 && mb_is_lone_char(words->reader->charmap, code);
}

/* False, with nothing consumed, unless the run has at most 15 bytes and a plain end. */
static inline bool mb_read_ascii_word(mb_words *words) {
    mb_word_reader *reader = words->reader;
    size_t start = words->position;
    size_t n = mb_read_alphanumerics(words->text + start, words->n_text - start, reader->lower, reader->bytes);
    if (n == 0 || n >= MB_KEY_BYTES || n > reader->max_chars || !mb_ends_ascii_word(words, start + n)) {
        return false;
    }
    words->position = start + n;
    words->bytes = reader->bytes;
    words->n_bytes = n;
    words->too_long = false;
    words->is_char = false;
    words->is_linear = true;
    words->start = (uint32_t)start;
    words->end = (uint32_t)(start + n);
    mb_words_set_key(words);
    return true;
}

/* A code point of n_bytes at the position, as a word. */
static inline void mb_read_lone_char(mb_words *words, uint32_t code, size_t n_bytes) {
    const unsigned char *text = words->text + words->position;
    uint64_t low = n_bytes == 1 ? text[0] : (uint64_t)text[0] | (uint64_t)text[1] << 8 | (uint64_t)text[2] << 16;
    words->key = (mb_word_key){.low = low, .high = (uint64_t)n_bytes << 56};
    words->bytes = words->reader->bytes;
    memcpy(words->reader->bytes, &words->key, sizeof words->key);
    words->n_bytes = n_bytes;
    words->too_long = false;
    words->is_char = true;
    words->code = code;
    words->is_linear = true;
    words->start = (uint32_t)words->position;
    words->position += n_bytes;
    words->end = (uint32_t)words->position;
    words->run_start = words->position;
}

/* False: the text is at its end, or there is no memory. */
static inline bool mb_words_next(mb_words *words) {
    const mb_word_reader *reader = words->reader;
    while (words->position < words->n_text && words->n_expanded_read == 0) {
        const unsigned char *text = words->text + words->position;
        unsigned kind = reader->byte_kind[*text];
        if (kind == MB_CHAR_SPACE) {
            words->position++;
            words->run_start = words->position;
            continue;
        }
        if (kind == MB_CHAR_WORD) {
            if (mb_read_ascii_word(words)) {
                return true;
            }
            break;
        }
        if (kind == MB_CHAR_ALONE) {
            mb_read_lone_char(words, *text, 1);
            return true;
        }
        uint32_t code = mb_decode_three(text, words->n_text - words->position);
        if (code != 0 && mb_is_lone_char(reader->charmap, code)) {
            mb_read_lone_char(words, code, 3);
            return true;
        }
        break;
    }
    return mb_words_next_general(words);
}

#endif
