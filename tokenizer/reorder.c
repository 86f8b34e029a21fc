#include "tokenizer/reorder.h"

#include <string.h>

#include "base/array.h"

enum { MB_PARTS_MAX = 2 * MB_DECOMPOSITION_MAX }; /* of the two letters of U+0130 in lower case, in theory */

/* Room for one more character. */
static bool reserve(mb_word_reader *reader, size_t n_marks, size_t n_spans) {
    if (n_marks + MB_PARTS_MAX > reader->mark_capacity) {
        size_t capacity = 2 * reader->mark_capacity + 64;
        if (!mb_array_grow(&reader->marks, n_marks * sizeof *reader->marks, capacity * sizeof *reader->marks) ||
            !mb_array_grow(&reader->unordered, 0, capacity * sizeof *reader->unordered)) {
            return false;
        }
        reader->mark_capacity = capacity;
    }
    if (n_spans + 1 > reader->span_capacity) {
        size_t capacity = 2 * reader->span_capacity + 64;
        if (!mb_array_grow(&reader->spans, n_spans * sizeof *reader->spans, capacity * sizeof *reader->spans)) {
            return false;
        }
        reader->span_capacity = capacity;
    }
    return true;
}

/* Moves marks that are out of order, in a run of them: `n` have a combining class. Stable, and linear in `n` for long runs. */
static void order_run(mb_mark *marks, size_t n, mb_mark *space) {
    enum { INSERTION_MAX = 16 };
    if (n <= INSERTION_MAX) {
        for (size_t i = 1; i < n; i++) {
            mb_mark mark = marks[i];
            size_t at = i;
            for (; at > 0 && marks[at - 1].class > mark.class; at--) {
                marks[at] = marks[at - 1];
            }
            marks[at] = mark;
        }
        return;
    }
    size_t begins[256 + 1] = {0};
    for (size_t i = 0; i < n; i++) {
        begins[marks[i].class + 1]++;
    }
    for (size_t class = 0; class < 256; class ++) {
        begins[class + 1] += begins[class];
    }
    memcpy(space, marks, n * sizeof *marks);
    for (size_t i = 0; i < n; i++) {
        marks[begins[space[i].class]++] = space[i];
    }
}

/* Class 0 stays where it is and separates runs. `space` has room for as many marks. */
static void order(mb_mark *marks, size_t n_marks, mb_mark *space) {
    size_t first = 0;
    for (size_t i = 0; i <= n_marks; i++) {
        if (i == n_marks || marks[i].class == 0) {
            order_run(marks + first, i - first, space);
            first = i + 1;
        }
    }
}

static bool ends_word(const mb_charmap *charmap, mb_char_entry entry) {
    mb_char_kind kind = mb_char_kind_of(entry);
    if (kind == MB_CHAR_EXPAND) {
        size_t n, first = mb_char_expansion(entry, &n);
        kind = mb_char_kind_of(charmap->expansions[first]);
    }
    return kind == MB_CHAR_SPACE || kind == MB_CHAR_ALONE;
}

/* Lower case, where it comes first, and decomposition of the character at `at`. Returns how many; at most MB_PARTS_MAX. */
static size_t expand(const mb_words *words, uint32_t code, size_t at, uint32_t *out) {
    const mb_word_reader *reader = words->reader;
    uint32_t lower[2] = {code};
    size_t n_lower = 1, n = 0;
    if (reader->lower && reader->compat == MB_COMPAT_GOOGLE) {
        if (code == MB_CAPITAL_SIGMA) {
            lower[0] = mb_sigma_lower(reader, words->text, words->from, words->n_text, at);
        } else {
            n_lower = mb_unicode_lower(reader->compat, code, lower);
        }
    }
    for (size_t i = 0; i < n_lower; i++) {
        n += mb_unicode_decompose(reader->compat, lower[i], out + n);
    }
    return n;
}

bool mb_reorder_run(mb_words *words, size_t *n_marks) {
    mb_word_reader *reader = words->reader;
    size_t n = 0, n_spans = 0;
    while (words->position < words->n_text) {
        size_t n_read, at = words->position;
        uint32_t code = mb_utf8_decode(words->text + at, words->n_text - at, &n_read);
        const mb_char_entry entry = mb_charmap_get(reader->charmap, code);
        if (ends_word(reader->charmap, entry)) {
            break;
        }
        words->position += n_read;
        if (mb_char_kind_of(entry) == MB_CHAR_DROP && reader->clean_text && mb_unicode_is_removed(reader->compat, code)) {
            continue;
        }
        if (!reserve(reader, n, n_spans)) {
            return false;
        }
        reader->spans[n_spans++] = (mb_span){.start = (uint32_t)at, .end = (uint32_t)words->position};
        if (entry == (mb_char_entry)MB_CHAR_WORD << 29) { /* stays as it is, and is no mark */
            reader->marks[n++] = (mb_mark){.code = code};
            continue;
        }
        uint32_t parts[MB_PARTS_MAX];
        size_t n_parts = expand(words, code, at, parts);
        for (size_t k = 0; k < n_parts; k++, n++) {
            const bool is_accent = mb_unicode_is_accent(reader->compat, parts[k]);
            unsigned char class = (unsigned char)mb_unicode_combining_class(reader->compat, parts[k]);
            reader->marks[n] = (mb_mark){.code = parts[k], .class = class, .inserted = k > 0, .is_accent = is_accent};
        }
    }
    order(reader->marks, n, reader->unordered);
    *n_marks = n;
    return true;
}
