/* Gives a fuzz target the files that are named, or all files of the directories that are, or standard input: for replaying
 * inputs in the tests, and for AFL (afl-fuzz ... -- fuzz_tokenizer @@). libFuzzer brings its own main. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static size_t n_inputs;

static int run_file(const char *path) {
    mb_buffer buffer = {0};
    mb_error error;
    if (mb_file_read(path, &buffer, &error) != MB_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    uint8_t *exact = malloc(buffer.n_bytes + 1);
    if (exact == NULL) {
        return 1;
    }
    if (buffer.n_bytes > 0) {
        memcpy(exact, buffer.data, buffer.n_bytes);
    }
    LLVMFuzzerTestOneInput(exact, buffer.n_bytes);
    n_inputs++;
    free(exact);
    mb_buffer_free(&buffer);
    return 0;
}

static int run_directory(const char *path) {
    DIR *dir = opendir(path);
    int failed = dir == NULL;
    for (const struct dirent *entry; !failed && (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] != '.') {
            char *name = mb_path_join(path, entry->d_name);
            failed = name == NULL || run_file(name);
            free(name);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return failed;
}

int main(int argc, char **argv) {
    int failed = argc < 2 ? run_file("/dev/stdin") : 0;
    for (int i = 1; i < argc && !failed; i++) {
        failed = mb_path_is_dir(argv[i]) ? run_directory(argv[i]) : run_file(argv[i]);
    }
    printf("%zu inputs\n", n_inputs);
    return failed || n_inputs == 0;
}
