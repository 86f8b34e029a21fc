/* Lines of a file or of standard input to vectors in a file or on standard output. */
#ifndef MB_TASKS_EMBED_H
#define MB_TASKS_EMBED_H

#include <stdint.h>
#include <stdio.h>

#include "base/job.h"
#include "base/options.h"
#include "minibert/status.h"
#include "tasks/embedder.h"

typedef struct mb_embed_options {
    const char *model, *input, *out, *index;
    const char *static_corpus;          /* NULL: none; else mb_static_vectors does the work */
    int64_t min_count, max_occurrences; /* of a word in it */
    int format;                         /* mb_vector_format */
    mb_embedder_options embedder;
} mb_embed_options;

extern const mb_option mb_embed_option_table[];

/* Streams: memory is bounded by a block of lines, order is kept. `standard_output` is used when options->out is "-". With
 * tokens or words as npy, which has no place for texts, options->index is a TSV of the rows: line, start, end (in characters),
 * text. Nothing is left under a final name on failure. */
mb_status mb_embed(const mb_embed_options *options, const mb_job *job, FILE *standard_output, mb_error *error);

#endif
