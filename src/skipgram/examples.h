/* From text to training examples: which words are seen together, and the negatives beside them. */
#ifndef MB_SKIPGRAM_EXAMPLES_H
#define MB_SKIPGRAM_EXAMPLES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/file.h"
#include "skipgram/huffman.h"
#include "skipgram/pair_kernel.h"
#include "skipgram/sampler.h"
#include "skipgram/vocabulary.h"

/* What all streams of a run share; nothing in it changes. */
typedef struct mb_example_source {
    const mb_map *text;
    const mb_vocabulary *vocabulary;
    const uint32_t *keep;            /* of each word; sampler.h */
    const mb_alias_table *negatives; /* of the words */
    const mb_huffman *tree;          /* NULL: no hierarchical softmax */
    uint32_t tree_row;               /* the output row of its node 0 */
    int window, n_negatives;         /* n_negatives 0: no negative sampling */
    bool fixed_window;               /* always `window` words a side; else 1 to `window`, evenly */
    bool one_pair; /* Skip-Gram as published: each pair has its own negatives. Else the words of a window share them */
    uint64_t seed;
    int64_t n_epochs;
} mb_example_source;

/* Words against output rows: with one_pair a single word, else all words of a window. */
typedef struct mb_example {
    int n_in, n_out;
    bool is_new_window; /* the first example of a centre */
    uint32_t in[MB_PAIRS_MAX_IN];
    uint32_t out[MB_PAIRS_MAX_OUT];
    float label[MB_PAIRS_MAX_OUT];
} mb_example;

/* A sentence is a line, or a part of so many words (word2vec.c's limit), those passed over not counted. */
enum { MB_SENTENCE_WORDS = 1000 };

/* The examples of one range of the text, epoch after epoch. */
typedef struct mb_example_stream {
    const mb_example_source *source;
    const unsigned char *begin, *limit, *at, *released;
    uint64_t random;
    int64_t epochs_left;
    int64_t n_words; /* of the vocabulary read so far, those passed over too */
    int n_sentence, centre, n_context, next_context;
    uint32_t sentence[MB_SENTENCE_WORDS];
    uint32_t context[MB_PAIRS_MAX_IN];
} mb_example_stream;

/* Range `index` of `n_ranges` equal parts of the text; its random numbers depend on the source's seed and `index`. */
void mb_example_stream_init(mb_example_stream *stream, const mb_example_source *source, int index, int n_ranges);
/* False at the end of the last epoch. */
bool mb_example_stream_next(mb_example_stream *stream, mb_example *out);

#endif
