/* Labelled examples from TSV (a header line names the columns) or JSONL (the same keys). */
#ifndef MB_DATA_LABELLED_H
#define MB_DATA_LABELLED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "minibert/status.h"

typedef enum mb_task_kind { MB_TASK_CLASSIFY, MB_TASK_PAIR } mb_task_kind;
extern const char *const mb_task_names[]; /* "classify", "pair", NULL: the choices of --task */

typedef struct mb_example {
    const char *label;           /* NULL in unlabelled input */
    const char *text_a, *text_b; /* text_b NULL but for pairs */
    int64_t line;                /* 1-based, in the file */
} mb_example;

typedef struct mb_labelled {
    char *path;
    mb_example *examples;
    size_t n;
    void *storage; /* private: the texts */
} mb_labelled;

/* `labels_required` false: for predict, where a label column may be missing. Errors name file, line, the columns found and
 * expected. */
mb_status mb_labelled_load(const char *path, mb_task_kind kind, bool labels_required, mb_labelled *out, mb_error *error);
void mb_labelled_free(mb_labelled *labelled);

/* The distinct labels in byte order; malloc'ed array of pointers into `labelled`. */
mb_status mb_labelled_label_names(const mb_labelled *labelled, const char ***names, int32_t *n_names, mb_error *error);

#endif
