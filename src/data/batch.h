/* Shard -> sequences -> masked, packed batches.
 *
 * A sequence plan cuts each document into runs of whole lines that fit seq_length with [CLS] and [SEP] (a longer line is cut at
 * seq_length; short documents are not joined unless `join_documents`... they share one sequence only when both fit whole).
 * A batch is a pure function of (seed, step): sequence order by mb_rng_permute(seed, epoch), masks by Philox at (seed, epoch,
 * sequence, position). Resuming at any step costs nothing and replays nothing. */
#ifndef MB_DATA_BATCH_H
#define MB_DATA_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "data/shard.h"
#include "minibert/status.h"
#include "minibert/tokenizer.h"

typedef struct mb_batch_options {
    int32_t seq_length;      /* with special tokens */
    int32_t batch_size;      /* sequences */
    double mask_probability; /* of the text tokens of a sequence; each is chosen independently (expected rate) */
    bool whole_word;         /* a word is chosen as a whole, at the same expected token rate */
    bool next_sentence;      /* [CLS] a [SEP] b [SEP]; in half of the pairs b is from another document */
    uint64_t seed;
    bool evaluation; /* fixed order and fixed masks: epoch is always 0 and nothing is shuffled */
} mb_batch_options;

/* N packed tokens; owned by the caller's mb_batch, reused between calls. */
typedef struct mb_batch {
    int64_t n_tokens;
    int32_t *ids;        /* N, masked */
    int32_t *types;      /* N */
    int32_t n_sequences; /* B */
    int32_t *offsets;    /* B + 1 */
    int32_t max_length;
    int64_t n_masked;        /* M */
    int32_t *masked_rows;    /* M: packed token numbers, increasing */
    int32_t *masked_targets; /* M: the original ids */
    int32_t *next_sentence;  /* B: 0 is next, 1 is not; only with next_sentence */
    int64_t capacity_tokens;
    int32_t capacity_sequences;
} mb_batch;
void mb_batch_free(mb_batch *batch);

typedef struct mb_batcher mb_batcher;
/* `shard` and `tokenizer` must outlive the batcher. */
mb_status mb_batcher_new(const mb_shard *shard, const mb_tokenizer *tokenizer, const mb_batch_options *options,
                         mb_batcher **out, mb_error *error);
void mb_batcher_free(mb_batcher *batcher);
int64_t mb_batcher_n_sequences(const mb_batcher *batcher); /* of one epoch */
/* An epoch has ceil(n_sequences / batch_size) batches, the last one smaller. */
int64_t mb_batcher_batches_per_epoch(const mb_batcher *batcher);
/* Batch number `index` counted from the start of training (epoch = index / batches_per_epoch). Thread-safe: const batcher, the
 * caller's batch. Allocates only when `batch` must grow. Every batch of non-empty sequences has at least one masked token. */
mb_status mb_batcher_get(const mb_batcher *batcher, int64_t index, mb_batch *batch, mb_error *error);
/* Entropy in nats of the unigram distribution (maximum likelihood) of the batch targets' text: what a model that knows only
 * word frequencies would lose. Computed over all tokens of the shard. */
double mb_shard_unigram_entropy(const mb_shard *shard);

#endif
