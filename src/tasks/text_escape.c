#include "tasks/text_escape.h"

#include <stdio.h>

/* Length of the UTF-8 sequence at text[0], 0 when it is not valid (RFC 3629: no surrogates, nothing overlong, nothing beyond
 * U+10FFFF). */
static size_t sequence_length(const unsigned char *text, size_t n_bytes) {
    const unsigned char c = text[0];
    if (c < 0x80) {
        return 1;
    }
    const size_t length = c >= 0xC2 && c <= 0xDF ? 2 : (c & 0xF0) == 0xE0 ? 3 : c >= 0xF0 && c <= 0xF4 ? 4 : 0;
    if (length == 0 || length > n_bytes) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    const bool overlong = (c == 0xE0 && text[1] < 0xA0) || (c == 0xF0 && text[1] < 0x90);
    const bool outside = (c == 0xED && text[1] > 0x9F) || (c == 0xF4 && text[1] > 0x8F);
    return overlong || outside ? 0 : length;
}

static const char REPLACEMENT[] = "\xEF\xBF\xBD"; /* U+FFFD */

static bool append_json_ascii(mb_buffer *out, unsigned char c) {
    switch (c) {
    case '"':
        return mb_buffer_append_text(out, "\\\"");
    case '\\':
        return mb_buffer_append_text(out, "\\\\");
    case '\n':
        return mb_buffer_append_text(out, "\\n");
    case '\t':
        return mb_buffer_append_text(out, "\\t");
    case '\r':
        return mb_buffer_append_text(out, "\\r");
    default:
        return c < 0x20 ? mb_buffer_printf(out, "\\u%04x", c) : mb_buffer_append(out, &c, 1);
    }
}

bool mb_append_json_text(mb_buffer *out, const char *text, size_t n_bytes) {
    bool fine = mb_buffer_append(out, "\"", 1);
    for (size_t i = 0; fine && i < n_bytes;) {
        const size_t length = sequence_length((const unsigned char *)text + i, n_bytes - i);
        if (length == 1) {
            fine = append_json_ascii(out, (unsigned char)text[i]);
        } else {
            fine = length ? mb_buffer_append(out, text + i, length) : mb_buffer_append_text(out, REPLACEMENT);
        }
        i += length ? length : 1;
    }
    return fine && mb_buffer_append(out, "\"", 1);
}

bool mb_append_word(mb_buffer *out, const char *text, size_t n_bytes) {
    bool fine = n_bytes > 0 || mb_buffer_append(out, "_", 1);
    for (size_t i = 0; fine && i < n_bytes;) {
        const size_t length = sequence_length((const unsigned char *)text + i, n_bytes - i);
        if (length == 1 && ((unsigned char)text[i] <= ' ' || text[i] == 0x7F)) {
            fine = mb_buffer_append(out, "_", 1);
        } else {
            fine = length ? mb_buffer_append(out, text + i, length) : mb_buffer_append_text(out, REPLACEMENT);
        }
        i += length ? length : 1;
    }
    return fine;
}

size_t mb_count_characters(const char *text, size_t n_bytes) {
    size_t n = 0;
    for (size_t i = 0; i < n_bytes; i++) {
        n += ((unsigned char)text[i] & 0xC0) != 0x80;
    }
    return n;
}
