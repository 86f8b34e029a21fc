/* Reading and writing JSON where memory ends, and at the bounds of what is read. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/json.h"

static long n_until_failure; /* 0: none fails */

void *__real_malloc(size_t n_bytes);
void *__wrap_malloc(size_t n_bytes);
void *__wrap_malloc(size_t n_bytes) {
    return n_until_failure > 0 && --n_until_failure == 0 ? NULL : __real_malloc(n_bytes);
}

/* Tokens on both sides of each size of jansson's buffer (16, 32, 64, ...), and objects that outgrow theirs. */
static mb_buffer sample(void) {
    mb_buffer text = {0};
    cr_assert(mb_buffer_append_text(&text, "{\"list\": [1, -2.5e3, true, null, \"\\u00e9\"]"));
    for (int n = 1; n < 140; n += 3) {
        cr_assert(mb_buffer_printf(&text, ", \"%0*d\": {\"x\": \"%0*d\"}", n, n, n, 7));
    }
    cr_assert(mb_buffer_append_text(&text, "}"));
    return text;
}

Test(json_memory, every_allocation_that_fails_is_want_of_memory_and_nothing_worse) {
    mb_buffer text = sample();
    json_t *root = NULL;
    long k = 1;
    for (;; k++) { /* AddressSanitizer, where it is built in, sees what is lost or overwritten */
        n_until_failure = k;
        const mb_status status = mb_json_parse(text.data, text.n_bytes, JSON_REJECT_DUPLICATES, &root, NULL);
        const bool failed = n_until_failure == 0;
        n_until_failure = 0;
        if (!failed) {
            cr_assert_eq(status, MB_OK);
            break;
        }
        cr_assert_eq(status, MB_ERROR_MEMORY, "allocation %ld", k);
        cr_assert_null(root);
    }
    cr_expect_gt(k, 300);
    cr_expect_eq(json_object_size(root), 48);
    json_decref(root);
    mb_buffer_free(&text);
}

Test(json_memory, a_text_is_whole_or_not_written) {
    mb_buffer text = sample();
    json_t *root = NULL;
    cr_assert_eq(mb_json_parse(text.data, text.n_bytes, 0, &root, NULL), MB_OK);
    char *expected = mb_json_text(root, JSON_COMPACT), *written = NULL;
    cr_assert_not_null(expected);
    long k = 1;
    for (; written == NULL; k++) {
        n_until_failure = k;
        written = mb_json_text(root, JSON_COMPACT);
        cr_assert_eq(written != NULL, n_until_failure > 0, "allocation %ld", k);
        n_until_failure = 0;
    }
    cr_expect_gt(k, 5);
    cr_expect_str_eq(written, expected);
    free(written);
    free(expected);
    json_decref(root);
    mb_buffer_free(&text);
}

Test(json_memory, depth_is_bounded_and_size_is_not) {
    json_t *root = NULL;
    enum { DEPTH = 200000, MEMBERS = 300000 };
    mb_buffer text = {0};
    for (int i = 0; i < DEPTH; i++) {
        cr_assert(mb_buffer_append_text(&text, "[{\"a\":"));
    }
    cr_expect_eq(mb_json_parse(text.data, text.n_bytes, 0, &root, NULL), MB_ERROR_FORMAT);
    mb_buffer_clear(&text);
    for (int i = 0; i < MEMBERS; i++) {
        cr_assert(mb_buffer_printf(&text, "%c\"%d\":[%d]", i == 0 ? '{' : ',', i, i));
    }
    cr_assert(mb_buffer_append_text(&text, "}"));
    cr_expect_eq(mb_json_parse(text.data, text.n_bytes, JSON_REJECT_DUPLICATES, &root, NULL), MB_OK);
    cr_expect_eq(json_object_size(root), MEMBERS);
    json_decref(root);
    mb_buffer_free(&text);
}
