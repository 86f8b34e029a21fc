/* A growable byte buffer; begins as {0}. All functions return false when there is no memory, and leave the buffer as it was. */
#ifndef MB_BASE_BUFFER_H
#define MB_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct mb_buffer {
    char *data; /* NUL terminated after any append; NULL while empty and never appended to */
    size_t n_bytes;
    size_t capacity_bytes;
} mb_buffer;

bool mb_buffer_reserve(mb_buffer *buffer, size_t extra_bytes);
bool mb_buffer_append(mb_buffer *buffer, const void *bytes, size_t n_bytes);
bool mb_buffer_append_text(mb_buffer *buffer, const char *text);
__attribute__((format(printf, 2, 3))) bool mb_buffer_printf(mb_buffer *buffer, const char *format, ...);
void mb_buffer_clear(mb_buffer *buffer); /* keeps the memory */
void mb_buffer_free(mb_buffer *buffer);

#endif
