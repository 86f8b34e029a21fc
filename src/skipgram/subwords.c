#include "skipgram/subwords.h"

#include <stdlib.h>
#include <string.h>

#include "base/wraps.h"
#include "skipgram/text_words.h"

/* FNV-1a of 32 bits, over bytes taken as signed, as fastText's dictionary does. */
MB_WRAPS static uint32_t hash_bytes(const unsigned char *bytes, size_t n) {
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < n; i++) {
        const uint32_t sign = bytes[i] & 0x80 ? 0xFFFFFF00u : 0;
        hash = (hash ^ (bytes[i] | sign)) * 16777619u;
    }
    return hash;
}

int64_t mb_subwords_of(const mb_subword_options *options, const void *bytes, size_t n_bytes, uint32_t *out, int64_t capacity) {
    unsigned char word[MB_WORD_MAX_BYTES + 2];
    int64_t n = 0;
    if (options->max_chars == 0 || n_bytes > MB_WORD_MAX_BYTES) {
        return 0;
    }
    word[0] = '<';
    memcpy(word + 1, bytes, n_bytes);
    word[n_bytes + 1] = '>';
    const size_t end = n_bytes + 2;
    for (size_t begin = 0; begin < end; begin++) {
        if ((word[begin] & 0xC0) == 0x80) {
            continue; /* inside a character */
        }
        size_t at = begin;
        for (int64_t chars = 1; at < end && chars <= options->max_chars; chars++) {
            do {
                at++;
            } while (at < end && (word[at] & 0xC0) == 0x80);
            const bool is_border = chars == 1 && (begin == 0 || at == end); /* "<" and ">" alone say nothing */
            if (chars >= options->min_chars && !is_border) {
                if (n < capacity) {
                    out[n] = hash_bytes(word + begin, at - begin) % (uint32_t)options->n_buckets;
                }
                n++;
            }
        }
    }
    return n;
}

void mb_subwords_free(mb_subwords *subwords) {
    free(subwords->starts);
    free(subwords->buckets);
    *subwords = (mb_subwords){0};
}

mb_status mb_subwords_init(mb_subwords *subwords, const mb_subword_options *options, const mb_lexicon *words, mb_error *error) {
    *subwords = (mb_subwords){0};
    if (options->max_chars == 0) {
        return MB_OK;
    }
    bool fine = (subwords->starts = calloc((size_t)words->n + 1, sizeof *subwords->starts)) != NULL;
    for (int64_t i = 0; fine && i < words->n; i++) {
        size_t n_bytes;
        const char *bytes = mb_lexicon_get(words, i, &n_bytes);
        subwords->starts[i + 1] = subwords->starts[i] + (uint64_t)mb_subwords_of(options, bytes, n_bytes, NULL, 0);
    }
    fine = fine && (subwords->buckets = malloc((subwords->starts[words->n] + 1) * sizeof *subwords->buckets)) != NULL;
    for (int64_t i = 0; fine && i < words->n; i++) {
        size_t n_bytes;
        const char *bytes = mb_lexicon_get(words, i, &n_bytes);
        const uint64_t begin = subwords->starts[i];
        mb_subwords_of(options, bytes, n_bytes, subwords->buckets + begin, (int64_t)(subwords->starts[i + 1] - begin));
    }
    if (!fine) {
        mb_subwords_free(subwords);
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the n-grams of %lld words", (long long)words->n);
    }
    return MB_OK;
}
