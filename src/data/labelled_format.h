/* The two file formats of labelled data, TSV and JSONL, line by line; private to the data layer. */
#ifndef MB_DATA_LABELLED_FORMAT_H
#define MB_DATA_LABELLED_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "minibert/status.h"

typedef enum mb_field { MB_FIELD_LABEL, MB_FIELD_TEXT_A, MB_FIELD_TEXT_B, MB_N_FIELDS } mb_field;

/* The column (or key) that holds each field; NULL: the task has no such field. */
typedef struct mb_columns {
    const char *names[MB_N_FIELDS];
} mb_columns;

/* Bytes that are not NUL terminated; text NULL: absent. */
typedef struct mb_span {
    const char *text;
    size_t n_bytes;
} mb_span;

typedef enum mb_labelled_syntax { MB_LABELLED_UNKNOWN, MB_LABELLED_TSV, MB_LABELLED_JSONL } mb_labelled_syntax;

/* What a file's lines so far have told. Begins as {name, labels_required, choices, n_choices, columns}. */
typedef struct mb_labelled_format {
    const char *name;          /* in messages */
    bool labels_required;      /* else the label column may be missing */
    const mb_columns *choices; /* the kinds of files there are */
    int n_choices;
    const mb_columns *columns; /* of this one; NULL: the first of the choices whose texts its first line has */
    /* private */
    mb_labelled_syntax syntax;
    int64_t n_lines;
    size_t n_columns;       /* of a TSV line */
    int place[MB_N_FIELDS]; /* among them; -1: absent */
} mb_labelled_format;

/* Called for each example; the spans live until it returns. */
typedef mb_status mb_labelled_visit(void *context, const mb_span fields[MB_N_FIELDS], int64_t line, mb_error *error);

/* The next line of the file, without its end: a header, an example, or nothing. */
mb_status mb_labelled_read_line(mb_labelled_format *format, mb_span line, mb_labelled_visit *visit, void *context,
                                mb_error *error);
/* After the last line: an error if no line was a header or an example. */
mb_status mb_labelled_end_lines(mb_labelled_format *format, mb_error *error);

#endif
