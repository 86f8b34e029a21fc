#include "base/memory.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGNMENT = 64 };

void *mb_memory_alloc(size_t n_bytes) {
    const bool large = n_bytes >= MB_HUGE_PAGE_BYTES;
    void *memory;
    if (n_bytes > SIZE_MAX / 2) { /* no object is as large; AddressSanitizer would not let the allocator say so */
        return NULL;
    }
    if (posix_memalign(&memory, large ? MB_HUGE_PAGE_BYTES : ALIGNMENT, n_bytes > 0 ? n_bytes : 1) != 0) {
        return NULL;
    }
#ifdef MADV_HUGEPAGE
    if (large) {
        /* A wish: a kernel without huge pages says no, and small ones do. Whole ones: a last one would be mostly empty. */
        (void)madvise(memory, n_bytes / MB_HUGE_PAGE_BYTES * MB_HUGE_PAGE_BYTES, MADV_HUGEPAGE);
    }
#endif
    return memory;
}

void *mb_memory_zeros(size_t count, size_t size_bytes) {
    size_t n_bytes;
    void *memory = __builtin_mul_overflow(count, size_bytes, &n_bytes) ? NULL : mb_memory_alloc(n_bytes);
    return memory != NULL ? memset(memory, 0, n_bytes) : NULL;
}
