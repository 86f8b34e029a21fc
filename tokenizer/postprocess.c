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

static void put_special(mb_encoding *encoding, size_t at, int32_t id, int32_t type) {
    encoding->ids[at] = id;
    encoding->starts[at] = encoding->ends[at] = 0;
    encoding->words[at] = UINT32_MAX;
    encoding->types[at] = type;
}

/* Appends a text and a place for the [SEP] behind it; *n_tokens without it. */
static mb_status append_text(const mb_tokenizer *tokenizer, const char *text, size_t n_bytes, mb_encoding *out,
                             size_t *n_tokens, mb_error *error) {
    const size_t begin = out->n_tokens;
    mb_status status = mb_encode_append(tokenizer, text, n_bytes, out, error);
    if (status == MB_OK) {
        status = mb_encoding_reserve(out, 1, error);
    }
    if (status == MB_OK) {
        *n_tokens = out->n_tokens++ - begin;
    }
    return status;
}

mb_status mb_tokenizer_encode_pair(const mb_tokenizer *tokenizer, const char *text_a, size_t n_bytes_a, const char *text_b,
                                   size_t n_bytes_b, size_t max_length, mb_encoding *out, mb_error *error) {
    const size_t n_specials = text_b == NULL ? 2 : 3;
    size_t n_a = 0, n_b = 0;
    out->n_tokens = 0;
    if (max_length != 0 && max_length < n_specials) {
        return mb_fail(error, MB_ERROR_USAGE, "a maximum length of %zu leaves no room for the %zu special tokens", max_length,
                       n_specials);
    }
    mb_status status = mb_encoding_reserve(out, 1, error);
    if (status == MB_OK) {
        out->n_tokens = 1;
        status = append_text(tokenizer, text_a, n_bytes_a, out, &n_a, error);
    }
    const size_t begin_b = out->n_tokens;
    if (status == MB_OK && text_b != NULL) {
        status = append_text(tokenizer, text_b, n_bytes_b, out, &n_b, error);
    }
    if (status != MB_OK) {
        out->n_tokens = 0;
        return status;
    }
    if (max_length != 0) {
        longest_first(max_length - n_specials, &n_a, &n_b);
    }
    const int32_t sep = tokenizer->specials[MB_SPECIAL_SEP];
    put_special(out, 0, tokenizer->specials[MB_SPECIAL_CLS], 0);
    put_special(out, n_a + 1, sep, 0);
    out->n_tokens = n_a + 2;
    if (text_b != NULL) {
        if (begin_b != out->n_tokens) {
            move(out, begin_b, out->n_tokens, n_b);
        }
        for (size_t i = out->n_tokens; i < out->n_tokens + n_b; i++) {
            out->types[i] = 1;
        }
        out->n_tokens += n_b + 1;
        put_special(out, out->n_tokens - 1, sep, 1);
    }
    return MB_OK;
}
