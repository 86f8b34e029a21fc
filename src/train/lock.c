#include "train/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

struct mb_lock {
    int fd;
    char *path;
};

static mb_status refuse(int fd, const char *dir, mb_error *error) {
    char owner[32] = "";
    ssize_t n = pread(fd, owner, sizeof owner - 1, 0);
    owner[n > 0 ? strspn(owner, "0123456789") : 0] = '\0';
    return mb_fail(error, MB_ERROR_IO,
                   "another run (process %s) is writing to '%s': wait for it, stop it, or give another --out",
                   owner[0] != '\0' ? owner : "unknown", dir);
}

/* Whether the locked file is still the one at `path`: the run before may have removed it between our open and our lock. */
static bool still_there(int fd, const char *path) {
    struct stat held, named;
    return fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

static mb_status lock_file(const char *dir, const char *path, int *out, mb_error *error) {
    for (;;) {
        int fd = mb_open(path, O_RDWR | O_CREAT);
        if (fd < 0) {
            return mb_fail(error, MB_ERROR_IO, "cannot write '%s': %s", path, strerror(errno));
        }
        if (mb_flock(fd) != 0) {
            int reason = errno;
            mb_status status = reason == EWOULDBLOCK
                                   ? refuse(fd, dir, error)
                                   : mb_fail(error, MB_ERROR_IO, "cannot lock '%s': %s", path, strerror(reason));
            close(fd);
            return status;
        }
        if (still_there(fd, path)) {
            *out = fd;
            return MB_OK;
        }
        close(fd);
    }
}

mb_status mb_lock_acquire(const char *dir, mb_lock **out, mb_error *error) {
    mb_status status = mb_dir_make(dir, error);
    if (status != MB_OK) {
        return status;
    }
    mb_lock *lock = calloc(1, sizeof *lock);
    char *path = mb_path_join(dir, ".lock");
    if (lock == NULL || path == NULL) {
        free(lock);
        free(path);
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    status = lock_file(dir, path, &lock->fd, error);
    if (status != MB_OK) {
        free(lock);
        free(path);
        return status;
    }
    lock->path = path;
    /* The number is for the other run's message; the lock holds without it. */
    if (ftruncate(lock->fd, 0) != 0 || dprintf(lock->fd, "%ld\n", (long)getpid()) < 0) {
        status = mb_fail(error, MB_ERROR_IO, "cannot write '%s': %s", path, strerror(errno));
        mb_lock_release(lock);
        return status;
    }
    *out = lock;
    return MB_OK;
}

void mb_lock_release(mb_lock *lock) {
    if (lock != NULL) {
        unlink(lock->path); /* while the lock is held: nobody can own a file that is about to vanish */
        close(lock->fd);
        free(lock->path);
        free(lock);
    }
}
