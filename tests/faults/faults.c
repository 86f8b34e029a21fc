/* Faults for tests: linked into minibert_faults, the whole program with every call below wrapped by the linker (--wrap, see
 * tests/CMakeLists.txt). The program itself knows nothing of it. Calls are counted from 1, in two series: those that reach the
 * file system, and those that allocate. The environment says what goes wrong:
 *
 *   MINIBERT_FAULT=fail:K:ERRNO   the K-th file call fails, once, with that number
 *   MINIBERT_FAULT=full:K[:ERRNO] from the K-th file call on the disk is full: what needs space fails with ENOSPC, or that
 * number MINIBERT_FAULT=readonly:K     from the K-th file call on what would change the file system fails with EROFS
 *   MINIBERT_FAULT=short:K        from the K-th file call on a read or write of a descriptor does half of what it is asked to
 *   MINIBERT_FAULT=interrupt:K    from the K-th file call on every other call that may be interrupted fails with EINTR
 *   MINIBERT_FAULT=kill:K         SIGKILL in place of the K-th file call
 *   MINIBERT_FAULT=slow:MICROS    every call that changes the file system takes that much longer
 *   MINIBERT_FAULT=memory:K       the K-th allocation fails, once
 *   MINIBERT_FAULT_LOG=FILE       what becomes of which file, a line a call: "open PATH", "write PATH", "sync PATH", "rename
 * FROM TO" MINIBERT_FAULT_COUNT=FILE     at exit the two counts are written there: "files N" and "allocations N" */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a call does to the file system: the kinds of fault that can meet it. */
enum { READS = 0, CHANGES = 1, TAKES_SPACE = 2, MAY_WAIT = 4, WRITES = CHANGES | TAKES_SPACE };

static atomic_long n_calls, n_allocations, n_interruptible;
static long first;
static int error_number;
static enum fault { NONE, FAIL, FULL, READONLY, SHORT, INTERRUPT, KILL, SLOW, MEMORY } kind;

static void write_counts(void) {
    const char *path = getenv("MINIBERT_FAULT_COUNT");
    char text[80];
    const int n = snprintf(text, sizeof text, "files %ld\nallocations %ld\n", n_calls, n_allocations);
    int __real_open(const char *, int, ...);
    const int fd = __real_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    ssize_t __real_write(int, const void *, size_t);
    if (fd < 0 || __real_write(fd, text, (size_t)n) != n) {
        abort();
    }
}

static void *json_malloc(size_t n_bytes);

static int log_fd = -1;

/* Paths as they are given, or that of a descriptor. */
static void log_call(const char *what, const char *path, const char *to) {
    char text[8192];
    if (log_fd >= 0) {
        const int before = errno, n = snprintf(text, sizeof text, "%s %s%s%s\n", what, path, to ? " " : "", to ? to : "");
        ssize_t __real_write(int, const void *, size_t);
        if (n >= (int)sizeof text || __real_write(log_fd, text, (size_t)n) != n) {
            abort();
        }
        errno = before;
    }
}

static void log_descriptor(const char *what, int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = log_fd >= 0 ? readlink(link, path, sizeof path - 1) : -1;
    if (n >= 0) {
        path[n] = '\0';
        log_call(what, path, NULL);
    }
}

/* gcov writes its files at exit, by thousands of small calls. */
static void end_faults(void) {
    kind = NONE;
}

__attribute__((constructor)) static void read_environment(void) {
    static const char *const names[] = {"", "fail", "full", "readonly", "short", "interrupt", "kill", "slow", "memory"};
    const char *text = getenv("MINIBERT_FAULT");
    for (int i = 1; text && i < (int)(sizeof names / sizeof *names); i++) {
        const size_t n = strlen(names[i]);
        if (strncmp(text, names[i], n) == 0 && text[n] == ':') {
            char *end;
            kind = (enum fault)i;
            first = strtol(text + n + 1, &end, 10);
            error_number = *end == ':' ? (int)strtol(end + 1, NULL, 10) : 0;
        }
    }
    if (text && kind == NONE) {
        abort();
    }
    if (getenv("MINIBERT_FAULT_LOG")) {
        int __real_open(const char *, int, ...);
        log_fd = __real_open(getenv("MINIBERT_FAULT_LOG"), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
    }
    if (getenv("MINIBERT_FAULT_COUNT")) {
        atexit(write_counts);
    }
    atexit(end_faults);
    json_set_alloc_funcs(json_malloc, free);
}

static bool fail_with(int number) {
    errno = number;
    return true;
}

/* Called before every file call: whether it is to fail, errno then says how. */
static bool fails(int what) {
    const long number = ++n_calls;
    if (kind == SLOW && what & CHANGES) {
        usleep((useconds_t)first);
    }
    if (kind == NONE || kind == SLOW || number < first) {
        return false;
    }
    switch (kind) {
    case FAIL:
        return number == first && fail_with(error_number != 0 ? error_number : EIO);
    case FULL:
        return what & TAKES_SPACE && fail_with(error_number != 0 ? error_number : ENOSPC);
    case READONLY:
        return what & CHANGES && fail_with(EROFS);
    case INTERRUPT:
        return what & MAY_WAIT && ++n_interruptible % 2 == 1 && fail_with(EINTR);
    case KILL:
        return kill(getpid(), SIGKILL) == 0;
    default:
        return false;
    }
}

static size_t shortened(size_t n_bytes) {
    return kind == SHORT && n_calls >= first && n_bytes > 1 ? n_bytes / 2 : n_bytes;
}

static bool allocation_fails(void) {
    return ++n_allocations == first && kind == MEMORY && fail_with(ENOMEM);
}

/* The standard streams are not files of ours: what befalls them is tested in tests/e2e/usage.sh. */
static bool is_standard(const FILE *stream) {
    return stream == stdin || stream == stdout || stream == stderr;
}

/* As a failed call on a stream does, for which C has no function: glibc's _IO_ERR_SEEN. */
static bool stream_fails(FILE *stream, int what) {
    const bool failed = !is_standard(stream) && fails(what);
    stream->_flags |= failed ? 0x20 : 0;
    return failed;
}

#define WRAP(type, name, parameters, what, failure, arguments)    \
    type __real_##name parameters;                                \
    type __wrap_##name parameters;                                \
    type __wrap_##name parameters {                               \
        return fails(what) ? (failure) : __real_##name arguments; \
    }
#define WRAP_ALLOCATION(type, name, parameters, failure, arguments)      \
    type __real_##name parameters;                                       \
    type __wrap_##name parameters;                                       \
    type __wrap_##name parameters {                                      \
        return allocation_fails() ? (failure) : __real_##name arguments; \
    }

/* --- descriptors --- */

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    log_call("open", path, NULL);
    return fails(MAY_WAIT | (flags & (O_CREAT | O_TRUNC) ? WRITES : READS)) ? -1 : __real_open(path, flags, mode);
}
int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...) { /* called without O_CREAT alone */
    return fails(MAY_WAIT) ? -1 : __real_openat(dir, path, flags);
}
ssize_t __real_read(int fd, void *bytes, size_t n_bytes);
ssize_t __wrap_read(int fd, void *bytes, size_t n_bytes);
ssize_t __wrap_read(int fd, void *bytes, size_t n_bytes) {
    return fails(MAY_WAIT) ? -1 : __real_read(fd, bytes, shortened(n_bytes));
}
ssize_t __real_write(int fd, const void *bytes, size_t n_bytes);
ssize_t __wrap_write(int fd, const void *bytes, size_t n_bytes);
ssize_t __wrap_write(int fd, const void *bytes, size_t n_bytes) {
    log_descriptor("write", fd);
    return fails(MAY_WAIT | WRITES) ? -1 : __real_write(fd, bytes, shortened(n_bytes));
}
int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd) {
    const bool failed = fails(MAY_WAIT);
    const int number = errno, result = __real_close(fd); /* Linux closes whatever it returns */
    errno = failed ? number : errno;
    return failed ? -1 : result;
}
WRAP(ssize_t, pread, (int fd, void *bytes, size_t n_bytes, off_t at), READS, -1, (fd, bytes, n_bytes, at))
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd) {
    log_descriptor("sync", fd);
    return fails(MAY_WAIT | WRITES) ? -1 : __real_fsync(fd);
}
WRAP(int, ftruncate, (int fd, off_t n_bytes), WRITES, -1, (fd, n_bytes))
WRAP(int, flock, (int fd, int operation), MAY_WAIT, -1, (fd, operation))
WRAP(int, fstat, (int fd, struct stat *info), READS, -1, (fd, info))
WRAP(void *, mmap, (void *at, size_t n, int protection, int flags, int fd, off_t offset), READS, MAP_FAILED,
     (at, n, protection, flags, fd, offset))
WRAP(int, mkstemp, (char *name), WRITES, -1, (name))

/* --- names --- */

WRAP(int, stat, (const char *path, struct stat *info), READS, -1, (path, info))
WRAP(int, lstat, (const char *path, struct stat *info), READS, -1, (path, info))
WRAP(int, access, (const char *path, int mode), READS, -1, (path, mode))
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to) {
    log_call("rename", from, to);
    return fails(CHANGES) ? -1 : __real_rename(from, to);
}
WRAP(int, unlink, (const char *path), CHANGES, -1, (path))
WRAP(int, unlinkat, (int dir, const char *path, int flags), CHANGES, -1, (dir, path, flags))
WRAP(int, remove, (const char *path), CHANGES, -1, (path))
WRAP(int, mkdir, (const char *path, mode_t mode), WRITES, -1, (path, mode))
WRAP(char *, mkdtemp, (char *name), WRITES, NULL, (name))
WRAP(DIR *, opendir, (const char *path), READS, NULL, (path))
WRAP(struct dirent *, readdir, (DIR * dir), READS, NULL, (dir))
WRAP(int, nftw, (const char *path, __nftw_func_t visit, int n_open, int flags), READS, -1, (path, visit, n_open, flags))

/* --- streams --- */

FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode) {
    log_call("open", path, NULL);
    return fails(mode[0] == 'r' ? READS : WRITES) ? NULL : __real_fopen(path, mode);
}
WRAP(FILE *, fdopen, (int fd, const char *mode), READS, NULL, (fd, mode))
WRAP(int, fseek, (FILE * stream, long at, int from), READS, -1, (stream, at, from))
WRAP(int, fseeko, (FILE * stream, off_t at, int from), READS, -1, (stream, at, from))
size_t __real_fread(void *bytes, size_t size, size_t n, FILE *stream);
size_t __wrap_fread(void *bytes, size_t size, size_t n, FILE *stream);
size_t __wrap_fread(void *bytes, size_t size, size_t n, FILE *stream) {
    return stream_fails(stream, READS) ? 0 : __real_fread(bytes, size, n, stream);
}
size_t __real_fwrite(const void *bytes, size_t size, size_t n, FILE *stream);
size_t __wrap_fwrite(const void *bytes, size_t size, size_t n, FILE *stream);
size_t __wrap_fwrite(const void *bytes, size_t size, size_t n, FILE *stream) {
    return stream_fails(stream, WRITES) ? 0 : __real_fwrite(bytes, size, n, stream);
}
int __wrap_fprintf(FILE *stream, const char *format, ...);
int __wrap_fprintf(FILE *stream, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int n = stream_fails(stream, WRITES) ? -1 : vfprintf(stream, format, arguments);
    va_end(arguments);
    return n;
}
int __wrap_dprintf(int fd, const char *format, ...);
int __wrap_dprintf(int fd, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int n = fails(WRITES) ? -1 : vdprintf(fd, format, arguments);
    va_end(arguments);
    return n;
}
int __real_fflush(FILE *stream);
int __wrap_fflush(FILE *stream);
int __wrap_fflush(FILE *stream) {
    return stream_fails(stream, WRITES) ? EOF : __real_fflush(stream);
}
int __real_fclose(FILE *stream);
int __wrap_fclose(FILE *stream);
int __wrap_fclose(FILE *stream) {
    const bool failed = stream_fails(stream, WRITES);
    const int number = errno, result = __real_fclose(stream);
    errno = failed ? number : errno;
    return failed ? EOF : result;
}

/* --- allocations --- */

WRAP_ALLOCATION(void *, malloc, (size_t n_bytes), NULL, (n_bytes))
WRAP_ALLOCATION(void *, calloc, (size_t n, size_t size), NULL, (n, size))
WRAP_ALLOCATION(void *, realloc, (void *old, size_t n_bytes), NULL, (old, n_bytes))
WRAP_ALLOCATION(void *, reallocarray, (void *old, size_t n, size_t size), NULL, (old, n, size))
WRAP_ALLOCATION(void *, aligned_alloc, (size_t alignment, size_t n_bytes), NULL, (alignment, n_bytes))
WRAP_ALLOCATION(char *, strdup, (const char *text), NULL, (text))
WRAP_ALLOCATION(char *, strndup, (const char *text, size_t n), NULL, (text, n))
int __real_vasprintf(char **out, const char *format, va_list arguments);
int __wrap_vasprintf(char **out, const char *format, va_list arguments);
int __wrap_vasprintf(char **out, const char *format, va_list arguments) {
    return allocation_fails() ? -1 : __real_vasprintf(out, format, arguments);
}
int __wrap_asprintf(char **out, const char *format, ...);
int __wrap_asprintf(char **out, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int n = __wrap_vasprintf(out, format, arguments);
    va_end(arguments);
    return n;
}

/* --- the names that _FORTIFY_SOURCE gives them --- */

int __wrap___fprintf_chk(FILE *stream, int flag, const char *format, ...);
int __wrap___fprintf_chk(FILE *stream, int flag, const char *format, ...) {
    va_list arguments;
    (void)flag;
    va_start(arguments, format);
    const int n = stream_fails(stream, WRITES) ? -1 : vfprintf(stream, format, arguments);
    va_end(arguments);
    return n;
}
int __wrap___dprintf_chk(int fd, int flag, const char *format, ...);
int __wrap___dprintf_chk(int fd, int flag, const char *format, ...) {
    va_list arguments;
    (void)flag;
    va_start(arguments, format);
    const int n = fails(WRITES) ? -1 : vdprintf(fd, format, arguments);
    va_end(arguments);
    return n;
}
int __wrap___vasprintf_chk(char **out, int flag, const char *format, va_list arguments);
int __wrap___vasprintf_chk(char **out, int flag, const char *format, va_list arguments) {
    (void)flag;
    return __wrap_vasprintf(out, format, arguments);
}
int __wrap___asprintf_chk(char **out, int flag, const char *format, ...);
int __wrap___asprintf_chk(char **out, int flag, const char *format, ...) {
    va_list arguments;
    (void)flag;
    va_start(arguments, format);
    const int n = __wrap_vasprintf(out, format, arguments);
    va_end(arguments);
    return n;
}

static void *json_malloc(size_t n_bytes) {
    return __wrap_malloc(n_bytes);
}
