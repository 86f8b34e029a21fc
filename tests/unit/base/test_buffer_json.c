#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/json.h"

Test(buffer, grows_and_stays_terminated) {
    mb_buffer buffer = {0};
    for (int i = 0; i < 1000; i++) {
        cr_assert(mb_buffer_printf(&buffer, "%d,", i));
    }
    cr_expect_eq(strlen(buffer.data), buffer.n_bytes);
    cr_expect_eq(buffer.n_bytes, 10 * 2 + 90 * 3 + 900 * 4);
    mb_buffer_clear(&buffer);
    cr_expect_eq(buffer.data[0], '\0');
    cr_expect_not(mb_buffer_reserve(&buffer, SIZE_MAX - 2));
    mb_buffer_free(&buffer);
}

Test(json, typed_members_and_their_errors) {
    char path[] = "/tmp/minibert-json-XXXXXX";
    close(mkstemp(path));
    mb_error error = {0};
    const char *text = "{\"n\": 3, \"x\": 0.5, \"b\": true, \"s\": \"hi\", \"none\": null}";
    cr_assert_eq(mb_file_write(path, text, strlen(text), &error), MB_OK);
    json_t *root = NULL;
    cr_assert_eq(mb_json_load(path, &root, &error), MB_OK, "%s", error.message);
    int64_t n = 9;
    double x = 9;
    bool b = false;
    const char *s = NULL;
    cr_expect_eq(mb_json_get_int(root, path, "n", 1, 5, &n, &error), MB_OK);
    cr_expect_eq(n, 3);
    cr_expect_eq(mb_json_get_real(root, path, "x", &x, &error), MB_OK);
    cr_expect_eq(x, 0.5);
    cr_expect_eq(mb_json_get_bool(root, path, "b", &b, &error), MB_OK);
    cr_expect(b);
    cr_expect_eq(mb_json_get_text(root, path, "s", &s, &error), MB_OK);
    cr_expect_str_eq(s, "hi");
    n = 9;
    cr_expect_eq(mb_json_get_int(root, path, "none", 1, 5, &n, &error), MB_OK);
    cr_expect_eq(mb_json_get_int(root, path, "absent", 1, 5, &n, &error), MB_OK);
    cr_expect_eq(n, 9, "absent and null leave the default");
    cr_expect_eq(mb_json_get_int(root, path, "n", 4, 5, &n, &error), MB_ERROR_FORMAT);
    cr_expect(strstr(error.message, path) != NULL && strstr(error.message, "'n'") != NULL, "%s", error.message);
    cr_expect_eq(mb_json_get_int(root, path, "x", 0, 5, &n, &error), MB_ERROR_FORMAT);
    cr_expect_eq(mb_json_get_bool(root, path, "n", &b, &error), MB_ERROR_FORMAT);
    cr_expect_eq(mb_json_get_text(root, path, "n", &s, &error), MB_ERROR_FORMAT);
    json_decref(root);
    const char *const broken[] = {"", "{", "[1]", "{\"a\": 1, \"a\": 2}", "{\"a\": 1} x"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        cr_assert_eq(mb_file_write(path, broken[i], strlen(broken[i]), &error), MB_OK);
        cr_expect_eq(mb_json_load(path, &root, &error), MB_ERROR_FORMAT, "%s", broken[i]);
    }
    unlink(path);
}
