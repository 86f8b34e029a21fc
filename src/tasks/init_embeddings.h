/* Word embeddings of a new model that begin as word vectors: pretrain --init-embeddings. */
#ifndef MB_TASKS_INIT_EMBEDDINGS_H
#define MB_TASKS_INIT_EMBEDDINGS_H

#include <stdint.h>

#include "base/job.h"
#include "minibert/status.h"
#include "minibert/tokenizer.h"
#include "model/model.h"

/* Each piece of the tokenizer that is a word of the vectors in `path` (any format of skipgram/word_vectors.h; as it is spelled,
 * else without regard to the case of ASCII letters) begins as that word's vector; the output layer, which is tied, with it.
 * Special tokens and pieces that the vectors lack keep the numbers that the initialiser drew. Vectors of words lack
 * continuations
 * ("##ing"); vectors learnt from wordpieces (`tokenizer encode --format tokens --no-special`) have all.
 *
 * The vectors are brought to length 1, their mean is subtracted, which says nothing about any of them, and one factor brings
 * the deviation of all their numbers to the initialiser's. Vectors of another width than the model's are multiplied by a random
 * matrix whose rows are orthonormal (columns, if they are wider): narrower ones keep all their cosines.
 *
 * Errors: what loading says; MB_ERROR_MISMATCH when no piece is a word of the vectors. */
mb_status mb_init_embeddings(mb_model *model, const mb_tokenizer *tokenizer, const char *path, uint64_t seed, const mb_job *job,
                             mb_error *error);

#endif
