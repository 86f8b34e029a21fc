#include "data/labelled_format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/json.h"

/* More columns than any sensible file has; bounds the search for duplicate names. */
enum { MAX_COLUMNS = 1000 };

/* Splits a line at its tabs: the first `max` columns, and the number of all. */
static size_t split_columns(mb_span line, mb_span *columns, size_t max) {
    size_t n = 0;
    for (;;) {
        const char *tab = line.n_bytes == 0 ? NULL : memchr(line.text, '\t', line.n_bytes);
        const size_t n_bytes = tab == NULL ? line.n_bytes : (size_t)(tab - line.text);
        if (n < max) {
            columns[n] = (mb_span){line.text, n_bytes};
        }
        n++;
        if (tab == NULL) {
            return n;
        }
        line.text += n_bytes + 1;
        line.n_bytes -= n_bytes + 1;
    }
}

static bool span_is(mb_span a, mb_span b) {
    return a.n_bytes == b.n_bytes && memcmp(a.text, b.text, a.n_bytes) == 0;
}

/* "label<TAB>text_a<TAB>text_b" */
static void describe(const mb_labelled_format *format, const char *separator, char *out, size_t n_bytes) {
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; i < MB_N_FIELDS; i++) {
        const char *name = format->columns->names[i];
        if (name != NULL && (i != MB_FIELD_LABEL || format->labels_required) && used < n_bytes) {
            used += (size_t)snprintf(out + used, n_bytes - used, "%s%s", used > 0 ? separator : "", name);
        }
    }
}

static bool is_needed(const mb_labelled_format *format, int field) {
    return format->columns->names[field] != NULL && (field != MB_FIELD_LABEL || format->labels_required);
}

/* Whether a line has all of these texts; a label may be missing. */
typedef bool has_name(const void *line, const char *name);

/* Which of the choices the file's first line is of, if that is not known. */
static mb_status choose_columns(mb_labelled_format *format, const void *line, has_name *has, mb_error *error) {
    for (int i = 0; i < format->n_choices && format->columns == NULL; i++) {
        const char *const *names = format->choices[i].names;
        if (has(line, names[MB_FIELD_TEXT_A]) && (names[MB_FIELD_TEXT_B] == NULL || has(line, names[MB_FIELD_TEXT_B]))) {
            format->columns = &format->choices[i];
        }
    }
    if (format->columns != NULL) {
        return MB_OK;
    }
    return mb_fail(error, MB_ERROR_FORMAT,
                   "cannot read '%s': its first line names neither a column text nor columns text_a and text_b", format->name);
}

/* --- TSV --- */

typedef struct header {
    mb_span columns[MAX_COLUMNS];
    size_t n;
} header;

static int place_of(const header *h, const char *name) {
    for (size_t i = 0; i < h->n; i++) {
        if (span_is(h->columns[i], (mb_span){name, strlen(name)})) {
            return (int)i;
        }
    }
    return -1;
}

static bool header_has(const void *line, const char *name) {
    return place_of(line, name) >= 0;
}

static mb_status refuse_twins(const mb_labelled_format *format, const header *h, mb_error *error) {
    for (size_t i = 0; i < h->n; i++) {
        for (size_t j = 0; j < i; j++) {
            if (span_is(h->columns[i], h->columns[j])) {
                return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': line 1 names the column '%.*s' twice", format->name,
                               (int)(h->columns[i].n_bytes < 100 ? h->columns[i].n_bytes : 100), h->columns[i].text);
            }
        }
    }
    return MB_OK;
}

/* Finds each field's column. */
static mb_status read_header(mb_labelled_format *format, mb_span line, mb_error *error) {
    header h;
    h.n = split_columns(line, h.columns, MAX_COLUMNS);
    if (h.n > MAX_COLUMNS) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': line 1 has %zu columns, more than %d", format->name, h.n,
                       MAX_COLUMNS);
    }
    mb_status status = refuse_twins(format, &h, error);
    status = status == MB_OK ? choose_columns(format, &h, header_has, error) : status;
    format->syntax = MB_LABELLED_TSV;
    format->n_columns = h.n;
    for (int field = 0; status == MB_OK && field < MB_N_FIELDS; field++) {
        const char *name = format->columns->names[field];
        format->place[field] = name == NULL ? -1 : place_of(&h, name);
        if (format->place[field] < 0 && is_needed(format, field)) {
            char expected[128];
            describe(format, "<TAB>", expected, sizeof(expected));
            status = mb_fail(error, MB_ERROR_FORMAT,
                             "cannot read '%s': line 1 must name the columns (%s), but has no '%s'; it reads '%.*s'",
                             format->name, expected, name, (int)(line.n_bytes < 200 ? line.n_bytes : 200), line.text);
        }
    }
    return status;
}

static mb_status read_row(const mb_labelled_format *format, mb_span line, mb_labelled_visit *visit, void *context,
                          mb_error *error) {
    mb_span columns[MAX_COLUMNS], fields[MB_N_FIELDS] = {{NULL, 0}};
    const size_t n = split_columns(line, columns, format->n_columns);
    if (n != format->n_columns) {
        char expected[128];
        describe(format, "<TAB>", expected, sizeof(expected));
        return mb_fail(error, MB_ERROR_FORMAT,
                       "cannot read '%s': line %" PRId64 " has %zu column%s, expected %zu as in line 1 (%s)", format->name,
                       format->n_lines, n, n == 1 ? "" : "s", format->n_columns, expected);
    }
    for (int field = 0; field < MB_N_FIELDS; field++) {
        if (format->place[field] >= 0) {
            fields[field] = columns[format->place[field]];
        }
    }
    return visit(context, fields, format->n_lines, error);
}

/* --- JSONL --- */

static bool object_has(const void *line, const char *name) {
    const json_t *value = json_object_get(line, name);
    return value != NULL && !json_is_null(value);
}

/* One member of an object as a span into `object`, or into `digits` for an integer label. */
static mb_status read_member(const mb_labelled_format *format, const json_t *object, int field, char digits[32], mb_span *out,
                             mb_error *error) {
    const char *name = format->columns->names[field];
    const json_t *value = json_object_get(object, name);
    if (value == NULL || json_is_null(value)) {
        if (!is_needed(format, field)) {
            return MB_OK;
        }
        char expected[128];
        describe(format, ", ", expected, sizeof(expected));
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': line %" PRId64 " has no \"%s\" (expected the keys %s)",
                       format->name, format->n_lines, name, expected);
    }
    if (json_is_string(value)) {
        *out = (mb_span){json_string_value(value), json_string_length(value)};
        return MB_OK;
    }
    if (field == MB_FIELD_LABEL && json_is_integer(value)) {
        const int n_bytes = snprintf(digits, 32, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        *out = (mb_span){digits, (size_t)n_bytes};
        return MB_OK;
    }
    return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': line %" PRId64 ": \"%s\" is not a text%s", format->name,
                   format->n_lines, name, field == MB_FIELD_LABEL ? " or an integer" : "");
}

static mb_status read_object(mb_labelled_format *format, mb_span line, mb_labelled_visit *visit, void *context,
                             mb_error *error) {
    json_error_t reason;
    json_t *object = NULL;
    format->syntax = MB_LABELLED_JSONL;
    if (mb_json_parse(line.text, line.n_bytes, JSON_REJECT_DUPLICATES, &object, &reason) == MB_ERROR_MEMORY) {
        return mb_fail(error, MB_ERROR_MEMORY, "cannot read '%s': out of memory", format->name);
    }
    if (!json_is_object(object)) {
        json_decref(object);
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': line %" PRId64 " is not a JSON object%s%s", format->name,
                       format->n_lines, object == NULL ? ": " : "", object == NULL ? reason.text : "");
    }
    mb_span fields[MB_N_FIELDS] = {{NULL, 0}};
    char digits[32];
    mb_status status = choose_columns(format, object, object_has, error);
    for (int field = 0; field < MB_N_FIELDS && status == MB_OK; field++) {
        if (format->columns->names[field] != NULL) {
            status = read_member(format, object, field, digits, &fields[field], error);
        }
    }
    if (status == MB_OK) {
        status = visit(context, fields, format->n_lines, error);
    }
    json_decref(object);
    return status;
}

/* --- both --- */

static mb_span without_blanks(mb_span line) {
    while (line.n_bytes > 0 && (*line.text == ' ' || *line.text == '\t' || *line.text == '\r')) {
        line.text++;
        line.n_bytes--;
    }
    return line;
}

mb_status mb_labelled_read_line(mb_labelled_format *format, mb_span line, mb_labelled_visit *visit, void *context,
                                mb_error *error) {
    format->n_lines++;
    if (format->syntax == MB_LABELLED_TSV) {
        return read_row(format, line, visit, context, error);
    }
    const mb_span rest = without_blanks(line);
    if (rest.n_bytes == 0) { /* what it is before the first line that is not blank, that line tells */
        return MB_OK;
    }
    if (format->syntax == MB_LABELLED_JSONL || *rest.text == '{') {
        return read_object(format, line, visit, context, error);
    }
    return read_header(format, format->n_lines == 1 ? line : (mb_span){"", 0}, error); /* a TSV's header is its line 1 */
}

mb_status mb_labelled_end_lines(mb_labelled_format *format, mb_error *error) {
    if (format->n_lines == 0) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': it is empty", format->name);
    }
    return format->syntax == MB_LABELLED_UNKNOWN ? read_header(format, (mb_span){"", 0}, error) : MB_OK;
}
