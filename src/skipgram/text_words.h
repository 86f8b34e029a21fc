/* Words of a text: what stands between white space (bytes 0 to 32). Bytes are not interpreted, so broken UTF-8 passes. */
#ifndef MB_SKIPGRAM_TEXT_WORDS_H
#define MB_SKIPGRAM_TEXT_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/file.h"

/* Of a longer word only the beginning counts, cut between two characters. */
enum { MB_WORD_MAX_BYTES = 1024 };

typedef struct mb_text_word {
    const unsigned char *bytes;
    size_t n_bytes;
    bool begins_line; /* a line feed stands before it */
} mb_text_word;

static inline bool mb_is_white(unsigned char byte) {
    return byte <= ' ';
}

/* Where the words of the range that begins at `offset` begin: a word cut by that border belongs to the range before. */
static inline const unsigned char *mb_text_range_begin(const mb_map *text, size_t offset) {
    const unsigned char *at = text->data + offset, *end = text->data + text->n_bytes;
    while (offset > 0 && at < end && !mb_is_white(at[-1])) {
        at++;
    }
    return at;
}

/* The end of the word at p, eight bytes a step: adding 0x5F sets the upper bit of bytes 0x21 to 0x7F. */
static inline const unsigned char *mb_text_word_end(const unsigned char *p, const unsigned char *end) {
    while (end - p >= 8) {
        uint64_t x;
        memcpy(&x, p, 8);
        const uint64_t white = ~(((x & 0x7F7F7F7F7F7F7F7Fu) + 0x5F5F5F5F5F5F5F5Fu) | x) & 0x8080808080808080u;
        if (white) {
            return p + __builtin_ctzll(white) / 8;
        }
        p += 8;
    }
    while (p < end && !mb_is_white(*p)) {
        p++;
    }
    return p;
}

/* The next word that begins in [*at, limit); it may reach past `limit`, but not past `end`, the text's end. *at moves behind
 * it. False: there is none. */
static inline bool mb_text_next_word(const unsigned char **at, const unsigned char *limit, const unsigned char *end,
                                     mb_text_word *out) {
    const unsigned char *p = *at;
    bool begins_line = false;
    while (p < limit && mb_is_white(*p)) {
        begins_line |= *p == '\n';
        p++;
    }
    if (p >= limit) {
        *at = p;
        return false;
    }
    const unsigned char *begin = p;
    *at = mb_text_word_end(p, end);
    size_t n_bytes = (size_t)(*at - begin);
    if (n_bytes > MB_WORD_MAX_BYTES) {
        n_bytes = MB_WORD_MAX_BYTES;
        for (int k = 0; k < 3 && (begin[n_bytes] & 0xC0) == 0x80; k++) {
            n_bytes--;
        }
    }
    *out = (mb_text_word){begin, n_bytes, begins_line};
    return true;
}

/* Tells the system that these pages of the map are not needed soon, so that a text larger than the memory leaves room. */
void mb_text_release(const mb_map *text, const unsigned char *begin, const unsigned char *end);

#endif
