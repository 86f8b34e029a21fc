#include "data/labelled_format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/json.h"

/* More columns than any sensible file has; bounds the search for duplicate names. */
enum { MAX_COLUMNS = 1000 };

/* Takes the next line off `rest`, without its LF or CRLF; false at the end. */
static bool next_line(mb_span *rest, mb_span *line) {
    if (rest->n_bytes == 0) {
        return false;
    }
    const char *feed = memchr(rest->text, '\n', rest->n_bytes);
    line->text = rest->text;
    line->n_bytes = feed == NULL ? rest->n_bytes : (size_t)(feed - rest->text);
    const size_t step = feed == NULL ? rest->n_bytes : line->n_bytes + 1;
    rest->text += step;
    rest->n_bytes -= step;
    if (line->n_bytes > 0 && line->text[line->n_bytes - 1] == '\r') {
        line->n_bytes--;
    }
    return true;
}

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

static bool span_is(mb_span span, const char *text) {
    return span.n_bytes == strlen(text) && memcmp(span.text, text, span.n_bytes) == 0;
}

/* "label<TAB>text_a<TAB>text_b" */
static void describe(const mb_labelled_source *source, const char *separator, char *out, size_t n_bytes) {
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; i < MB_N_FIELDS; i++) {
        const char *name = source->columns->names[i];
        if (name != NULL && (i != MB_FIELD_LABEL || source->labels_required) && used < n_bytes) {
            used += (size_t)snprintf(out + used, n_bytes - used, "%s%s", used > 0 ? separator : "", name);
        }
    }
}

static bool is_needed(const mb_labelled_source *source, int field) {
    return source->columns->names[field] != NULL && (field != MB_FIELD_LABEL || source->labels_required);
}

/* --- TSV --- */

/* Finds each field's column in the header; -1: absent. */
static mb_status read_header(const mb_labelled_source *source, mb_span line, size_t *n_columns, int place[MB_N_FIELDS],
                             mb_error *error) {
    mb_span columns[MAX_COLUMNS];
    *n_columns = split_columns(line, columns, MAX_COLUMNS);
    if (*n_columns > MAX_COLUMNS) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': line 1 has %zu columns, more than %d", source->name,
                       *n_columns, MAX_COLUMNS);
    }
    for (size_t i = 0; i < *n_columns; i++) {
        for (size_t j = 0; j < i; j++) {
            if (columns[i].n_bytes == columns[j].n_bytes && memcmp(columns[i].text, columns[j].text, columns[i].n_bytes) == 0) {
                return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': line 1 names the column '%.*s' twice", source->name,
                               (int)(columns[i].n_bytes < 100 ? columns[i].n_bytes : 100), columns[i].text);
            }
        }
    }
    for (int field = 0; field < MB_N_FIELDS; field++) {
        const char *name = source->columns->names[field];
        place[field] = -1;
        for (size_t i = 0; name != NULL && i < *n_columns; i++) {
            if (span_is(columns[i], name)) {
                place[field] = (int)i;
            }
        }
        if (place[field] < 0 && is_needed(source, field)) {
            char expected[128];
            describe(source, "<TAB>", expected, sizeof(expected));
            return mb_fail(error, MB_ERROR_FORMAT,
                           "cannot read '%s': line 1 must name the columns (%s), but has no '%s'; it reads '%.*s'",
                           source->name, expected, name, (int)(line.n_bytes < 200 ? line.n_bytes : 200), line.text);
        }
    }
    return MB_OK;
}

static mb_status scan_tsv(const mb_labelled_source *source, mb_labelled_visit *visit, void *context, mb_error *error) {
    mb_span rest = {source->text, source->n_bytes}, line;
    size_t n_columns = 0;
    int place[MB_N_FIELDS] = {-1, -1, -1};
    if (!next_line(&rest, &line)) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': it is empty", source->name);
    }
    mb_status status = read_header(source, line, &n_columns, place, error);
    for (int64_t number = 2; status == MB_OK && next_line(&rest, &line); number++) {
        mb_span columns[MAX_COLUMNS], fields[MB_N_FIELDS] = {{NULL, 0}};
        const size_t n = split_columns(line, columns, n_columns);
        if (n != n_columns) {
            char expected[128];
            describe(source, "<TAB>", expected, sizeof(expected));
            return mb_fail(error, MB_ERROR_FORMAT,
                           "cannot read '%s': line %" PRId64 " has %zu column%s, expected %zu as in line 1 (%s)", source->name,
                           number, n, n == 1 ? "" : "s", n_columns, expected);
        }
        for (int field = 0; field < MB_N_FIELDS; field++) {
            if (place[field] >= 0) {
                fields[field] = columns[place[field]];
            }
        }
        status = visit(context, fields, number, error);
    }
    return status;
}

/* --- JSONL --- */

/* One member of an object as a span into `object`, or into `digits` for an integer label. */
static mb_status read_member(const mb_labelled_source *source, const json_t *object, int field, int64_t number, char digits[32],
                             mb_span *out, mb_error *error) {
    const char *name = source->columns->names[field];
    const json_t *value = json_object_get(object, name);
    if (value == NULL || json_is_null(value)) {
        if (!is_needed(source, field)) {
            return MB_OK;
        }
        char expected[128];
        describe(source, ", ", expected, sizeof(expected));
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': line %" PRId64 " has no \"%s\" (expected the keys %s)",
                       source->name, number, name, expected);
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
    return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': line %" PRId64 ": \"%s\" is not a text%s", source->name, number,
                   name, field == MB_FIELD_LABEL ? " or an integer" : "");
}

static mb_status scan_object(const mb_labelled_source *source, mb_span line, int64_t number, mb_labelled_visit *visit,
                             void *context, mb_error *error) {
    json_error_t reason;
    json_t *object = NULL;
    if (mb_json_parse(line.text, line.n_bytes, JSON_REJECT_DUPLICATES, &object, &reason) == MB_ERROR_MEMORY) {
        return mb_fail(error, MB_ERROR_MEMORY, "cannot read '%s': out of memory", source->name);
    }
    if (!json_is_object(object)) {
        json_decref(object);
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': line %" PRId64 " is not a JSON object%s%s", source->name,
                       number, object == NULL ? ": " : "", object == NULL ? reason.text : "");
    }
    mb_span fields[MB_N_FIELDS] = {{NULL, 0}};
    char digits[32];
    mb_status status = MB_OK;
    for (int field = 0; field < MB_N_FIELDS && status == MB_OK; field++) {
        if (source->columns->names[field] != NULL) {
            status = read_member(source, object, field, number, digits, &fields[field], error);
        }
    }
    if (status == MB_OK) {
        status = visit(context, fields, number, error);
    }
    json_decref(object);
    return status;
}

static bool is_blank(mb_span line) {
    while (line.n_bytes > 0 && (*line.text == ' ' || *line.text == '\t' || *line.text == '\r')) {
        line.text++;
        line.n_bytes--;
    }
    return line.n_bytes == 0;
}

static mb_status scan_jsonl(const mb_labelled_source *source, mb_labelled_visit *visit, void *context, mb_error *error) {
    mb_span rest = {source->text, source->n_bytes}, line;
    mb_status status = MB_OK;
    for (int64_t number = 1; status == MB_OK && next_line(&rest, &line); number++) {
        if (!is_blank(line)) {
            status = scan_object(source, line, number, visit, context, error);
        }
    }
    return status;
}

/* --- both --- */

static bool is_jsonl(const mb_labelled_source *source) {
    for (size_t i = 0; i < source->n_bytes; i++) {
        if (strchr(" \t\r\n", source->text[i]) == NULL || source->text[i] == '\0') {
            return source->text[i] == '{';
        }
    }
    return false;
}

mb_status mb_labelled_scan(const mb_labelled_source *source, mb_labelled_visit *visit, void *context, mb_error *error) {
    return is_jsonl(source) ? scan_jsonl(source, visit, context, error) : scan_tsv(source, visit, context, error);
}

/* A visitor that stops at the first example. */
static mb_status stop_at_first(void *context, const mb_span fields[MB_N_FIELDS], int64_t line, mb_error *error) {
    (void)fields, (void)line, (void)error;
    *(bool *)context = true;
    return MB_ERROR_INTERRUPTED;
}

bool mb_labelled_has_columns(const mb_labelled_source *source) {
    if (is_jsonl(source)) {
        bool found = false;
        mb_labelled_scan(source, stop_at_first, &found, NULL);
        return found;
    }
    mb_span rest = {source->text, source->n_bytes}, line;
    size_t n_columns;
    int place[MB_N_FIELDS];
    return next_line(&rest, &line) && read_header(source, line, &n_columns, place, NULL) == MB_OK;
}
