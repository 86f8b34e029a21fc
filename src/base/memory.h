/* Memory for arrays of many megabytes. */
#ifndef MB_BASE_MEMORY_H
#define MB_BASE_MEMORY_H

#include <stddef.h>

enum { MB_HUGE_PAGE_BYTES = 2 << 20 };

/* n_bytes that begin at a multiple of 64, not initialised; the caller frees them. From 2 MB on whole pages of 2 MB where the
 * system has them: a mini's bf16 step of 133 ms on pages of 4 KB takes 125 (Emerald Rapids, in a virtual machine, whose page
 * tables have two stages). NULL without memory. */
void *mb_memory_alloc(size_t n_bytes);
/* The same for `count` zeros of size_bytes each. */
void *mb_memory_zeros(size_t count, size_t size_bytes);

#endif
