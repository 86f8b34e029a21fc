#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "data/labelled.h"
#include "unit/data/support.h"

static mb_status parse(const char *text, mb_task_kind kind, bool labels_required, mb_labelled *out, mb_error *error) {
    return mb_labelled_parse("x.tsv", text, strlen(text), kind, labels_required, out, error);
}

/* "label|text_a|text_b@line;" for each example; "-" where there is none. */
static char *describe(const mb_labelled *labelled) {
    mb_buffer out = {0};
    for (size_t i = 0; i < labelled->n; i++) {
        const mb_example *e = &labelled->examples[i];
        mb_buffer_printf(&out, "%s|%s|%s@%d;", e->label ? e->label : "-", e->text_a ? e->text_a : "-",
                         e->text_b ? e->text_b : "-", (int)e->line);
    }
    return out.data;
}

Test(labelled, reads_both_formats) {
    static const struct {
        const char *text;
        mb_task_kind kind;
        bool labels_required;
        const char *expected;
    } cases[] = {
        {"label\ttext\n1\tgood film\n0\tbad\n", MB_TASK_CLASSIFY, true, "1|good film|-@2;0|bad|-@3;"},
        {"label\ttext\n1\tgood", MB_TASK_CLASSIFY, true, "1|good|-@2;"},
        {"text\tid\tlabel\na b\t7\tpos\n", MB_TASK_CLASSIFY, true, "pos|a b|-@2;"},
        {"\xef\xbb\xbflabel\ttext\r\n1\tgood\r\n", MB_TASK_CLASSIFY, true, "1|good|-@2;"},
        {"label\ttext\n1\t\n", MB_TASK_CLASSIFY, true, "1||-@2;"},
        {"label\ttext\n1\t \"quoted\" text \n", MB_TASK_CLASSIFY, true, "1| \"quoted\" text |-@2;"},
        {"text\none\n\nthree\n", MB_TASK_CLASSIFY, false, "-|one|-@2;-||-@3;-|three|-@4;"},
        {"label\ttext\n\tone\n", MB_TASK_CLASSIFY, false, "-|one|-@2;"},
        {"label\ttext_a\ttext_b\nyes\ta\tb\n", MB_TASK_PAIR, true, "yes|a|b@2;"},
        {"text_b\ttext_a\nb\ta\n", MB_TASK_PAIR, false, "-|a|b@2;"},
        {"{\"label\": \"x\", \"text\": \"a\\tb\"}\n{\"text\": \"c\", \"label\": 3, \"id\": 1}\n", MB_TASK_CLASSIFY, true,
         "x|a\tb|-@1;3|c|-@2;"},
        {"\xef\xbb\xbf\n {\"label\": -12, \"text\": \"\"}\r\n\r\n", MB_TASK_CLASSIFY, true, "-12||-@2;"},
        {"{\"text\": \"a\"}\n{\"text\": \"b\", \"label\": null}", MB_TASK_CLASSIFY, false, "-|a|-@1;-|b|-@2;"},
        {"{\"label\":\"n\",\"text_a\":\"\xe4\xb8\xad\",\"text_b\":\"b\"}", MB_TASK_PAIR, true, "n|\xe4\xb8\xad|b@1;"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mb_labelled labelled;
        mb_error error;
        cr_assert_eq(parse(cases[i].text, cases[i].kind, cases[i].labels_required, &labelled, &error), MB_OK, "case %zu: %s", i,
                     error.message);
        char *got = describe(&labelled);
        cr_expect_str_eq(got, cases[i].expected, "case %zu: %s", i, got);
        free(got);
        mb_labelled_free(&labelled);
    }
}

Test(labelled, errors_name_file_line_and_what_is_expected) {
    static const struct {
        const char *text;
        mb_task_kind kind;
        const char *message;
    } cases[] = {
        {"", MB_TASK_CLASSIFY, "cannot read 'x.tsv': it is empty"},
        {"label\ttext\n", MB_TASK_CLASSIFY, "it holds no examples"},
        {"\n", MB_TASK_CLASSIFY, "line 1 must name the columns (label<TAB>text), but has no 'label'; it reads ''"},
        {"good film\tpos\n", MB_TASK_CLASSIFY,
         "line 1 must name the columns (label<TAB>text), but has no 'label'; it reads 'good film"},
        {"label\tsentence\n1\ta\n", MB_TASK_CLASSIFY, "but has no 'text'; it reads 'label\tsentence'"},
        {"label\ttext\n1\ta\n", MB_TASK_PAIR,
         "line 1 must name the columns (label<TAB>text_a<TAB>text_b), but has no 'text_a'"},
        {"label\ttext\tlabel\n1\ta\t1\n", MB_TASK_CLASSIFY, "line 1 names the column 'label' twice"},
        {"label\ttext\tx\tx\n", MB_TASK_CLASSIFY, "line 1 names the column 'x' twice"},
        {"label\ttext\n1\ta\n1\ta\tb\n", MB_TASK_CLASSIFY, "line 3 has 3 columns, expected 2 as in line 1 (label<TAB>text)"},
        {"label\ttext\n1\n", MB_TASK_CLASSIFY, "line 2 has 1 column, expected 2"},
        {"label\ttext\n1\ta\n\n2\tb\n", MB_TASK_CLASSIFY, "line 3 has 1 column, expected 2"},
        {"label\ttext\n\ta\n", MB_TASK_CLASSIFY, "line 2 has an empty label"},
        {"label\ttext\n1\ta\n2\t\xff\n", MB_TASK_CLASSIFY, "line 3 is not UTF-8"},
        {"{\"label\": \"x\"}\n", MB_TASK_CLASSIFY, "line 1 has no \"text\" (expected the keys label, text)"},
        {"{\"text\": \"x\"}\n", MB_TASK_CLASSIFY, "line 1 has no \"label\""},
        {"{\"label\": \"x\", \"text_a\": \"a\"}\n", MB_TASK_PAIR, "no \"text_b\" (expected the keys label, text_a, text_b)"},
        {"{\"label\": 1.5, \"text\": \"a\"}\n", MB_TASK_CLASSIFY, "line 1: \"label\" is not a text or an integer"},
        {"{\"label\": 1, \"text\": 5}\n", MB_TASK_CLASSIFY, "line 1: \"text\" is not a text"},
        {"{\"label\": 1, \"text\": [\"a\"]}\n", MB_TASK_CLASSIFY, "line 1: \"text\" is not a text"},
        {"{\"label\": \"\", \"text\": \"a\"}\n", MB_TASK_CLASSIFY, "line 1 has an empty label"},
        {"{\"label\": \"a\\tb\", \"text\": \"a\"}\n", MB_TASK_CLASSIFY, "line 1 has a label with a tab or line end"},
        {"{\"label\": 1, \"text\": \"a\"}\n{\"label\": 1, \"text\": \"a\"\n", MB_TASK_CLASSIFY,
         "line 2 is not a JSON object: "},
        {"{\"label\": 1, \"text\": \"a\"}\n[1]\n", MB_TASK_CLASSIFY, "line 2 is not a JSON object"},
        {"{\"label\": 1, \"label\": 2, \"text\": \"a\"}\n", MB_TASK_CLASSIFY, "line 1 is not a JSON object: duplicate"},
        {"{\"label\": 1, \"text\": \"a\\u0000b\"}\n", MB_TASK_CLASSIFY, "line 1 is not a JSON object: "},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mb_labelled labelled;
        mb_error error = {0};
        cr_expect_eq(parse(cases[i].text, cases[i].kind, true, &labelled, &error), MB_ERROR_FORMAT, "case %zu", i);
        cr_expect_not_null(strstr(error.message, cases[i].message), "case %zu: %s", i, error.message);
        cr_expect_eq(strncmp(error.message, "cannot read 'x.tsv': ", 21), 0, "case %zu: %s", i, error.message);
        cr_expect_null(labelled.examples);
    }
    mb_labelled labelled;
    mb_error error;
    cr_expect_eq(mb_labelled_parse("x.bin", "label\ttext\n1\ta\0b\n", 17, MB_TASK_CLASSIFY, true, &labelled, &error),
                 MB_ERROR_FORMAT);
    cr_expect_not_null(strstr(error.message, "line 2 holds a NUL byte"), "%s", error.message);
}

Test(labelled, unlabelled_input_may_have_labels) {
    mb_labelled labelled;
    mb_error error;
    cr_expect_eq(parse("a\tb\n1\t2\n", MB_TASK_CLASSIFY, false, &labelled, &error), MB_ERROR_FORMAT);
    cr_expect_not_null(strstr(error.message, "(text)"), "%s", error.message);
    cr_assert_eq(parse("label\ttext\npos\ta\n", MB_TASK_CLASSIFY, false, &labelled, &error), MB_OK);
    cr_expect_str_eq(labelled.examples[0].label, "pos");
    mb_labelled_free(&labelled);
}

Test(labelled, too_many_columns_are_refused) {
    mb_buffer text = {0};
    for (int i = 0; i < 5000; i++) {
        mb_buffer_printf(&text, "c%d\t", i);
    }
    mb_labelled labelled;
    mb_error error;
    cr_expect_eq(parse(text.data, MB_TASK_CLASSIFY, true, &labelled, &error), MB_ERROR_FORMAT);
    cr_expect_not_null(strstr(error.message, "5001 columns"), "%s", error.message);
    mb_buffer_free(&text);
}

Test(labelled, label_names_are_distinct_and_in_byte_order) {
    mb_labelled labelled;
    mb_error error;
    cr_assert_eq(
        parse("label\ttext\nb\t1\n10\t2\na\t3\nb\t4\n9\t5\nB\t6\n\xc3\xa9\t7\n", MB_TASK_CLASSIFY, true, &labelled, &error),
        MB_OK);
    const char **names;
    int32_t n;
    cr_assert_eq(mb_labelled_label_names(&labelled, &names, &n, &error), MB_OK);
    const char *const expected[] = {"10", "9", "B", "a", "b", "\xc3\xa9"};
    cr_assert_eq(n, 6);
    for (int32_t i = 0; i < n; i++) {
        cr_expect_str_eq(names[i], expected[i]);
        cr_expect_eq(mb_label_index(names, n, expected[i]), i);
    }
    cr_expect_eq(mb_label_index(names, n, "c"), -1);
    cr_expect_eq(mb_label_index(names, 0, "a"), -1);
    free(names);
    mb_labelled_free(&labelled);
    mb_labelled_free(&labelled);
    cr_assert_eq(parse("text\na\n", MB_TASK_CLASSIFY, false, &labelled, &error), MB_OK);
    cr_assert_eq(mb_labelled_label_names(&labelled, &names, &n, &error), MB_OK);
    cr_expect_eq(n, 0);
    free(names);
    mb_labelled_free(&labelled);
}

Test(labelled, loads_files) {
    char *dir = test_dir_new();
    mb_error error;
    mb_labelled labelled;
    mb_buffer many = {0};
    mb_buffer_append_text(&many, "label\ttext\n");
    for (int i = 0; i < 3000; i++) {
        mb_buffer_printf(&many, "l%d\ttext number %d\n", i % 7, i);
    }
    char *path = test_file(dir, "many.tsv", many.data);
    cr_assert_eq(mb_labelled_load(path, MB_TASK_CLASSIFY, true, &labelled, &error), MB_OK, "%s", error.message);
    cr_expect_str_eq(labelled.path, path);
    cr_assert_eq(labelled.n, 3000);
    cr_expect_str_eq(labelled.examples[2999].text_a, "text number 2999");
    cr_expect_eq(labelled.examples[2999].line, 3001);
    mb_labelled_free(&labelled);
    free(path);
    mb_buffer_free(&many);
    path = mb_path_join(dir, "missing");
    cr_expect_eq(mb_labelled_load(path, MB_TASK_CLASSIFY, true, &labelled, &error), MB_ERROR_IO);
    cr_expect_null(labelled.examples);
    free(path);
    test_dir_free(dir);
}

Test(labelled, columns_tell_the_kind) {
    static const struct {
        const char *text, *expected; /* NULL: an error */
    } cases[] = {
        {"label\ttext\n1\ta\n", "1|a|-@2;"},
        {"text_a\ttext_b\na\tb\n", "-|a|b@2;"},
        {"\xef\xbb\xbf{\"text\": \"a\"}", "-|a|-@1;"},
        {"\n{\"text_a\": \"a\", \"text_b\": \"b\"}\n{\"text_a\": \"c\", \"text_b\": \"d\"}", "-|a|b@2;-|c|d@3;"},
        {"label\tsentence\n", NULL},
        {"{\"text_a\": \"a\"}", NULL},
        {"\ntext\na\n", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mb_labelled labelled;
        mb_error error = {0};
        const mb_status status = parse(cases[i].text, MB_TASK_ANY, false, &labelled, &error);
        cr_expect_eq(status, cases[i].expected ? MB_OK : MB_ERROR_FORMAT, "case %zu: %s", i, error.message);
        if (status == MB_OK) {
            char *got = describe(&labelled);
            cr_expect_str_eq(got, cases[i].expected, "case %zu: %s", i, got);
            free(got);
            mb_labelled_free(&labelled);
        } else {
            cr_expect_not_null(
                strstr(error.message, "its first line names neither a column text nor columns text_a and text_b"),
                "case %zu: %s", i, error.message);
        }
    }
    mb_labelled labelled;
    mb_error error;
    cr_expect_eq(parse("", MB_TASK_ANY, false, &labelled, &error), MB_ERROR_FORMAT);
    cr_expect_not_null(strstr(error.message, "it is empty"), "%s", error.message);
}

/* A stream's lines, the examples dropped after each: numbers of lines and what the header said go on. */
Test(labelled, line_by_line) {
    mb_labelled labelled;
    mb_error error = {0};
    cr_assert_eq(mb_labelled_begin("x.tsv", MB_TASK_ANY, false, &labelled, &error), MB_OK);
    cr_expect_eq(mb_labelled_end(&labelled, &error), MB_ERROR_FORMAT);
    const char *const lines[] = {"\xef\xbb\xbfid\ttext\r", "1\tone\r", "2\ttwo", "3\tthree"};
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(mb_labelled_add_line(&labelled, lines[i], strlen(lines[i]), &error), MB_OK, "%s", error.message);
        cr_assert_eq(labelled.n, i == 0 ? 0 : 1);
        if (i > 0) {
            cr_expect_eq(labelled.examples[0].line, i + 1);
            cr_expect_str_eq(labelled.examples[0].text_a, i == 1 ? "one" : i == 2 ? "two" : "three");
        }
        mb_labelled_clear(&labelled);
    }
    cr_expect_eq(mb_labelled_end(&labelled, &error), MB_OK, "%s", error.message);
    cr_expect_eq(mb_labelled_add_line(&labelled, "4", 1, &error), MB_ERROR_FORMAT);
    cr_expect_not_null(strstr(error.message, "line 5 has 1 column, expected 2"), "%s", error.message);
    mb_labelled_free(&labelled);
}
