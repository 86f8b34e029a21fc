/* Is this text? Looks for NUL bytes (binary files) and for bytes that are not UTF-8 (text in another encoding). */
#ifndef MB_DATA_TEXT_CHECK_H
#define MB_DATA_TEXT_CHECK_H

#include <stddef.h>
#include <stdint.h>

typedef struct mb_text_check {
    uint64_t n_malformed;     /* bytes that belong to no well-formed UTF-8 character */
    uint64_t first_malformed; /* offset; only with n_malformed > 0 */
    uint64_t n_nul;           /* zero bytes */
    uint64_t first_nul;
} mb_text_check;

/* Adds what lies in [from, to) to `check`, which begins as {0}, and returns where the next call must go on: at `to`, or up to
 * three bytes behind it where a character straddles it. Well-formed is Unicode's table 3-7: no overlong forms, no surrogates,
 * nothing above U+10FFFF. */
size_t mb_text_check_range(const unsigned char *text, size_t n_bytes, size_t from, size_t to, mb_text_check *check);

#endif
