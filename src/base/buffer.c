#include "base/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool mb_buffer_reserve(mb_buffer *buffer, size_t extra_bytes) {
    size_t wanted; /* with the terminating NUL */
    if (__builtin_add_overflow(buffer->n_bytes, extra_bytes, &wanted) || wanted >= SIZE_MAX / 2) {
        return false;
    }
    wanted++;
    if (wanted <= buffer->capacity_bytes) {
        return true;
    }
    size_t capacity = buffer->capacity_bytes < 32 ? 64 : buffer->capacity_bytes * 2;
    if (capacity < wanted) {
        capacity = wanted;
    }
    char *data = realloc(buffer->data, capacity);
    if (data == NULL) {
        return false;
    }
    buffer->data = data;
    buffer->capacity_bytes = capacity;
    return true;
}

bool mb_buffer_append(mb_buffer *buffer, const void *bytes, size_t n_bytes) {
    if (!mb_buffer_reserve(buffer, n_bytes)) {
        return false;
    }
    if (n_bytes > 0) {
        memcpy(buffer->data + buffer->n_bytes, bytes, n_bytes);
    }
    buffer->n_bytes += n_bytes;
    buffer->data[buffer->n_bytes] = '\0';
    return true;
}

bool mb_buffer_append_text(mb_buffer *buffer, const char *text) {
    return mb_buffer_append(buffer, text, strlen(text));
}

bool mb_buffer_printf(mb_buffer *buffer, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int n = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    bool ok = n >= 0 && mb_buffer_reserve(buffer, (size_t)n);
    if (ok) {
        (void)vsnprintf(buffer->data + buffer->n_bytes, (size_t)n + 1, format, again);
        buffer->n_bytes += (size_t)n;
    }
    va_end(again);
    return ok;
}

void mb_buffer_clear(mb_buffer *buffer) {
    buffer->n_bytes = 0;
    if (buffer->data != NULL) {
        buffer->data[0] = '\0';
    }
}

void mb_buffer_free(mb_buffer *buffer) {
    free(buffer->data);
    *buffer = (mb_buffer){0};
}
