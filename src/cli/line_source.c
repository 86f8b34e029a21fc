#include "cli/line_source.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"

enum { READ_BYTES = 1 << 18, BLOCK_BYTES = 1 << 22 };

struct mb_line_source {
    int fd;
    const char *name;
    /* a regular file */
    void *map;
    size_t map_bytes, map_begin; /* map_begin: where the descriptor stood */
    /* anything else */
    mb_buffer buffer;
    size_t n_handed; /* bytes of the buffer that the last block was */
    bool at_end;
};

/* Maps what is left of a regular file. False: it cannot be mapped, and is read. */
static bool map_file(mb_line_source *source) {
    struct stat info;
    const off_t begin = lseek(source->fd, 0, SEEK_CUR);
    if (fstat(source->fd, &info) != 0 || !S_ISREG(info.st_mode) || begin < 0 || info.st_size <= begin) {
        return false;
    }
    void *map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, source->fd, 0);
    if (map == MAP_FAILED) {
        return false;
    }
    madvise(map, (size_t)info.st_size, MADV_SEQUENTIAL);
    source->map = map;
    source->map_bytes = (size_t)info.st_size;
    source->map_begin = (size_t)begin;
    return true;
}

mb_status mb_line_source_open(int fd, const char *name, mb_line_source **out, mb_error *error) {
    mb_line_source *source = calloc(1, sizeof *source);
    *out = source;
    if (!source) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the input");
    }
    source->fd = fd;
    source->name = name;
    map_file(source);
    return MB_OK;
}

bool mb_line_source_is_file(const mb_line_source *source) {
    return source->map != NULL;
}

void mb_line_source_close(mb_line_source *source) {
    if (!source) {
        return;
    }
    if (source->map) {
        munmap(source->map, source->map_bytes);
    }
    mb_buffer_free(&source->buffer);
    free(source);
}

/* Appends what one read gives; it waits if nothing is there. */
static mb_status read_more(mb_line_source *source, const mb_job *job, mb_error *error) {
    mb_buffer *buffer = &source->buffer;
    if (!mb_buffer_reserve(buffer, READ_BYTES)) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory reading '%s'", source->name);
    }
    ssize_t n;
    do {
        if (mb_job_should_stop(job)) {
            return mb_fail(error, MB_ERROR_INTERRUPTED, "interrupted");
        }
        n = read(source->fd, buffer->data + buffer->n_bytes, READ_BYTES);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return mb_fail(error, MB_ERROR_IO, "cannot read '%s': %s", source->name, strerror(errno));
    }
    source->at_end = n == 0;
    buffer->n_bytes += (size_t)n;
    return MB_OK;
}

/* Whether a read would return at once. */
static bool has_more(const mb_line_source *source) {
    struct pollfd question = {.fd = source->fd, .events = POLLIN};
    return poll(&question, 1, 0) == 1;
}

static mb_status next_read(mb_line_source *source, const mb_job *job, mb_line_block *block, mb_error *error) {
    mb_buffer *buffer = &source->buffer;
    if (source->n_handed > 0) {
        memmove(buffer->data, buffer->data + source->n_handed, buffer->n_bytes - source->n_handed);
        buffer->n_bytes -= source->n_handed;
        source->n_handed = 0;
    }
    size_t n_lines_bytes = 0, n_scanned = 0; /* bytes of whole lines; bytes that were searched for a line feed */
    while (!source->at_end && (n_lines_bytes == 0 || (n_lines_bytes < BLOCK_BYTES && has_more(source)))) {
        mb_status status = read_more(source, job, error);
        if (status != MB_OK) {
            return status;
        }
        const char *feed =
            buffer->n_bytes > n_scanned ? memrchr(buffer->data + n_scanned, '\n', buffer->n_bytes - n_scanned) : NULL;
        n_lines_bytes = feed ? (size_t)(feed - buffer->data) + 1 : n_lines_bytes;
        n_scanned = buffer->n_bytes;
    }
    source->n_handed = source->at_end ? buffer->n_bytes : n_lines_bytes;
    *block = (mb_line_block){.text = buffer->data, .n_bytes = source->n_handed};
    return MB_OK;
}

mb_status mb_line_source_next(mb_line_source *source, const mb_job *job, mb_line_block *block, mb_error *error) {
    if (!source->map) {
        return next_read(source, job, block, error);
    }
    *block = (mb_line_block){.text = (const char *)source->map + source->map_begin,
                             .n_bytes = source->map_bytes - source->map_begin};
    source->map_begin = source->map_bytes; /* the next block is empty: the end */
    return MB_OK;
}
