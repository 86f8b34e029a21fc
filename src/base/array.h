/* Arrays that grow large. */
#ifndef MB_BASE_ARRAY_H
#define MB_BASE_ARRAY_H

#include <stdbool.h>
#include <stddef.h>

/* realloc of a malloc'ed array (`array`: the address of a pointer of any type; NULL in it: a new one) from old_bytes in use to
 * new_bytes, which must be more. From 512 KiB on it lies on huge pages where the system has them: an array that is filled once
 * costs more in page faults than in stores. False: no memory, and the array is as it was. */
bool mb_array_grow(void *array, size_t old_bytes, size_t new_bytes);

#endif
