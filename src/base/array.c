#include "base/array.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE_BYTES = 2 << 20, LARGE_BYTES = 1 << 19 };

static void *grow_large(void *old, size_t old_bytes, size_t new_bytes) {
    if (new_bytes > SIZE_MAX / 2) {
        return NULL;
    }
    const size_t rounded = (new_bytes + HUGE_PAGE_BYTES - 1) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    void *grown = aligned_alloc(HUGE_PAGE_BYTES, rounded);
    if (grown == NULL) {
        return NULL;
    }
    (void)madvise(grown, rounded, MADV_HUGEPAGE); /* a wish: a kernel without huge pages says no, and small ones do */
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
