/* "Did you mean ...?": the known name closest to a mistyped one. */
#ifndef MB_BASE_NEAREST_H
#define MB_BASE_NEAREST_H

#include <stddef.h>

/* The entry of `names` (n of them, NULLs are skipped) with the smallest edit distance to `wanted`, the first one on a tie.
 * '-' and '_' count as equal. NULL when nothing is close: more than two edits, or more than a third of the word. */
const char *mb_nearest_name(const char *wanted, const char *const *names, size_t n);

#endif
