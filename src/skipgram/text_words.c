#include "skipgram/text_words.h"

#include <sys/mman.h>
#include <unistd.h>

void mb_text_release(const mb_map *text, const unsigned char *begin, const unsigned char *end) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    /* The page of `begin` too: when it was an end it stayed. */
    const size_t from = (size_t)(begin - text->data) / page * page, to = (size_t)(end - text->data) / page * page;
    if (from < to) { /* a hint: if the system takes it otherwise, nothing is lost */
        madvise((void *)(uintptr_t)(text->data + from), to - from, MADV_DONTNEED);
    }
}
