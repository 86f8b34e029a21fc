#include <string.h>

#include "tokenizer/tokenizer_internal.h"

/* How many tokens of each text stay when a + b must fit into `room`: Hugging Face's "longest_first", in closed form. The
 * shorter text keeps all its tokens if the longer one can make the room, else they halve it, the odd token going to the longer
 * one, or to the second if they are equal. */
static void longest_first(size_t room, size_t *n_a, size_t *n_b) {
    if (*n_a + *n_b <= room) {
        return;
    }
    bool a_is_longer = *n_a > *n_b;
    size_t shorter = a_is_longer ? *n_b : *n_a;
    size_t longer = shorter > room ? shorter : room - shorter;
    if (longer < shorter) {
        longer = shorter;
    }
    if (shorter + longer > room) {
        shorter = room / 2;
        longer = room - shorter;
    }
    *n_a = a_is_longer ? longer : shorter;
    *n_b = a_is_longer ? shorter : longer;
}

/* Moves n tokens from place `from` to place `to`. */
static void move(mb_encoding *encoding, size_t from, size_t to, size_t n) {
    memmove(encoding->ids + to, encoding->ids + from, n * sizeof *encoding->ids);
    memmove(encoding->starts + to, encoding->starts + from, n * sizeof *encoding->starts);
    memmove(encoding->ends + to, encoding->ends + from, n * sizeof *encoding->ends);
    memmove(encoding->words + to, encoding->words + from, n * sizeof *encoding->words);
}

static void put_special(mb_encoding *encoding, size_t at, int32_t id) {
    encoding->ids[at] = id;
    encoding->starts[at] = encoding->ends[at] = 0;
    encoding->words[at] = UINT32_MAX;
}

mb_status mb_tokenizer_encode_pair(const mb_tokenizer *tokenizer, const char *text_a, size_t n_bytes_a, const char *text_b,
                                   size_t n_bytes_b, size_t max_length, mb_encoding *out, mb_error *error) {
    size_t n_added = text_b == NULL ? 2 : 3;
    out->n_tokens = 0;
    if (max_length != 0 && max_length < n_added) {
        return mb_fail(error, MB_ERROR_USAGE, "a maximum length of %zu leaves no room for the %zu special tokens", max_length,
                       n_added);
    }
    mb_status status = mb_encode_append(tokenizer, text_a, n_bytes_a, out, error);
    size_t n_a = out->n_tokens;
    if (status == MB_OK && text_b != NULL) {
        status = mb_encode_append(tokenizer, text_b, n_bytes_b, out, error);
    }
    size_t begin_b = n_a, n_b = out->n_tokens - n_a;
    if (status == MB_OK) {
        status = mb_encoding_reserve(out, n_added, error);
    }
    if (status != MB_OK) {
        out->n_tokens = 0;
        return status;
    }
    if (max_length != 0) {
        longest_first(max_length - n_added, &n_a, &n_b);
    }
    /* b first moves behind its final place, so that neither move overwrites what the other needs. */
    int32_t cls = tokenizer->specials[MB_SPECIAL_CLS], sep = tokenizer->specials[MB_SPECIAL_SEP];
    move(out, begin_b, begin_b + 2, n_b);
    move(out, 0, 1, n_a);
    move(out, begin_b + 2, n_a + 2, n_b);
    put_special(out, 0, cls);
    put_special(out, n_a + 1, sep);
    out->n_tokens = n_a + 2;
    memset(out->types, 0, out->n_tokens * sizeof *out->types);
    if (text_b != NULL) {
        out->n_tokens += n_b + 1;
        put_special(out, out->n_tokens - 1, sep);
        for (size_t i = n_a + 2; i < out->n_tokens; i++) {
            out->types[i] = 1;
        }
    }
    return MB_OK;
}
