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
    while (p < end && !mb_is_white(*p)) {
        p++;
    }
    *at = p;
    size_t n_bytes = (size_t)(p - begin);
    if (n_bytes > MB_WORD_MAX_BYTES) {
        n_bytes = MB_WORD_MAX_BYTES;
        for (int k = 0; k < 3 && (begin[n_bytes] & 0xC0) == 0x80; k++) {
            n_bytes--;
        }
    }
    *out = (mb_text_word){begin, n_bytes, begins_line};
    return true;
}

/* 64 bits of a word, eight bytes a step: multiply and fold, as wyhash does. Not cryptographic. */
static inline uint64_t mb_word_hash(const unsigned char *bytes, size_t n_bytes) {
    uint64_t hash = 0x9E3779B97F4A7C15u ^ n_bytes, part = 0;
    for (; n_bytes > 8; bytes += 8, n_bytes -= 8) {
        memcpy(&part, bytes, 8);
        const __uint128_t product = (__uint128_t)(hash ^ part) * 0xD6E8FEB86659FD93u;
        hash = (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    part = 0;
    for (size_t i = 0; i < n_bytes; i++) {
        part |= (uint64_t)bytes[i] << (8 * i);
    }
    const __uint128_t product = (__uint128_t)(hash ^ part) * 0xD6E8FEB86659FD93u;
    hash = (uint64_t)product ^ (uint64_t)(product >> 64);
    return hash ^ hash >> 29;
}

/* Tells the system that these pages of the map are not needed soon, so that a text larger than the memory leaves room. */
void mb_text_release(const mb_map *text, const unsigned char *begin, const unsigned char *end);

#endif
