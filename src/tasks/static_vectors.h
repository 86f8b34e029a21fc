/* A contextual model distilled into word vectors: embed --static. */
#ifndef MB_TASKS_STATIC_VECTORS_H
#define MB_TASKS_STATIC_VECTORS_H

#include "base/job.h"
#include "minibert/status.h"
#include "tasks/embed.h"

/* The vector of a word is the mean of the hidden states (options->embedder.layers) of its pieces in each of its occurrences in
 * options->static_corpus, and of those over the first options->max_occurrences occurrences (0: all); Bommasani et al. 2020,
 * "Interpreting Pretrained Contextualized Representations via Reductions to Static Embeddings", with mean and mean. Words are
 * the tokenizer's, in its spelling (lower case, if it is uncased), seen options->min_count times or more; those with an [UNK]
 * have none. With options->embedder.normalize each mean is then brought to length 1.
 *
 * options->out: word2vec text (MB_VECTOR_WORD2VEC) or npy with OUT.vocab beside it, most frequent word first. The corpus is
 * read twice, so it must be a file. Lines of which every word has been seen often enough are not encoded. Memory: 4 H bytes a
 * word. */
mb_status mb_static_vectors(const mb_embed_options *options, const mb_job *job, mb_error *error);

#endif
