#include "data/map_release.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

void mb_map_release(const mb_map *map, size_t from, size_t to) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t first = from / page * page, last = to == map->n_bytes ? to : to / page * page;
    if (last > first) {
        (void)madvise((void *)(uintptr_t)(map->data + first), last - first, MADV_DONTNEED);
    }
}
