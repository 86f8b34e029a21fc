/* The texts nearest to a text, by the cosine of their vectors. */
#ifndef MB_TASKS_NEIGHBORS_H
#define MB_TASKS_NEIGHBORS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/job.h"
#include "base/options.h"
#include "minibert/status.h"

typedef struct mb_neighbors_options {
    const char *model, *corpus, *vectors, *save_vectors;
    int64_t top_k, max_length;
    bool center;
    mb_text_list queries;
} mb_neighbors_options;

extern const mb_option mb_neighbors_option_table[];

/* Where the vectors come from:
 *   model and corpus     each line of the corpus is embedded (mean pooling); queries are any texts
 *   vectors              word2vec text, or npy with the corpus for its texts. Queries are embedded by `model` if there is one,
 *                        else they must be among the texts, and are not their own neighbours.
 * All vectors are brought to length 1; `center` then subtracts their mean, from the queries too, and brings them to length 1
 * again: the vectors of a masked language model share a few large directions that say nothing about the text (Mu & Viswanath
 * 2018), and without them the cosines tell texts apart.
 *
 * Writes to `rows` for each query, best first: cosine<TAB>text; a blank line between queries. Blank lines of a corpus are
 * passed over. All vectors are held in memory: n lines take n * H * 4 bytes. */
mb_status mb_neighbors(const mb_neighbors_options *options, const mb_job *job, FILE *rows, mb_error *error);

#endif
