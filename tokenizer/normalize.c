#include "tokenizer/normalize.h"

#include <stdlib.h>
#include <string.h>

#include "tokenizer/normalize_inline.h"
#include "tokenizer/reorder.h"

bool mb_word_reader_set(mb_word_reader *reader, const mb_charmap *charmap, const mb_tokenizer_config *config) {
    reader->charmap = charmap;
    reader->max_chars = (size_t)config->max_chars_per_word;
    reader->clean_text = config->clean_text;
    reader->lower = config->do_lower_case;
    reader->compat = config->compat;
    for (uint32_t code = 0; code < 256; code++) {
        reader->byte_kind[code] =
            (unsigned char)(code < 0x80 ? mb_char_kind_of(mb_charmap_get(charmap, code)) : MB_CHAR_REORDER);
    }
    size_t capacity = 4 * reader->max_chars + MB_KEY_BYTES;
    if (capacity > reader->capacity_bytes) {
        mb_word_reader_free(reader);
        reader->bytes = malloc(capacity);
        reader->starts = malloc(capacity * sizeof *reader->starts);
        reader->ends = malloc(capacity * sizeof *reader->ends);
        if (reader->bytes == NULL || reader->starts == NULL || reader->ends == NULL) {
            mb_word_reader_free(reader);
            return false;
        }
        reader->capacity_bytes = capacity;
    }
    return true;
}

void mb_word_reader_free(mb_word_reader *reader) {
    free(reader->bytes);
    free(reader->starts);
    free(reader->ends);
    free(reader->marks);
    free(reader->unordered);
    free(reader->spans);
    reader->bytes = NULL;
    reader->starts = reader->ends = NULL;
    reader->marks = reader->unordered = NULL;
    reader->spans = NULL;
    reader->capacity_bytes = reader->mark_capacity = reader->span_capacity = 0;
}

void mb_words_begin(mb_words *words, mb_word_reader *reader, const unsigned char *text, size_t from, size_t n_text) {
    *words = (mb_words){.reader = reader, .text = text, .from = from, .n_text = n_text, .position = from, .run_start = from};
}

/* --- the general path --- */

/* Appends a character to the word that is being built; beyond max_chars only its span matters. */
static void put(mb_words *words, size_t *n_chars, uint32_t code, uint32_t start, uint32_t end) {
    mb_word_reader *reader = words->reader;
    if (*n_chars < reader->max_chars) {
        reader->starts[words->n_bytes] = start;
        words->n_bytes += mb_utf8_encode(code, reader->bytes + words->n_bytes);
        reader->ends[words->n_bytes - 1] = end;
    }
    if (*n_chars == 0) {
        words->start = start;
    }
    words->end = end;
    ++*n_chars;
}

/* The Unicode Standard, 3.12: a syllable is a leading consonant, a vowel and perhaps a trailing consonant. */
static void put_hangul(mb_words *words, size_t *n_chars, uint32_t code, uint32_t start, uint32_t end) {
    uint32_t index = code - 0xAC00;
    put(words, n_chars, 0x1100 + index / (21 * 28), start, end);
    put(words, n_chars, 0x1161 + index % (21 * 28) / 28, start, end);
    if (index % 28 != 0) {
        put(words, n_chars, 0x11A7 + index % 28, start, end);
    }
}

/* The entries of a character that stands for several, from words->n_expanded_read on. True: the word is complete. */
static bool put_expansion(mb_words *words, size_t *n_chars, mb_char_entry entry, uint32_t start, uint32_t end) {
    size_t n, first = mb_char_expansion(entry, &n);
    const mb_char_entry *entries = words->reader->charmap->expansions + first;
    while (words->n_expanded_read < n) {
        mb_char_entry part = entries[words->n_expanded_read];
        mb_char_kind kind = mb_char_kind_of(part);
        if (kind != MB_CHAR_WORD && *n_chars > 0) {
            return true;
        }
        words->n_expanded_read++;
        if (kind == MB_CHAR_SPACE) {
            continue;
        }
        put(words, n_chars, mb_char_code(part, 0), start, end);
        if (kind == MB_CHAR_ALONE && words->n_expanded_read < n) {
            return true;
        }
        if (kind == MB_CHAR_ALONE) {
            words->position = end;
            words->n_expanded_read = 0;
            words->run_start = end;
            return true;
        }
    }
    words->position = end;
    words->n_expanded_read = 0;
    return false;
}

/* Begins the word again from its first character, this time with its marks in canonical order. True: the word is complete (or
 * there is no memory). */
static bool read_reordered(mb_words *words, size_t *n_chars) {
    mb_word_reader *reader = words->reader;
    size_t n_marks;
    words->n_bytes = *n_chars = 0;
    words->position = words->run_start;
    words->n_expanded_read = 0;
    if (!mb_reorder_run(words, &n_marks)) {
        words->no_memory = true;
        return true;
    }
    size_t n_read = 0; /* characters of the raw text: Hugging Face aligns by counting, so spans do not move with their marks */
    for (size_t i = 0; i < n_marks; i++) {
        n_read += !reader->marks[i].inserted;
        if (reader->marks[i].is_accent) {
            continue;
        }
        uint32_t lower[2] = {reader->marks[i].code};
        size_t n_lower = reader->lower && reader->compat == MB_COMPAT_HF
                             ? mb_unicode_lower(reader->compat, reader->marks[i].code, lower)
                             : 1;
        mb_span span = reader->spans[n_read - 1];
        for (size_t k = 0; k < n_lower; k++) {
            put(words, n_chars, lower[k], span.start, span.end);
        }
    }
    return true;
}

/* Reads one character into the word. True: the word is complete (or there is no memory). */
static bool read_char(mb_words *words, size_t *n_chars) {
    size_t n_read;
    uint32_t code = mb_utf8_decode(words->text + words->position, words->n_text - words->position, &n_read);
    mb_char_entry entry = mb_charmap_get(words->reader->charmap, code);
    uint32_t start = (uint32_t)words->position, end = (uint32_t)(words->position + n_read);
    switch (mb_char_kind_of(entry)) {
    case MB_CHAR_WORD:
        put(words, n_chars, mb_char_code(entry, code), start, end);
        break;
    case MB_CHAR_HANGUL:
        put_hangul(words, n_chars, code, start, end);
        break;
    case MB_CHAR_DROP:
        break;
    case MB_CHAR_ALONE:
        if (*n_chars == 0) {
            put(words, n_chars, mb_char_code(entry, code), start, end);
            words->position = words->run_start = end;
        }
        return true;
    case MB_CHAR_SPACE:
        if (*n_chars > 0) {
            return true;
        }
        words->run_start = end;
        break;
    case MB_CHAR_EXPAND:
        return put_expansion(words, n_chars, entry, start, end);
    case MB_CHAR_SIGMA:
        put(words, n_chars, mb_sigma_lower(words->reader, words->text, words->from, words->n_text, start), start, end);
        break;
    case MB_CHAR_REORDER:
        return read_reordered(words, n_chars);
    }
    words->position = end;
    return false;
}

bool mb_words_next_general(mb_words *words) {
    size_t n_chars = 0;
    words->is_char = false;
    words->n_bytes = 0;
    while (words->position < words->n_text && !read_char(words, &n_chars)) {
    }
    if (words->no_memory || n_chars == 0) {
        return false;
    }
    words->bytes = words->reader->bytes;
    words->is_linear = false;
    words->too_long = n_chars > words->reader->max_chars;
    if (words->too_long) {
        words->n_bytes = 0;
    } else if (words->n_bytes < MB_KEY_BYTES) {
        memset(words->reader->bytes + words->n_bytes, 0, MB_KEY_BYTES);
        mb_words_set_key(words);
    }
    return true;
}
