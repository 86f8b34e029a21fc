#include "unit/skipgram/support.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

char *test_dir_new(void) {
    char *dir = strdup("/tmp/minibert-skipgram-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    return dir;
}

void test_dir_free(char *dir) {
    mb_error error;
    cr_assert_eq(mb_path_remove(dir, &error), MB_OK, "%s", error.message);
    free(dir);
}

char *test_file(const char *dir, const char *name, const void *bytes, size_t n_bytes) {
    mb_error error;
    char *path = mb_path_join(dir, name);
    cr_assert_eq(mb_file_write(path, bytes, n_bytes, &error), MB_OK, "%s", error.message);
    return path;
}

char *test_text(const char *dir, const char *name, const char *text) {
    return test_file(dir, name, text, strlen(text));
}

char *test_read(const char *path, size_t *n_bytes) {
    mb_buffer buffer = {0};
    mb_error error;
    cr_assert_eq(mb_file_read(path, &buffer, &error), MB_OK, "%s", error.message);
    *n_bytes = buffer.n_bytes;
    return buffer.data;
}

mb_map test_map(const char *text) {
    return (mb_map){(const unsigned char *)text, strlen(text)};
}

char *test_paired_text(int n_sentences) {
    mb_buffer text = {0};
    for (int i = 0; i < n_sentences; i++) {
        const mb_rng_block r = mb_rng_at(7, MB_STREAM_TEST, (uint32_t)i, 0, 0);
        const unsigned topic = mb_rng_below(r.v[0], 20);
        cr_assert(mb_buffer_printf(&text, "a%u b%u c%u a%u b%u\n", topic, topic, mb_rng_below(r.v[1], 50), topic, topic));
    }
    return text.data;
}
