#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

char *mb_path_join(const char *dir, const char *name) {
    mb_buffer path = {0};
    const char *separator = dir[0] == '\0' || dir[strlen(dir) - 1] == '/' ? "" : "/";
    if (!mb_buffer_printf(&path, "%s%s%s", dir, separator, name)) {
        mb_buffer_free(&path);
        return NULL;
    }
    return path.data;
}

bool mb_path_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0;
}

bool mb_path_is_dir(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

mb_status mb_dir_make(const char *path, mb_error *error) {
    char *copy = strdup(path);
    if (copy == NULL) {
        return mb_fail(error, MB_ERROR_MEMORY, "cannot make the directory '%s': out of memory", path);
    }
    mb_status status = MB_OK;
    for (char *slash = copy + 1; status == MB_OK; slash++) {
        char at = *slash;
        if (at != '/' && at != '\0') {
            continue;
        }
        *slash = '\0';
        if (mkdir(copy, 0777) == 0) {
            status = mb_parent_sync(copy, error);
        } else if (!mb_path_is_dir(copy)) {
            int reason = errno;
            status = mb_fail(error, MB_ERROR_IO, "cannot make the directory '%s': %s", copy,
                             reason == EEXIST ? "a file of that name is in the way" : strerror(reason));
        }
        *slash = at;
        if (at == '\0') {
            break;
        }
    }
    free(copy);
    return status;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk) {
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

mb_status mb_path_remove(const char *path, mb_error *error) {
    struct stat info;
    if (lstat(path, &info) != 0 && errno == ENOENT) {
        return MB_OK;
    }
    if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0) {
        return mb_fail(error, MB_ERROR_IO, "cannot remove '%s': %s", path, strerror(errno));
    }
    return MB_OK;
}
