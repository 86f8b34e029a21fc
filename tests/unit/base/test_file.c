#include <criterion/criterion.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

static char dir[64], path[128];

static void make_dir(void) {
    strcpy(dir, "/tmp/minibert-test-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/file", dir);
}
static void remove_dir(void) {
    cr_expect_eq(mb_path_remove(dir, NULL), MB_OK);
}

static int n_entries(void) {
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        n += e->d_name[0] != '.';
    }
    closedir(d);
    return n;
}

TestSuite(file, .init = make_dir, .fini = remove_dir);

Test(file, what_is_written_is_read_and_mapped) {
    mb_error error;
    char *big = malloc(300000);
    memset(big, 'x', 300000);
    mb_writer *writer;
    cr_assert_eq(mb_writer_open(path, &writer, &error), MB_OK);
    mb_writer_printf(writer, "%d-", 12);
    mb_writer_write(writer, big, 300000);
    mb_writer_write(writer, "end", 3);
    cr_expect_not(mb_path_exists(path), "the file appears with commit, not before");
    cr_expect_eq(mb_writer_n_bytes(writer), 300006);
    cr_assert_eq(mb_writer_commit(writer, &error), MB_OK, "%s", error.message);
    mb_buffer text = {0};
    cr_assert_eq(mb_file_read(path, &text, &error), MB_OK);
    cr_expect_eq(text.n_bytes, 300006);
    cr_expect_arr_eq(text.data, "12-x", 4);
    cr_expect_str_eq(text.data + 300003, "end");
    mb_map map;
    cr_assert_eq(mb_map_open(path, &map, &error), MB_OK);
    cr_expect_eq(map.n_bytes, text.n_bytes);
    cr_expect_arr_eq(map.data, text.data, text.n_bytes);
    mb_map_close(&map);
    mb_buffer_free(&text);
    free(big);
}

Test(file, an_aborted_or_failed_write_leaves_the_old_file) {
    mb_error error;
    cr_assert_eq(mb_file_write(path, "old", 3, &error), MB_OK);
    mb_writer *writer;
    cr_assert_eq(mb_writer_open(path, &writer, &error), MB_OK);
    mb_writer_write(writer, "new", 3);
    mb_writer_abort(writer);
    mb_buffer text = {0};
    cr_assert_eq(mb_file_read(path, &text, &error), MB_OK);
    cr_expect_str_eq(text.data, "old");
    mb_buffer_free(&text);
    cr_expect_eq(n_entries(), 1, "no temporary file stays");
}

Test(file, errors_name_the_path_and_the_reason) {
    mb_error error = {0};
    mb_buffer text = {0};
    snprintf(path, sizeof path, "%s/absent", dir);
    cr_expect_eq(mb_file_read(path, &text, &error), MB_ERROR_IO);
    cr_expect(strstr(error.message, path) != NULL && strstr(error.message, "No such file") != NULL, "%s", error.message);
    mb_map map;
    cr_expect_eq(mb_map_open(dir, &map, &error), MB_ERROR_IO);
    cr_expect(strstr(error.message, "directory") != NULL, "%s", error.message);
    snprintf(path, sizeof path, "%s/no/such/dir", dir);
    cr_expect_eq(mb_file_write(path, "x", 1, &error), MB_ERROR_IO);
    mb_buffer_free(&text);
}

Test(file, a_directory_or_a_pipe_is_never_replaced_by_a_file) {
    mb_error error = {0};
    mb_writer *writer = NULL;
    cr_expect_eq(mb_writer_open(dir, &writer, &error), MB_ERROR_IO);
    cr_expect(strstr(error.message, "directory") != NULL, "%s", error.message);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_expect_eq(mb_writer_open(path, &writer, &error), MB_ERROR_IO);
    cr_expect(strstr(error.message, "pipe") != NULL, "%s", error.message);
    struct stat info;
    cr_expect(stat(path, &info) == 0 && S_ISFIFO(info.st_mode));
}

Test(file, directories_are_made_and_removed_with_what_is_in_them) {
    mb_error error;
    char deep[160];
    snprintf(deep, sizeof deep, "%s/a/b//c", dir);
    cr_assert_eq(mb_dir_make(deep, &error), MB_OK);
    cr_expect_eq(mb_dir_make(deep, &error), MB_OK, "an existing directory is fine");
    cr_expect(mb_path_is_dir(deep));
    cr_assert_eq(mb_file_write(path, "x", 1, &error), MB_OK);
    char below[200];
    snprintf(below, sizeof below, "%s/under", path);
    cr_expect_eq(mb_dir_make(below, &error), MB_ERROR_IO, "a file is in the way");
    snprintf(deep, sizeof deep, "%s/a", dir);
    cr_expect_eq(mb_path_remove(deep, &error), MB_OK);
    cr_expect_not(mb_path_exists(deep));
    cr_expect_eq(mb_path_remove(deep, &error), MB_OK, "removing what does not exist is fine");
}

/* Published XXH64 values of short inputs; the empty one is in the specification. */
Test(file, hash_known_answers_and_streaming) {
    cr_expect_eq(mb_hash_bytes("", 0), 0xef46db3751d8e999u);
    cr_expect_eq(mb_hash_bytes("a", 1), 0xd24ec4f1a98c6e5bu);
    cr_expect_eq(mb_hash_bytes("abc", 3), 0x44bc2cf5ad770999u);
    unsigned char bytes[1000];
    for (int i = 0; i < 1000; i++) {
        bytes[i] = (unsigned char)(i * 7);
    }
    uint64_t whole = mb_hash_bytes(bytes, sizeof bytes);
    for (size_t piece = 1; piece < 100; piece += 9) {
        mb_hash hash;
        mb_hash_begin(&hash);
        for (size_t at = 0; at < sizeof bytes; at += piece) {
            mb_hash_add(&hash, bytes + at, sizeof bytes - at < piece ? sizeof bytes - at : piece);
        }
        cr_expect_eq(mb_hash_end(&hash), whole, "pieces of %zu", piece);
    }
}

/* More than is read at once, and not a multiple of it. */
Test(file, the_hash_of_a_file_is_that_of_its_bytes) {
    enum { N = 200003 };
    mb_error error;
    unsigned char *bytes = malloc(N);
    for (int i = 0; i < N; i++) {
        bytes[i] = (unsigned char)(i * 7 + i / 256);
    }
    uint64_t n_bytes = 0, hash = 0;
    cr_assert_eq(mb_file_write(path, bytes, N, &error), MB_OK);
    cr_assert_eq(mb_file_hash(path, &n_bytes, &hash, &error), MB_OK, "%s", error.message);
    cr_expect_eq(n_bytes, N);
    cr_expect_eq(hash, mb_hash_bytes(bytes, N));
    cr_expect_eq(mb_file_hash(dir, &n_bytes, &hash, &error), MB_ERROR_IO);
    cr_expect_eq(mb_file_hash("/dev/null", &n_bytes, &hash, &error), MB_ERROR_IO, "what cannot be read twice is no file");
    free(bytes);
}
