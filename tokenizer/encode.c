#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "tokenizer/normalize_inline.h"
#include "tokenizer/tokenizer_internal.h"

/* What an mb_encoding keeps between calls: the memory of one thread. */
typedef struct scratch {
    uint64_t fingerprint; /* of the tokenizer that filled the cache */
    mb_word_reader reader;
    mb_piece *pieces; /* one word's, as many as it can have bytes */
    size_t piece_capacity;
    mb_cache_entry cache[(size_t)1 << MB_CACHE_BITS];
} scratch;

void mb_encoding_free(mb_encoding *encoding) {
    if (encoding == NULL) {
        return;
    }
    scratch *memory = encoding->scratch;
    if (memory != NULL) {
        mb_word_reader_free(&memory->reader);
        free(memory->pieces);
        free(memory);
    }
    free(encoding->ids);
    free(encoding->starts);
    free(encoding->ends);
    free(encoding->words);
    free(encoding->types);
    *encoding = (mb_encoding){0};
}

static bool grow(void *array, const mb_encoding *encoding, size_t capacity, size_t size_bytes) {
    return mb_array_grow(array, encoding->n_tokens * size_bytes, capacity * size_bytes);
}

mb_status mb_encoding_reserve(mb_encoding *encoding, size_t n_more, mb_error *error) {
    if (n_more <= encoding->capacity - encoding->n_tokens) {
        return MB_OK;
    }
    size_t capacity = 2 * encoding->capacity + n_more + 64;
    /* Arrays that grew before a failure are larger than `capacity` says, which is harmless. */
    if (capacity > SIZE_MAX / 16 || !grow(&encoding->ids, encoding, capacity, sizeof *encoding->ids) ||
        !grow(&encoding->starts, encoding, capacity, sizeof *encoding->starts) ||
        !grow(&encoding->ends, encoding, capacity, sizeof *encoding->ends) ||
        !grow(&encoding->words, encoding, capacity, sizeof *encoding->words) ||
        !grow(&encoding->types, encoding, capacity, sizeof *encoding->types)) {
        return mb_fail(error, MB_ERROR_MEMORY, "no memory for %zu tokens", capacity);
    }
    encoding->capacity = capacity;
    return MB_OK;
}

/* The scratch memory, ready for this tokenizer. NULL: no memory. */
static scratch *prepare(const mb_tokenizer *tokenizer, mb_encoding *encoding) {
    scratch *memory = encoding->scratch;
    if (memory == NULL) {
        memory = encoding->scratch = calloc(1, sizeof *memory);
        if (memory == NULL) {
            return NULL;
        }
    }
    if (memory->reader.charmap == &tokenizer->charmap && memory->fingerprint == tokenizer->fingerprint) {
        return memory;
    }
    size_t piece_capacity = 4 * (size_t)tokenizer->config.max_chars_per_word;
    if (piece_capacity > memory->piece_capacity) {
        mb_piece *pieces = realloc(memory->pieces, piece_capacity * sizeof *pieces);
        if (pieces == NULL) {
            return NULL;
        }
        memory->pieces = pieces;
        memory->piece_capacity = piece_capacity;
    }
    memory->reader.charmap = NULL;
    if (!mb_word_reader_set(&memory->reader, &tokenizer->charmap, &tokenizer->config)) {
        memory->reader.charmap = NULL;
        return NULL;
    }
    memset(memory->cache, 0, sizeof memory->cache);
    memory->fingerprint = tokenizer->fingerprint;
    return memory;
}

/* types are set when the text is whole. */
static inline void push(mb_encoding *out, int32_t id, uint32_t start, uint32_t end, uint32_t word) {
    size_t i = out->n_tokens++;
    out->ids[i] = id;
    out->starts[i] = start;
    out->ends[i] = end;
    out->words[i] = word;
}

/* The piece that covers bytes begin..end-1 of the normalized word. */
static inline void push_piece(const mb_words *words, mb_encoding *out, int32_t id, uint32_t begin, uint32_t end,
                              uint32_t word) {
    if (words->is_linear) {
        push(out, id, words->start + begin, words->start + end, word);
    } else {
        push(out, id, words->reader->starts[begin], words->reader->ends[end - 1], word);
    }
}

/* The way of a word that the cache does not have. */
static mb_status encode_word(const mb_tokenizer *tokenizer, scratch *memory, const mb_words *words, uint32_t word,
                             mb_encoding *out, mb_error *error) {
    int32_t unknown = tokenizer->specials[MB_SPECIAL_UNK];
    if (words->too_long) {
        push(out, unknown, words->start, words->end, word);
        return MB_OK;
    }
    mb_piece *pieces = memory->pieces;
    size_t n = mb_trie_match(&tokenizer->trie, words->bytes, words->n_bytes, pieces);
    if (n == 0) {
        pieces[n++] = (mb_piece){.id = unknown, .end = (uint32_t)words->n_bytes};
    }
    if (words->n_bytes < MB_KEY_BYTES && n <= MB_CACHE_PIECES) {
        mb_cache_entry entry = {.key = words->key, .n = (uint8_t)n};
        for (size_t i = 0; i < n; i++) {
            entry.ids[i] = pieces[i].id;
            entry.ends[i] = (uint8_t)pieces[i].end;
        }
        memory->cache[mb_cache_slot(words->key)] = entry;
    }
    mb_status status = mb_encoding_reserve(out, n, error);
    uint32_t begin = 0;
    for (size_t i = 0; status == MB_OK && i < n; i++) {
        push_piece(words, out, pieces[i].id, begin, pieces[i].end, word);
        begin = pieces[i].end;
    }
    return status;
}

/* Text without added tokens. */
static mb_status encode_segment(const mb_tokenizer *tokenizer, scratch *memory, const unsigned char *text, size_t from,
                                size_t to, uint32_t *n_words, mb_encoding *out, mb_error *error) {
    mb_words words;
    mb_words_begin(&words, &memory->reader, text, from, to);
    while (mb_words_next(&words)) {
        uint32_t word = (*n_words)++;
        if (out->capacity - out->n_tokens < MB_CACHE_PIECES && mb_encoding_reserve(out, MB_CACHE_PIECES, error) != MB_OK) {
            return MB_ERROR_MEMORY;
        }
        if (words.is_char) {
            push(out, tokenizer->char_ids[words.code], words.start, words.end, word);
            continue;
        }
        if (words.n_bytes < MB_KEY_BYTES && !words.too_long) {
            const mb_cache_entry *entry = &memory->cache[mb_cache_slot(words.key)];
            if (entry->key.low == words.key.low && entry->key.high == words.key.high) {
                uint32_t begin = 0;
                for (size_t i = 0; i < entry->n; i++) {
                    push_piece(&words, out, entry->ids[i], begin, entry->ends[i], word);
                    begin = entry->ends[i];
                }
                continue;
            }
        }
        mb_status status = encode_word(tokenizer, memory, &words, word, out, error);
        if (status != MB_OK) {
            return status;
        }
    }
    return words.no_memory ? mb_fail(error, MB_ERROR_MEMORY, "no memory for a word with many combining marks") : MB_OK;
}

mb_status mb_encode_append(const mb_tokenizer *tokenizer, const char *text, size_t n_bytes, mb_encoding *out, mb_error *error) {
    if (n_bytes >= UINT32_MAX) {
        return mb_fail(error, MB_ERROR_USAGE, "a text of %zu bytes: at most 4 GiB can be encoded at once, split it", n_bytes);
    }
    scratch *memory = prepare(tokenizer, out);
    if (memory == NULL) {
        return mb_fail(error, MB_ERROR_MEMORY, "no memory to encode a text");
    }
    const unsigned char *bytes = (const unsigned char *)text;
    uint32_t n_words = 0;
    size_t from = 0, start, end, n_before = out->n_tokens;
    int32_t id;
    mb_status status = MB_OK;
    while (status == MB_OK && tokenizer->config.compat == MB_COMPAT_HF &&
           mb_added_token_find(tokenizer, bytes, n_bytes, from, &start, &end, &id)) {
        status = encode_segment(tokenizer, memory, bytes, from, start, &n_words, out, error);
        if (status == MB_OK) {
            status = mb_encoding_reserve(out, 1, error);
        }
        if (status == MB_OK) {
            push(out, id, (uint32_t)start, (uint32_t)end, n_words++);
        }
        from = end;
    }
    if (status == MB_OK) {
        status = encode_segment(tokenizer, memory, bytes, from, n_bytes, &n_words, out, error);
    }
    if (out->n_tokens > n_before) {
        memset(out->types + n_before, 0, (out->n_tokens - n_before) * sizeof *out->types);
    }
    return status;
}

mb_status mb_tokenizer_encode(const mb_tokenizer *tokenizer, const char *text, size_t n_bytes, mb_encoding *out,
                              mb_error *error) {
    out->n_tokens = 0;
    return mb_encode_append(tokenizer, text, n_bytes, out, error);
}

mb_status mb_tokenizer_encode_by(const mb_tokenizer *tokenizer, const char *text, size_t n_bytes, mb_encoding *worker,
                                 mb_encoding *out, mb_error *error) {
    void *own = out->scratch;
    out->scratch = worker->scratch;
    const mb_status status = mb_tokenizer_encode(tokenizer, text, n_bytes, out, error);
    worker->scratch = out->scratch;
    out->scratch = own;
    return status;
}
