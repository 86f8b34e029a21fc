#include "base/memory.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGNMENT = 64, LARGE_PAGE = 2 << 20, LARGE_BYTES = 16 << 20 };

void *mb_memory_alloc(size_t n_bytes) {
    const bool large = n_bytes >= LARGE_BYTES;
    void *memory;
    if (n_bytes > SIZE_MAX / 2) { /* no object is as large; AddressSanitizer would not let the allocator say so */
        return NULL;
    }
    if (posix_memalign(&memory, large ? LARGE_PAGE : ALIGNMENT, n_bytes > 0 ? n_bytes : 1) != 0) {
        return NULL;
    }
#ifdef MADV_HUGEPAGE
    if (large) {
        (void)madvise(memory, n_bytes, MADV_HUGEPAGE); /* advice: without it nothing is lost but time */
    }
#endif
    return memory;
}

void *mb_memory_zeros(size_t count, size_t size_bytes) {
    size_t n_bytes;
    void *memory = __builtin_mul_overflow(count, size_bytes, &n_bytes) ? NULL : mb_memory_alloc(n_bytes);
    return memory != NULL ? memset(memory, 0, n_bytes) : NULL;
}
