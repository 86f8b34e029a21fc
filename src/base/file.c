#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- calls that a signal may interrupt --- */

int mb_open(const char *path, int flags) {
    int fd;
    do {
        fd = open(path, flags | O_CLOEXEC, 0666);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

static ssize_t read_again(int fd, void *out, size_t n_bytes) {
    ssize_t n;
    do {
        n = read(fd, out, n_bytes);
    } while (n < 0 && errno == EINTR);
    return n;
}

static int sync_again(int fd) {
    int result;
    do {
        result = fsync(fd);
    } while (result != 0 && errno == EINTR);
    return result;
}

/* Linux has closed the descriptor when close says EINTR. */
static int close_once(int fd) {
    return close(fd) != 0 && errno != EINTR ? -1 : 0;
}

int mb_flock(int fd) {
    int result;
    do {
        result = flock(fd, LOCK_EX | LOCK_NB);
    } while (result != 0 && errno == EINTR);
    return result;
}

/* --- reading --- */

static mb_status open_for_reading(const char *path, int *fd, struct stat *info, mb_error *error) {
    *fd = mb_open(path, O_RDONLY);
    if (*fd < 0) {
        return mb_fail(error, MB_ERROR_IO, "cannot read '%s': %s", path, strerror(errno));
    }
    if (fstat(*fd, info) != 0 || S_ISDIR(info->st_mode)) {
        int reason = S_ISDIR(info->st_mode) ? EISDIR : errno;
        close(*fd);
        return mb_fail(error, MB_ERROR_IO, "cannot read '%s': %s", path, strerror(reason));
    }
    return MB_OK;
}

/* A file that can be read again, unlike a pipe. */
static mb_status open_regular(const char *path, int *fd, struct stat *info, mb_error *error) {
    mb_status status = open_for_reading(path, fd, info, error);
    if (status == MB_OK && !S_ISREG(info->st_mode)) {
        close(*fd);
        status = mb_fail(error, MB_ERROR_IO, "cannot read '%s': not a regular file", path);
    }
    return status;
}

mb_status mb_file_read(const char *path, mb_buffer *out, mb_error *error) {
    int fd;
    struct stat info;
    mb_status status = open_for_reading(path, &fd, &info, error);
    if (status != MB_OK) {
        return status;
    }
    enum { CHUNK_BYTES = 1 << 16 };
    size_t expected = info.st_size > 0 ? (size_t)info.st_size + 1 : CHUNK_BYTES;
    for (;;) { /* until end of file, not until st_size: a pipe has no size and a file may grow */
        if (!mb_buffer_reserve(out, expected)) {
            status = mb_fail(error, MB_ERROR_MEMORY, "cannot read '%s': out of memory", path);
            break;
        }
        ssize_t n = read_again(fd, out->data + out->n_bytes, expected);
        if (n < 0) {
            status = mb_fail(error, MB_ERROR_IO, "cannot read '%s': %s", path, strerror(errno));
        }
        if (n <= 0) {
            break;
        }
        out->n_bytes += (size_t)n;
        expected = CHUNK_BYTES;
    }
    if (out->data != NULL) {
        out->data[out->n_bytes] = '\0';
    }
    close(fd);
    return status;
}

mb_status mb_file_hash(const char *path, uint64_t *n_bytes, uint64_t *hash, mb_error *error) {
    enum { CHUNK_BYTES = 1 << 16 };
    int fd;
    struct stat info;
    mb_status status = open_regular(path, &fd, &info, error);
    if (status != MB_OK) {
        return status;
    }
    char chunk[CHUNK_BYTES];
    mb_hash content;
    mb_hash_begin(&content);
    ssize_t n;
    while ((n = read_again(fd, chunk, sizeof chunk)) > 0) {
        mb_hash_add(&content, chunk, (size_t)n);
    }
    if (n < 0) {
        status = mb_fail(error, MB_ERROR_IO, "cannot read '%s': %s", path, strerror(errno));
    }
    close(fd);
    *n_bytes = content.total_bytes;
    *hash = mb_hash_end(&content);
    return status;
}

mb_status mb_map_open(const char *path, mb_map *out, mb_error *error) {
    int fd;
    struct stat info;
    mb_status status = open_regular(path, &fd, &info, error);
    if (status != MB_OK) {
        return status;
    }
    *out = (mb_map){(const unsigned char *)"", 0};
    if (info.st_size > 0) {
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            status = mb_fail(error, MB_ERROR_IO, "cannot map '%s': %s", path, strerror(errno));
        } else {
            *out = (mb_map){data, (size_t)info.st_size};
        }
    }
    close(fd);
    return status;
}

void mb_map_close(mb_map *map) {
    if (map->n_bytes > 0) {
        munmap((void *)(uintptr_t)map->data, map->n_bytes);
    }
    *map = (mb_map){0};
}

/* --- writing --- */

enum { WRITER_BUFFER_BYTES = 1 << 16 };

struct mb_writer {
    char *path, *temporary_path;
    int fd;
    int failure; /* errno of the first failed call, 0 while all is well */
    uint64_t n_written;
    size_t n_buffered;
    char buffer[WRITER_BUFFER_BYTES];
};

static void free_writer(mb_writer *writer) {
    free(writer->path);
    free(writer->temporary_path);
    free(writer);
}

/* Everything up to the last '/', malloc'ed; NULL without memory. */
static char *parent_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* A writer holds a lock on its temporary file as long as it lives: one without a lock was left behind by a process that died.
 * What cannot be looked at or removed is left alone; it does no harm. */
static void remove_if_abandoned(int dir, const char *name) {
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0) {
        if (mb_flock(fd) == 0) {
            unlinkat(dir, name, 0);
        }
        close(fd);
    }
}

static const char temporary_mark[] = ".tmp.";

static void remove_abandoned(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    const size_t n_name = strlen(name), n_mark = strlen(temporary_mark);
    char *parent = parent_of(path);
    DIR *dir = parent != NULL ? opendir(parent) : NULL;
    free(parent);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (strncmp(entry->d_name, name, n_name) == 0 && strncmp(entry->d_name + n_name, temporary_mark, n_mark) == 0) {
            remove_if_abandoned(dirfd(dir), entry->d_name);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
}

/* Opens PATH.tmp.PID.N for the first N that is free; -1 with errno. */
static int open_temporary(const char *path, mb_buffer *name) {
    enum { MAX_TRIES = 1000 };
    for (int i = 0; i < MAX_TRIES; i++) {
        mb_buffer_clear(name);
        if (!mb_buffer_printf(name, "%s%s%ld.%d", path, temporary_mark, (long)getpid(), i)) {
            errno = ENOMEM;
            return -1;
        }
        int fd = mb_open(name->data, O_RDWR | O_CREAT | O_EXCL);
        if (fd < 0 && errno != EEXIST) {
            return -1;
        }
        struct stat info;
        /* A writer of the same file may take ours for abandoned before it is locked; then it has no name any more. */
        if (fd >= 0 && (mb_flock(fd) == 0 || errno != EWOULDBLOCK) && (fstat(fd, &info) != 0 || info.st_nlink > 0)) {
            return fd;
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    errno = EEXIST;
    return -1;
}

mb_status mb_writer_open(const char *path, mb_writer **out, mb_error *error) {
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) { /* the rename at the end would put a file in a device's place */
        return mb_fail(error, MB_ERROR_IO, "cannot write '%s': it is %s, not a file", path,
                       S_ISDIR(info.st_mode) ? "a directory" : "a device or pipe");
    }
    mb_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL || (writer->path = strdup(path)) == NULL) {
        free(writer);
        return mb_fail(error, MB_ERROR_MEMORY, "cannot write '%s': out of memory", path);
    }
    remove_abandoned(path);
    mb_buffer temporary = {0};
    writer->fd = open_temporary(path, &temporary);
    writer->temporary_path = temporary.data;
    if (writer->fd < 0) {
        mb_status status =
            mb_fail(error, errno == ENOMEM ? MB_ERROR_MEMORY : MB_ERROR_IO, "cannot write '%s': %s", path, strerror(errno));
        free_writer(writer);
        return status;
    }
    *out = writer;
    return MB_OK;
}

static void write_all(mb_writer *writer, const char *bytes, size_t n_bytes) {
    while (n_bytes > 0 && writer->failure == 0) {
        ssize_t n = write(writer->fd, bytes, n_bytes);
        if (n <= 0) {
            if (n == 0 || errno != EINTR) {
                writer->failure = n == 0 ? EIO : errno;
            }
            continue;
        }
        bytes += n;
        n_bytes -= (size_t)n;
    }
}

static void flush_buffer(mb_writer *writer) {
    write_all(writer, writer->buffer, writer->n_buffered);
    writer->n_buffered = 0;
}

void mb_writer_write(mb_writer *writer, const void *bytes, size_t n_bytes) {
    writer->n_written += n_bytes;
    if (n_bytes > WRITER_BUFFER_BYTES - writer->n_buffered) {
        flush_buffer(writer);
    }
    if (n_bytes >= WRITER_BUFFER_BYTES) {
        write_all(writer, bytes, n_bytes);
    } else if (n_bytes > 0) {
        memcpy(writer->buffer + writer->n_buffered, bytes, n_bytes);
        writer->n_buffered += n_bytes;
    }
}

void mb_writer_printf(mb_writer *writer, const char *format, ...) {
    char text[1024];
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int n = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (n < 0) {
        writer->failure = EINVAL;
    } else if ((size_t)n < sizeof text) {
        mb_writer_write(writer, text, (size_t)n);
    } else {
        char *long_text = NULL;
        if (vasprintf(&long_text, format, again) < 0) {
            writer->failure = ENOMEM;
        } else {
            mb_writer_write(writer, long_text, (size_t)n);
            free(long_text);
        }
    }
    va_end(again);
}

uint64_t mb_writer_n_bytes(const mb_writer *writer) {
    return writer->n_written;
}

mb_status mb_writer_commit(mb_writer *writer, mb_error *error) {
    flush_buffer(writer);
    if (writer->failure == 0 && sync_again(writer->fd) != 0 && errno != EINVAL) { /* EINVAL: a special file */
        writer->failure = errno;
    }
    if (close_once(writer->fd) != 0 && writer->failure == 0) {
        writer->failure = errno;
    }
    mb_status status = MB_OK;
    if (writer->failure != 0) {
        status = mb_fail(error, MB_ERROR_IO, "cannot write '%s': %s", writer->path, strerror(writer->failure));
    } else {
        status = mb_path_rename(writer->temporary_path, writer->path, error);
    }
    if (status != MB_OK) {
        unlink(writer->temporary_path);
    }
    free_writer(writer);
    return status;
}

void mb_writer_abort(mb_writer *writer) {
    if (writer != NULL) {
        close(writer->fd);
        unlink(writer->temporary_path);
        free_writer(writer);
    }
}

mb_status mb_file_write(const char *path, const void *bytes, size_t n_bytes, mb_error *error) {
    mb_writer *writer;
    mb_status status = mb_writer_open(path, &writer, error);
    if (status != MB_OK) {
        return status;
    }
    mb_writer_write(writer, bytes, n_bytes);
    return mb_writer_commit(writer, error);
}

mb_status mb_dir_sync(const char *path, mb_error *error) {
    int fd = mb_open(path, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        return mb_fail(error, MB_ERROR_IO, "cannot open the directory '%s': %s", path, strerror(errno));
    }
    mb_status status = MB_OK;
    if (sync_again(fd) != 0 && errno != EINVAL) { /* EINVAL: a file system without directory sync */
        status = mb_fail(error, MB_ERROR_IO, "cannot sync the directory '%s': %s", path, strerror(errno));
    }
    close(fd);
    return status;
}

mb_status mb_path_rename(const char *from, const char *to, mb_error *error) {
    if (rename(from, to) != 0) {
        return mb_fail(error, MB_ERROR_IO, "cannot rename '%s' to '%s': %s", from, to, strerror(errno));
    }
    return mb_parent_sync(to, error);
}

mb_status mb_parent_sync(const char *path, mb_error *error) {
    char *parent = parent_of(path);
    if (parent == NULL) {
        return mb_fail(error, MB_ERROR_MEMORY, "cannot sync the directory of '%s': out of memory", path);
    }
    mb_status status = mb_dir_sync(parent, error);
    free(parent);
    return status;
}

FILE *mb_file_unnamed(const char *dir) {
    int fd = mb_open(dir, O_RDWR | O_TMPFILE);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) { /* not on this file system */
        char *name = mb_path_join(dir, ".minibert-XXXXXX");
        fd = name != NULL ? mkstemp(name) : -1;
        if (fd >= 0) {
            unlink(name);
        }
        free(name);
    }
    FILE *file = fd >= 0 ? fdopen(fd, "w+") : NULL;
    if (file == NULL && fd >= 0) {
        const int reason = errno;
        close(fd);
        errno = reason;
    }
    return file;
}
