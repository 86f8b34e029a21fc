#include "data/text_check.h"

#include <stdbool.h>
#include <string.h>

#include "base/wraps.h"

/* Length of the well-formed non-ASCII character at `s`, 0 if there is none in the n bytes. */
static size_t character_bytes(const unsigned char *s, size_t n) {
    const unsigned char lead = s[0];
    /* The second byte's range excludes overlong forms (E0, F0), surrogates (ED) and what lies above U+10FFFF (F4). */
    unsigned char low = 0x80, high = 0xbf;
    size_t length;
    if (lead >= 0xc2 && lead <= 0xdf) {
        length = 2;
    } else if (lead >= 0xe0 && lead <= 0xef) {
        length = 3;
        low = lead == 0xe0 ? 0xa0 : low;
        high = lead == 0xed ? 0x9f : high;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
        length = 4;
        low = lead == 0xf0 ? 0x90 : low;
        high = lead == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    if (n < length || s[1] < low || s[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

/* Whether eight bytes are all ASCII and none is NUL: the common case, eight bytes a step. */
MB_WRAPS static bool is_plain(const unsigned char *s) {
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t word;
    memcpy(&word, s, sizeof(word));
    return ((word | (word - ones)) & tops) == 0;
}

size_t mb_text_check_range(const unsigned char *text, size_t n_bytes, size_t from, size_t to, mb_text_check *check) {
    size_t i = from;
    while (i < to) {
        if (to - i >= 8 && is_plain(text + i)) {
            i += 8;
        } else if (text[i] == 0) {
            if (check->n_nul++ == 0) {
                check->first_nul = i;
            }
            i++;
        } else if (text[i] < 0x80) {
            i++;
        } else {
            size_t length = character_bytes(text + i, n_bytes - i);
            if (length == 0 && check->n_malformed++ == 0) {
                check->first_malformed = i;
            }
            i += length == 0 ? 1 : length;
        }
    }
    return i;
}
