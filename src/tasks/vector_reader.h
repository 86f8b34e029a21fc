/* Vectors with their texts, whole in memory. */
#ifndef MB_TASKS_VECTOR_READER_H
#define MB_TASKS_VECTOR_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/job.h"
#include "minibert/status.h"

/* Texts of any number, end to end in one buffer. Begins as {0}. */
typedef struct mb_texts {
    mb_buffer bytes;
    size_t *ends; /* n: end of each text in bytes */
    int64_t n, capacity;
} mb_texts;
bool mb_texts_add(mb_texts *texts, const char *text, size_t n_bytes); /* false without memory */
const char *mb_texts_get(const mb_texts *texts, int64_t i, size_t *n_bytes);
/* Appends the lines of a file ("-": standard input). */
mb_status mb_texts_load(const char *path, const mb_job *job, mb_texts *texts, mb_error *error);
void mb_texts_free(mb_texts *texts);

typedef struct mb_vectors {
    float *data; /* (n, width) */
    int64_t n, width;
} mb_vectors;
void mb_vectors_free(mb_vectors *vectors);

/* What an npy file says of itself. */
typedef struct mb_npy_header {
    int64_t n, width; /* a one-dimensional array is (1, width) */
    char type[8];     /* "<f4" */
    size_t data_offset, element_bytes;
} mb_npy_header;
/* MB_ERROR_FORMAT unless the map holds a whole C-order npy array of one or two dimensions, of little-endian numbers. */
mb_status mb_npy_parse(const mb_map *map, const char *path, mb_npy_header *out, mb_error *error);
bool mb_npy_is(const mb_map *map);

/* An npy file of float32 or float64 (then `texts` stays as it is: npy holds none, unless PATH.vocab lies beside it, as skipgram
 * writes), or word2vec's text or binary format (then the words are appended to `texts`). Numbers must be finite. */
mb_status mb_vectors_load(const char *path, mb_vectors *vectors, mb_texts *texts, mb_error *error);

#endif
