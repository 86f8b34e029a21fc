/* Lines of text -> vectors, by the encoder of a BERT.
 *
 *     mb_embedder *embedder;
 *     status = mb_embedder_new("model", &options, job, &embedder, &error);
 *     status = mb_embedder_run(embedder, lines, n_lines, &rows, &error);   // rows.vectors: rows.n x rows.width
 */
#ifndef MB_TASKS_EMBEDDER_H
#define MB_TASKS_EMBEDDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/job.h"
#include "base/options.h"
#include "minibert/status.h"
#include "tasks/text_input.h"

typedef enum mb_pooling {
    MB_POOLING_MEAN, /* mean of the hidden states of all positions, [CLS] and [SEP] among them, as sentence-transformers has it
                      */
    MB_POOLING_CLS,
    MB_POOLING_MAX,    /* largest value of each dimension over all positions */
    MB_POOLING_TOKENS, /* a vector for every wordpiece of the text */
    MB_POOLING_WORDS,  /* a vector for every word: the mean of its wordpieces' */
} mb_pooling;
extern const char *const mb_pooling_names[]; /* "mean", "cls", "max", "tokens", "words", NULL */

typedef struct mb_embedder_options {
    int pooling; /* mb_pooling */
    mb_int_list
        layers;     /* hidden states that are averaged: 0 the embeddings' output, L the last layer; -1 is the last, -2 ... */
    bool normalize; /* vectors of length 1 */
    int64_t max_length; /* tokens with [CLS] and [SEP], at most as many as the model has positions */
    int64_t stride;     /* 0: longer texts are cut. Else they are read in windows of max_length, the next one beginning
                         * `stride` tokens after the last: mean and cls average the windows' vectors, max takes the largest,
                         * tokens and words average the vectors that a token has in several windows. */
} mb_embedder_options;

/* Which part of which line a row belongs to (tokens and words only). */
typedef struct mb_embedding_span {
    size_t line; /* in the block */
    uint32_t byte_start, byte_end;
    const char *piece; /* the wordpiece, "##ing"; NULL for words. Owned by the embedder. */
} mb_embedding_span;

/* Begins as {0}; reused between calls. */
typedef struct mb_embedding_rows {
    float *vectors;           /* (n, width) */
    mb_embedding_span *spans; /* n; NULL unless the pooling is tokens or words */
    int64_t n, width;
    size_t capacity_floats, capacity_spans;
} mb_embedding_rows;
void mb_embedding_rows_free(mb_embedding_rows *rows);

typedef struct mb_embedder mb_embedder;

/* Errors: what loading says; MB_ERROR_USAGE for a layer that the model does not have or a stride beyond the window. A
 * max_length beyond the model's positions is lowered to them, with a note to `job` (which may be NULL and must outlive the
 * embedder). */
mb_status mb_embedder_new(const char *dir, const mb_embedder_options *options, const mb_job *job, mb_embedder **out,
                          mb_error *error);
void mb_embedder_free(mb_embedder *embedder);
int64_t mb_embedder_width(const mb_embedder *embedder);      /* H */
int64_t mb_embedder_max_length(const mb_embedder *embedder); /* in use */

/* With mean, cls and max one row a line, in order (an empty line is [CLS] [SEP]); with tokens and words the rows of all lines,
 * in order. The result does not depend on the number of threads; it does, in the last bits, on which lines share a block.
 * MB_ERROR_INTERRUPTED when the job is asked to stop. */
mb_status mb_embedder_run(mb_embedder *embedder, const mb_text_line *lines, size_t n_lines, mb_embedding_rows *rows,
                          mb_error *error);

/* Since the embedder was made. */
int64_t mb_embedder_n_cut(const mb_embedder *embedder);    /* lines that were longer than max_length and cut */
int64_t mb_embedder_n_tokens(const mb_embedder *embedder); /* that went through the encoder */

#endif
