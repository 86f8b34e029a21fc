#include "base/array.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { LARGE_BYTES = 1 << 19 };

static void *grow_large(void *old, size_t old_bytes, size_t new_bytes) {
    if (new_bytes > SIZE_MAX / 2) {
        return NULL;
    }
    void *grown = mb_memory_alloc((new_bytes + MB_HUGE_PAGE_BYTES - 1) / MB_HUGE_PAGE_BYTES * MB_HUGE_PAGE_BYTES);
    if (grown == NULL) {
        return NULL;
    }
    if (old_bytes > 0) {
        memcpy(grown, old, old_bytes);
    }
    free(old);
    return grown;
}

bool mb_array_grow(void *array, size_t old_bytes, size_t new_bytes) {
    void *old;
    memcpy(&old, array, sizeof old);
    void *grown = new_bytes < LARGE_BYTES ? realloc(old, new_bytes) : grow_large(old, old_bytes, new_bytes);
    if (grown != NULL) {
        memcpy(array, &grown, sizeof grown);
    }
    return grown != NULL;
}
