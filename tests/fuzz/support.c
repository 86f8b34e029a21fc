#include "fuzz/support.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

static char directory[64];

static void remove_directory(void) {
    mb_path_remove(directory, NULL);
}

static const char *get_directory(void) {
    if (directory[0] == '\0') {
        const char *root = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        snprintf(directory, sizeof directory, "%s/minibert-fuzz-XXXXXX", root);
        CHECK(mkdtemp(directory) != NULL);
        atexit(remove_directory);
    }
    return directory;
}

const char *fuzz_path(const char *name) {
    enum { N_PATHS = 6 };
    static char paths[N_PATHS][192];
    static int next;
    char *path = paths[next++ % N_PATHS];
    snprintf(path, sizeof paths[0], "%s%s%s", get_directory(), name[0] ? "/" : "", name);
    return path;
}

const char *fuzz_write(const char *name, const void *bytes, size_t n_bytes) {
    const char *path = fuzz_path(name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK(write(fd, bytes, n_bytes) == (ssize_t)n_bytes);
    close(fd);
    return path;
}

void fuzz_remove(const char *name) {
    unlink(fuzz_path(name));
}

const char *fuzz_copy(const char *from, const char *name) {
    char source[512];
    mb_buffer bytes = {0};
    snprintf(source, sizeof source, "%s/%s", MB_TESTS_DIR, from);
    CHECK(mb_file_read(source, &bytes, NULL) == MB_OK);
    const char *path = fuzz_write(name, bytes.data, bytes.n_bytes);
    mb_buffer_free(&bytes);
    return path;
}
