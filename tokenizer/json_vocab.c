#include "tokenizer/json_vocab.h"

#include <stdlib.h>
#include <string.h>

#include "tokenizer/unicode.h"

/* A place in the text; NULL once something was not as expected. */
typedef struct cursor {
    const char *at, *end;
} cursor;

static void skip_space(cursor *c) {
    while (c->at != NULL && c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r')) {
        c->at++;
    }
}

static bool takes(cursor *c, char wanted) {
    skip_space(c);
    const bool there = c->at != NULL && c->at < c->end && *c->at == wanted;
    c->at = there ? c->at + 1 : c->at;
    return there;
}

static void expect(cursor *c, char wanted) {
    c->at = takes(c, wanted) ? c->at : NULL;
}

/* Past a string; its raw bytes in *begin and *n_bytes. */
static void skip_string(cursor *c, const char **begin, size_t *n_bytes) {
    expect(c, '"');
    *begin = c->at;
    while (c->at != NULL && c->at < c->end && *c->at != '"') {
        c->at += *c->at == '\\' && c->end - c->at > 1 ? 2 : 1;
    }
    if (c->at != NULL && c->at < c->end) {
        *n_bytes = (size_t)(c->at++ - *begin);
    } else {
        c->at = NULL;
    }
}

/* Past a value of any kind: what lies between brackets is not looked at. */
static void skip_value(cursor *c) {
    const char *begin;
    size_t n_bytes;
    int depth = 0;
    do {
        skip_space(c);
        if (c->at == NULL || c->at >= c->end) {
            c->at = NULL;
        } else if (*c->at == '"') {
            skip_string(c, &begin, &n_bytes);
        } else if (*c->at == '{' || *c->at == '[') {
            depth++;
            c->at++;
        } else if (*c->at == '}' || *c->at == ']') {
            depth--;
            c->at++;
        } else if (depth > 0 || strchr(",:", *c->at) == NULL) {
            c->at++;
            while (depth == 0 && c->at < c->end && strchr(",}] \t\r\n", *c->at) == NULL) {
                c->at++;
            }
        } else {
            c->at = NULL;
        }
    } while (c->at != NULL && depth > 0);
    c->at = depth < 0 ? NULL : c->at;
}

/* Moves from before an object to the value of one of its keys. */
static void find_key(cursor *c, const char *key) {
    expect(c, '{');
    while (c->at != NULL) {
        const char *begin;
        size_t n_bytes = 0;
        skip_string(c, &begin, &n_bytes);
        expect(c, ':');
        if (c->at == NULL || (n_bytes == strlen(key) && memcmp(begin, key, n_bytes) == 0)) {
            return;
        }
        skip_value(c);
        expect(c, ',');
    }
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The character behind a backslash; 0: none of those that are read here. */
static uint32_t escaped(cursor *c) {
    static const char codes[] = "\"\\/bfnrt", characters[] = "\"\\/\b\f\n\r\t";
    const char code = (char)(c->at < c->end ? *c->at++ : '\0');
    const char *place = code != '\0' ? strchr(codes, code) : NULL;
    if (place != NULL) {
        return (uint32_t)characters[place - codes];
    }
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        const int digit = code == 'u' && c->at < c->end ? hex_digit(*c->at++) : -1;
        if (digit < 0) {
            return 0;
        }
        value = 16 * value + (uint32_t)digit;
    }
    return value >= 0xD800 && value <= 0xDFFF ? 0 : value; /* halves of a pair are left to the JSON reader */
}

/* Reads a string to `to`, with a NUL behind it; returns the place after that. */
static char *read_text(cursor *c, char *to) {
    expect(c, '"');
    while (c->at != NULL && c->at < c->end && *c->at != '"') {
        const unsigned char byte = (unsigned char)*c->at++;
        if (byte != '\\') {
            *to++ = (char)byte;
            c->at = byte >= ' ' ? c->at : NULL;
            continue;
        }
        const uint32_t character = escaped(c);
        to += mb_utf8_encode(character, (unsigned char *)to);
        c->at = character != 0 ? c->at : NULL;
    }
    expect(c, '"');
    *to++ = '\0';
    return to;
}

static int32_t read_id(cursor *c) {
    skip_space(c);
    const char *begin = c->at;
    int32_t id = 0;
    while (c->at != NULL && c->at < c->end && *c->at >= '0' && *c->at <= '9' && c->at - begin < 9) {
        id = 10 * id + (*c->at++ - '0');
    }
    const bool plain = c->at != NULL && c->at > begin && (*begin != '0' || c->at - begin == 1);
    c->at = plain ? c->at : NULL;
    return id;
}

static bool add(mb_json_pieces *pieces, const char *text, int32_t id) {
    if (pieces->n == pieces->capacity) {
        const size_t capacity = 2 * pieces->capacity + 4096;
        mb_json_piece *items = realloc(pieces->items, capacity * sizeof *items);
        if (items == NULL) {
            return false;
        }
        pieces->items = items;
        pieces->capacity = capacity;
    }
    pieces->items[pieces->n++] = (mb_json_piece){text, id};
    return true;
}

/* The object's pieces. A piece takes at most as many bytes as its string, the NUL the place of a quote. */
static void read_object(cursor *c, mb_json_pieces *out) {
    char *to = out->memory;
    expect(c, '{');
    while (c->at != NULL) {
        const char *text = to;
        to = read_text(c, to);
        expect(c, ':');
        const int32_t id = read_id(c);
        if (c->at == NULL || !add(out, text, id)) {
            c->at = NULL;
        } else if (!takes(c, ',')) {
            expect(c, '}');
            return;
        }
    }
}

bool mb_json_pieces_cut(const char *text, size_t n_bytes, mb_json_pieces *out) {
    cursor c = {.at = text, .end = text + n_bytes};
    find_key(&c, "model");
    find_key(&c, "vocab");
    skip_space(&c);
    out->memory = c.at != NULL ? malloc((size_t)(c.end - c.at) + 1) : NULL;
    if (out->memory == NULL) {
        return false;
    }
    const char *begin = c.at;
    read_object(&c, out);
    return c.at != NULL && mb_buffer_append(&out->rest, text, (size_t)(begin - text)) &&
           mb_buffer_append_text(&out->rest, "{}") && mb_buffer_append(&out->rest, c.at, (size_t)(c.end - c.at));
}

void mb_json_pieces_free(mb_json_pieces *pieces) {
    free(pieces->items);
    free(pieces->memory);
    mb_buffer_free(&pieces->rest);
    *pieces = (mb_json_pieces){0};
}
