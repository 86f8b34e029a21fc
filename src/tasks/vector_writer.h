/* Vectors to a file or to standard output, a row at a time.
 *
 *   npy       NumPy's format 1.0, float32, shape (rows, width): numpy.load reads it
 *   jsonl     {"text": ..., "vector": [...]}; pieces and words as {"line": 1, "start": 0, "end": 5, "byte_start": 0,
 * "byte_end": 5, "text": ..., "vector": [...]}, start and end counted in characters tsv       the numbers; pieces and words
 * have line, start, end (in characters) and text before them word2vec  "rows width", then text and numbers separated by spaces;
 * white space inside a text becomes '_'
 *
 * npy and word2vec begin with the number of rows, which is known only at the end: their rows wait in a nameless temporary file
 * (beside the output, or in $TMPDIR for standard output). */
#ifndef MB_TASKS_VECTOR_WRITER_H
#define MB_TASKS_VECTOR_WRITER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "minibert/status.h"

typedef enum mb_vector_format {
    MB_VECTOR_NPY,
    MB_VECTOR_JSONL,
    MB_VECTOR_TSV,
    MB_VECTOR_WORD2VEC,
} mb_vector_format;
extern const char *const mb_vector_format_names[]; /* "npy", "jsonl", "tsv", "word2vec", NULL */

/* What a row stands for. */
typedef struct mb_vector_label {
    const char *text;
    size_t n_bytes;
    bool is_span; /* a part of a line: the fields below hold */
    int64_t line; /* 1-based */
    int64_t start, end, byte_start, byte_end;
} mb_vector_label;

typedef struct mb_vector_writer mb_vector_writer;

/* `path` NULL or "-": `standard_output`. A named file appears only at commit. A device or a pipe cannot be replaced by a file
 * (renaming one over /dev/null would do just that): it is written to directly. */
mb_status mb_vector_writer_open(const char *path, FILE *standard_output, mb_vector_format format, int64_t width,
                                mb_vector_writer **out, mb_error *error);
/* One row of `width` numbers. */
mb_status mb_vector_writer_add(mb_vector_writer *writer, const mb_vector_label *label, const float *vector, mb_error *error);
/* Whether rows reach their reader before commit, when they are flushed. */
bool mb_vector_writer_streams(const mb_vector_writer *writer);
mb_status mb_vector_writer_flush(mb_vector_writer *writer, mb_error *error);
mb_status mb_vector_writer_commit(mb_vector_writer *writer, mb_error *error); /* always frees the writer */
void mb_vector_writer_abort(mb_vector_writer *writer);                        /* fine on NULL */

#endif
