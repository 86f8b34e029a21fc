/* Labelled examples from TSV (a header line names the columns) or JSONL (the same keys).
 *
 *     classify   label, text
 *     pair       label, text_a, text_b
 *
 * A file whose first character is '{' is JSONL, any other is TSV. The text is UTF-8; a byte order mark and CRLF line ends are
 * accepted. TSV has no quoting: a field is what lies between two tabs. Every TSV line is one example, so predictions can be
 * matched to lines; blank lines of JSONL are skipped. Other columns and keys are ignored. A label is any text that is not
 * empty; in JSONL an integer counts as the text of its digits. */
#ifndef MB_DATA_LABELLED_H
#define MB_DATA_LABELLED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "minibert/status.h"

/* A kind is one row of the table of columns in labelled.c; with MB_TASK_ANY the columns of a file tell which it is of. */
typedef enum mb_task_kind { MB_TASK_ANY = -1, MB_TASK_CLASSIFY, MB_TASK_PAIR } mb_task_kind;
extern const char *const mb_task_names[]; /* "classify", "pair", NULL: the choices of --task */

typedef struct mb_example {
    const char *label;           /* NULL in unlabelled input */
    const char *text_a, *text_b; /* text_b NULL but for pairs */
    int64_t line;                /* 1-based, in the file */
} mb_example;

/* Owns all its texts; begins as {0}. */
typedef struct mb_labelled {
    char *path;
    mb_example *examples;
    size_t n;
    void *reader; /* private: the texts, and what the file's lines have told */
} mb_labelled;

/* Reads a file; "-" is standard input. `labels_required` false: for predict, where a label column may be missing (and a label
 * empty). Errors name file, line, the columns found and expected; a file without examples is one. */
mb_status mb_labelled_load(const char *path, mb_task_kind kind, bool labels_required, mb_labelled *out, mb_error *error);
/* The same from memory; `name` stands for the path in messages. */
mb_status mb_labelled_parse(const char *name, const char *text, size_t n_bytes, mb_task_kind kind, bool labels_required,
                            mb_labelled *out, mb_error *error);
void mb_labelled_free(mb_labelled *labelled);

/* The same line by line, for a stream: begin, then each line without its end, in order; whenever its examples are done with
 * they may be cleared, and after the last line end says if there were none at all. */
mb_status mb_labelled_begin(const char *name, mb_task_kind kind, bool labels_required, mb_labelled *out, mb_error *error);
mb_status mb_labelled_add_line(mb_labelled *labelled, const char *text, size_t n_bytes, mb_error *error);
void mb_labelled_clear(mb_labelled *labelled);
mb_status mb_labelled_end(const mb_labelled *labelled, mb_error *error);

/* The distinct labels in byte order; malloc'ed array of pointers into `labelled`. */
mb_status mb_labelled_label_names(const mb_labelled *labelled, const char ***names, int32_t *n_names, mb_error *error);
/* The place of a label in such an array, -1 if it is not there. */
int32_t mb_label_index(const char *const *names, int32_t n_names, const char *label);

#endif
