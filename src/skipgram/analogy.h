/* Word vectors judged by analogies: "a is to b as c is to ?", as in word2vec's questions-words.txt. */
#ifndef MB_SKIPGRAM_ANALOGY_H
#define MB_SKIPGRAM_ANALOGY_H

#include <jansson.h>
#include <stdint.h>

#include "base/options.h"
#include "minibert/status.h"

typedef enum mb_analogy_method {
    MB_ANALOGY_ADD,      /* the d of greatest cos(d, b) - cos(d, a) + cos(d, c) (3CosAdd; Mikolov et al. 2013) */
    MB_ANALOGY_MULTIPLY, /* of greatest cos(d, b) cos(d, c) / (cos(d, a) + 0.001), cosines brought to [0, 1] (3CosMul; Levy &
                            Goldberg 2014) */
} mb_analogy_method;

typedef struct mb_analogy_options {
    const char *vectors, *questions;
    int64_t restrict_words;
    int method;
} mb_analogy_options;

extern const mb_option mb_analogy_option_table[];

/* The file: four words a line, ": name" begins a section. The answer is sought among the first `restrict_words` words of the
 * vectors (the most frequent ones, as they are written), never a, b or c; a question with a word that is not among them is
 * passed over and counted. *result: new reference; method, restrict, total, semantic, syntactic (sections "gram..."), each with
 * correct, asked, passed_over and accuracy (null if nothing was asked), and the same for each of "sections". */
mb_status mb_analogy(const mb_analogy_options *options, json_t **result, mb_error *error);

#endif
