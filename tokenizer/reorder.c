#include "tokenizer/reorder.h"

#include <stdlib.h>

/* Room for one more character. */
static bool reserve(mb_word_reader *reader, size_t n_marks, size_t n_spans) {
    if (n_marks + MB_DECOMPOSITION_MAX > reader->mark_capacity) {
        size_t capacity = 2 * reader->mark_capacity + 64;
        mb_mark *marks = realloc(reader->marks, capacity * sizeof *marks);
        if (marks == NULL) {
            return false;
        }
        reader->marks = marks;
        reader->mark_capacity = capacity;
    }
    if (n_spans + 1 > reader->span_capacity) {
        size_t capacity = 2 * reader->span_capacity + 64;
        mb_span *spans = realloc(reader->spans, capacity * sizeof *spans);
        if (spans == NULL) {
            return false;
        }
        reader->spans = spans;
        reader->span_capacity = capacity;
    }
    return true;
}

static int compare_ranks(const void *a, const void *b) {
    uint64_t rank_a = ((const mb_mark *)a)->rank, rank_b = ((const mb_mark *)b)->rank;
    return (rank_a > rank_b) - (rank_a < rank_b);
}

/* Sorts each run of characters with a combining class; class 0 stays where it is and separates runs. */
static void order(mb_mark *marks, size_t n_marks) {
    size_t first = 0;
    for (size_t i = 0; i <= n_marks; i++) {
        if (i == n_marks || marks[i].rank >> 56 == 0) {
            if (i - first > 1) {
                qsort(marks + first, i - first, sizeof *marks, compare_ranks);
            }
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

bool mb_reorder_run(mb_word_reader *reader, const unsigned char *text, size_t n_text, size_t *position, size_t *n_marks) {
    size_t n = 0, n_spans = 0;
    while (*position < n_text) {
        size_t n_read;
        uint32_t code = mb_utf8_decode(text + *position, n_text - *position, &n_read);
        if (ends_word(reader->charmap, mb_charmap_get(reader->charmap, code))) {
            break;
        }
        uint32_t start = (uint32_t)*position;
        *position += n_read;
        if (reader->clean_text && mb_unicode_is_removed(code)) {
            continue;
        }
        if (!reserve(reader, n, n_spans)) {
            return false;
        }
        reader->spans[n_spans++] = (mb_span){.start = start, .end = (uint32_t)*position};
        uint32_t parts[MB_DECOMPOSITION_MAX];
        size_t n_parts = mb_unicode_decompose(code, parts);
        for (size_t k = 0; k < n_parts; k++, n++) {
            uint64_t rank = (uint64_t)mb_unicode_combining_class(parts[k]) << 56 | n;
            reader->marks[n] = (mb_mark){.rank = rank, .code = parts[k], .inserted = k > 0};
        }
    }
    order(reader->marks, n);
    *n_marks = n;
    return true;
}
