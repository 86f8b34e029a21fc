/* Bytes of unknown provenance as text that other programs accept. */
#ifndef MB_TASKS_TEXT_ESCAPE_H
#define MB_TASKS_TEXT_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"

/* Appends a JSON string with its quotes (RFC 8259). A byte that is not part of valid UTF-8 becomes U+FFFD. All return false
 * without memory. */
bool mb_append_json_text(mb_buffer *out, const char *text, size_t n_bytes);
/* Appends the text with every white-space and control character as '_' ("_" if it is empty), as formats need whose fields are
 * separated by spaces; invalid bytes as above. */
bool mb_append_word(mb_buffer *out, const char *text, size_t n_bytes);
/* Characters (code points) in valid UTF-8: bytes that do not continue one. */
size_t mb_count_characters(const char *text, size_t n_bytes);

#endif
