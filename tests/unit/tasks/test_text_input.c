#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "small_model.h"
#include "tasks/text_escape.h"
#include "tasks/text_input.h"

static char *dir, *path;

static void begin(void) {
    dir = small_dir();
    path = small_path(dir, "input.txt");
}

static void end(void) {
    mb_path_remove(dir, NULL);
    free(path);
    free(dir);
}

TestSuite(text_input, .init = begin, .fini = end);

/* All lines of the file joined by '|', read in blocks of `max_lines`. */
static char *read_all(size_t max_lines, size_t max_bytes, mb_status *status, mb_error *error) {
    mb_text_input *input = NULL;
    mb_text_block block = {0};
    mb_buffer joined = {0};
    cr_assert(mb_buffer_append(&joined, "", 0));
    int64_t number = 1;
    *status = mb_text_input_open(path, &input, error);
    while (*status == MB_OK && (*status = mb_text_input_next(input, max_lines, max_bytes, NULL, &block, error)) == MB_OK &&
           block.n) {
        cr_assert_leq(block.n, max_lines);
        cr_assert_eq(block.first_number, number);
        number += (int64_t)block.n;
        for (size_t i = 0; i < block.n; i++) {
            cr_assert(mb_buffer_append(&joined, block.lines[i].text, block.lines[i].n_bytes));
            cr_assert(mb_buffer_append(&joined, "|", 1));
        }
    }
    mb_text_block_free(&block);
    mb_text_input_close(input);
    return joined.data;
}

Test(text_input, lines_end_with_a_line_feed_or_the_file) {
    static const char *const cases[][2] = {
        {"", ""},
        {"\n", "|"},
        {"a", "a|"},
        {"a\n", "a|"},
        {"a\nb", "a|b|"},
        {"a\r\n\r\nb\r\n", "a||b|"},
        {"a\n\n\nb\n\n", "a|||b||"},
        {"\xEF\xBF\xBD \t x\n", "\xEF\xBF\xBD \t x|"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t max_lines = 1; max_lines < 5; max_lines++) {
            mb_error error;
            mb_status status;
            small_file(path, cases[i][0]);
            char *joined = read_all(max_lines, 3, &status, &error);
            cr_expect_eq(status, MB_OK, "%s", error.message);
            cr_expect_str_eq(joined, cases[i][1]);
            free(joined);
        }
    }
}

Test(text_input, a_long_file_comes_whole_in_blocks_of_any_size) {
    mb_buffer text = {0}, expected = {0};
    for (int i = 0; i < 20000; i++) { /* 800 KB: several reads, and lines that straddle them */
        cr_assert(mb_buffer_printf(&text, "line %d %.*s\n", i, i % 60,
                                   "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"));
    }
    cr_assert(mb_buffer_append(&expected, text.data, text.n_bytes));
    for (size_t i = 0; i < expected.n_bytes; i++) {
        expected.data[i] = expected.data[i] == '\n' ? '|' : expected.data[i];
    }
    small_file(path, text.data);
    static const size_t sizes[][2] = {{1024, 1 << 20}, {7, 1 << 20}, {100000, 100}, {100000, 1 << 30}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        mb_error error;
        mb_status status;
        char *joined = read_all(sizes[i][0], sizes[i][1], &status, &error);
        cr_expect_eq(status, MB_OK);
        cr_expect_str_eq(joined, expected.data);
        free(joined);
    }
    mb_buffer_free(&text);
    mb_buffer_free(&expected);
}

Test(text_input, what_is_no_text_is_refused_with_its_line) {
    mb_error error;
    mb_status status;
    cr_assert_eq(mb_file_write(path, "a\nb\0c\n", 6, &error), MB_OK);
    free(read_all(10, 1000, &status, &error));
    cr_expect_eq(status, MB_ERROR_FORMAT);
    cr_expect(strstr(error.message, path) && strstr(error.message, "line 2"), "%s", error.message);
    mb_text_input *input = NULL;
    cr_expect_eq(mb_text_input_open("/nonexistent/file", &input, &error), MB_ERROR_IO);
    cr_expect_null(input);
    cr_expect(strstr(error.message, "/nonexistent/file"));
    free(path);
    path = strdup(dir); /* a directory opens, but does not read */
    free(read_all(10, 1000, &status, &error));
    cr_expect_eq(status, MB_ERROR_IO, "%s", error.message);
}

Test(text_input, a_stop_request_ends_the_reading) {
    static volatile sig_atomic_t stop = SIGINT;
    const mb_job job = {.stop_signal = &stop};
    mb_error error;
    mb_text_input *input = NULL;
    mb_text_block block = {0};
    small_file(path, "a\n");
    cr_assert_eq(mb_text_input_open(path, &input, &error), MB_OK);
    cr_expect_eq(mb_text_input_next(input, 1, 1, &job, &block, &error), MB_ERROR_INTERRUPTED);
    mb_text_block_free(&block);
    mb_text_input_close(input);
}

Test(text_escape, json_texts_are_valid_whatever_the_bytes) {
    static const char *const cases[][2] = {
        {"", "\"\""},
        {"a\"b\\c/\n\t\r\x01\x7f", "\"a\\\"b\\\\c/\\n\\t\\r\\u0001\x7f\""},
        {"\xE5\xBA\x86 \xF0\x9F\x98\x80", "\"\xE5\xBA\x86 \xF0\x9F\x98\x80\""},
        {"\xFF", "\"\xEF\xBF\xBD\""},
        {"\xE5\xBA", "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},                                 /* cut off */
        {"\xC0\xAF", "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},                                 /* overlong */
        {"\xED\xA0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""},                 /* a surrogate */
        {"\xF4\x90\x80\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""}, /* beyond U+10FFFF */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mb_buffer out = {0};
        cr_assert(mb_append_json_text(&out, cases[i][0], strlen(cases[i][0])));
        cr_expect_str_eq(out.data, cases[i][1]);
        mb_buffer_free(&out);
    }
}

Test(text_escape, words_have_no_white_space) {
    mb_buffer out = {0};
    cr_assert(mb_append_word(&out, "a b\tc", 5) && mb_append_word(&out, "", 0) && mb_append_word(&out, "\xFF", 1));
    cr_expect_str_eq(out.data, "a_b_c_\xEF\xBF\xBD");
    mb_buffer_free(&out);
    cr_expect_eq(mb_count_characters("a\xE5\xBA\x86\xF0\x9F\x98\x80", 8), 3);
}
