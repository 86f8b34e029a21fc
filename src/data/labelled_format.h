/* The two file formats of labelled data, TSV and JSONL, as one stream of examples; private to the data layer. */
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

typedef struct mb_labelled_source {
    const char *name; /* in messages */
    const char *text; /* without a byte order mark */
    size_t n_bytes;
    const mb_columns *columns;
    bool labels_required; /* else the label column may be missing */
} mb_labelled_source;

/* Called for each example; the spans live until it returns. */
typedef mb_status mb_labelled_visit(void *context, const mb_span fields[MB_N_FIELDS], int64_t line, mb_error *error);

mb_status mb_labelled_scan(const mb_labelled_source *source, mb_labelled_visit *visit, void *context, mb_error *error);
/* Whether the first line has every text column (a label may be missing). */
bool mb_labelled_has_columns(const mb_labelled_source *source);

#endif
