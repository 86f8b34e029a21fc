/* Giving back the memory of mapped pages that have been read. */
#ifndef MB_DATA_MAP_RELEASE_H
#define MB_DATA_MAP_RELEASE_H

#include <stddef.h>

#include "base/file.h"

/* A walk over a large map works in blocks of this size and releases each, or resident memory grows to the size of the file. A
 * multiple of any page size. */
enum { MB_MAP_BLOCK_BYTES = 64 << 20 };

/* The bytes [from, to) are not needed soon. The map stays valid: they are read again when they are touched. Advice only. */
void mb_map_release(const mb_map *map, size_t from, size_t to);

#endif
