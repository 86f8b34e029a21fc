/* The one letter whose lower case depends on its neighbours (see mb_unicode_is_cased). */
#include "tokenizer/normalize.h"

enum { FINAL_SIGMA = 0x3C2, SMALL_SIGMA = 0x3C3 };

/* Whether the search for a neighbour goes on behind this character. */
static bool is_passed(const mb_word_reader *reader, uint32_t code) {
    return mb_unicode_is_case_ignorable(code) || (reader->clean_text && mb_unicode_is_removed(reader->compat, code));
}

/* The character that ends at `end` (> from); its length in *n_bytes. A bad byte is U+FFFD, whatever part it is of. */
static uint32_t decode_before(const unsigned char *text, size_t from, size_t end, size_t *n_bytes) {
    for (size_t n = 2; n <= 4 && n <= end - from; n++) {
        size_t n_read;
        if (text[end - n] >= 0xC2 && mb_utf8_decode(text + end - n, n, &n_read) != MB_REPLACEMENT && n_read == n) {
            *n_bytes = n;
            return mb_utf8_decode(text + end - n, n, &n_read);
        }
    }
    *n_bytes = 1;
    return text[end - 1] < 0x80 ? text[end - 1] : MB_REPLACEMENT;
}

uint32_t mb_sigma_lower(const mb_word_reader *reader, const unsigned char *text, size_t from, size_t n_text, size_t at) {
    size_t n_bytes, before = at, behind = at + 2;
    bool is_after_letter = false;
    while (before > from) {
        uint32_t code = decode_before(text, from, before, &n_bytes);
        before -= n_bytes;
        if (!is_passed(reader, code)) {
            is_after_letter = mb_unicode_is_cased(code);
            break;
        }
    }
    while (is_after_letter && behind < n_text) {
        uint32_t code = mb_utf8_decode(text + behind, n_text - behind, &n_bytes);
        behind += n_bytes;
        if (!is_passed(reader, code)) {
            return mb_unicode_is_cased(code) ? SMALL_SIGMA : FINAL_SIGMA;
        }
    }
    return is_after_letter ? FINAL_SIGMA : SMALL_SIGMA;
}
