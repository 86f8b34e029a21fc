/* Embeddings of a new model from the run's own text: a short Skip-Gram over its wordpieces before the first step. */
#ifndef MB_TASKS_LEARN_EMBEDDINGS_H
#define MB_TASKS_LEARN_EMBEDDINGS_H

#include <stdint.h>

#include "base/job.h"
#include "data/shard.h"
#include "minibert/status.h"
#include "minibert/tokenizer.h"
#include "model/model.h"

typedef struct mb_learn_embeddings {
    const mb_shard *shard;
    const mb_tokenizer *tokenizer;
    int64_t n_tokens; /* about how many of the shard to learn from, in whole documents spread over it */
    const char *dir;  /* for two files that are gone when it is done */
    uint64_t seed;
} mb_learn_embeddings;

/* One epoch of Skip-Gram, then mb_init_embeddings (init_embeddings.h) with its vectors; the output layer's bias begins as the
 * log of the pieces' frequencies. The products of Skip-Gram's vectors tell how much more often than by chance two words meet
 * (Levy and Goldberg 2014): with that bias they tell how often. The result does not depend on the number of threads. A text of
 * fewer than MB_LEARN_LEAST tokens teaches nothing: a message says so, and the embeddings stay as they are. */
enum { MB_LEARN_LEAST = 100000 };
mb_status mb_learn_embeddings_run(const mb_learn_embeddings *what, mb_model *model, const mb_job *job, mb_error *error);

#endif
