/* Shard -> sequences -> masked, packed batches.
 *
 *     mb_batcher *batcher;
 *     mb_batch_options options = {.seq_length = 128, .batch_size = 64, .mask_probability = 0.15, .seed = 1};
 *     if (mb_batcher_new(&shard, tokenizer, &options, &batcher, &error) != MB_OK) ...
 *     mb_batch batch = {0};
 *     for (int64_t step = 0; step < n_steps; step++)
 *         if (mb_batcher_get(batcher, step, &batch, &error) != MB_OK) ...
 *     mb_batch_free(&batch);
 *     mb_batcher_free(batcher);
 *
 * How the shard is cut into sequences is said in sequences.h, how they are masked in masking.h, and how next-sentence pairs are
 * drawn in next_sentence.h. A batch is a pure function of (seed, index): sequence order by mb_rng_permute(seed, epoch), masks
 * by Philox at (seed, epoch, sequence, position). Resuming at any step costs nothing and replays nothing. */
#ifndef MB_DATA_BATCH_H
#define MB_DATA_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "data/masking.h"
#include "data/shard.h"
#include "minibert/status.h"
#include "minibert/tokenizer.h"

typedef struct mb_batch_options {
    int32_t seq_length;      /* with special tokens */
    int32_t batch_size;      /* sequences */
    double mask_probability; /* of the text tokens of a sequence (expected rate) */
    /* The rate at the end of the run, reached in a straight line (mb_batcher_set_run_length, mb_batcher_set_progress); 0: the
     * same to the end. */
    double mask_probability_end;
    mb_mask_unit mask_unit;
    mb_mask_style mask_style;
    bool next_sentence; /* [CLS] a [SEP] b [SEP]; in half of the pairs b is from another document */
    uint64_t seed;
    bool evaluation; /* fixed order and fixed masks: epoch is always 0 and nothing is shuffled */
} mb_batch_options;

/* N packed tokens; owned by the caller's mb_batch, reused between calls. Begins as {0}. */
typedef struct mb_batch {
    int64_t n_tokens;
    int32_t *ids;        /* N, masked */
    int32_t *types;      /* N: 1 in b and its [SEP] of a next-sentence pair, else 0 */
    int32_t n_sequences; /* B */
    int32_t *offsets;    /* B + 1 */
    int32_t max_length;
    int64_t n_masked;        /* M */
    int32_t *masked_rows;    /* M: packed token numbers, increasing */
    int32_t *masked_targets; /* M: the original ids */
    int32_t *next_sentence;  /* B: 0 is next, 1 is not (Hugging Face's labels); only with next_sentence */
    int64_t capacity_tokens;
    int32_t capacity_sequences;
} mb_batch;
/* Room for the largest batch, so that a batch grows once; its content is not kept. False without memory. */
bool mb_batch_reserve(mb_batch *batch, int64_t n_tokens, int32_t n_sequences);
/* Makes a batch with room an empty one. */
void mb_batch_begin(mb_batch *batch);
void mb_batch_free(mb_batch *batch);

typedef struct mb_batcher mb_batcher;
/* `shard` and `tokenizer` must outlive the batcher. Errors: options out of range (MB_ERROR_USAGE), a shard made with another
 * vocabulary (MB_ERROR_MISMATCH), next-sentence pairs from fewer than two documents. */
mb_status mb_batcher_new(const mb_shard *shard, const mb_tokenizer *tokenizer, const mb_batch_options *options,
                         mb_batcher **out, mb_error *error);
void mb_batcher_free(mb_batcher *batcher);
int64_t mb_batcher_n_sequences(const mb_batcher *batcher); /* of one epoch */
/* Mean length of the sequences over seq_length, in (0, 1]. */
double mb_batcher_fill(const mb_batcher *batcher);
/* What mask_probability_end goes by. In a run of `n_batches` the rate is a function of the batch's index, and so are the masks.
 * In a run by the clock the caller says how much of it is over, in [0, 1], from any thread; batches made after that follow. */
void mb_batcher_set_run_length(mb_batcher *batcher, int64_t n_batches);
void mb_batcher_set_progress(mb_batcher *batcher, double progress);
/* An epoch has ceil(n_sequences / batch_size) batches, the last one smaller. */
int64_t mb_batcher_batches_per_epoch(const mb_batcher *batcher);
/* Batch number `index` >= 0 counted from the start of training (epoch = index / batches_per_epoch). Thread-safe: const batcher,
 * the caller's batch. Allocates only when `batch` must grow: the first time. Every sequence has at least one masked token.
 *
 * How many tokens a batch masks is known only by drawing its masks, which is nearly all the work of making it. So a trainer
 * that needs the count of a group of micro-batches before it computes makes the batches of the group first: mb_prefetch_next
 * hands out a group at once. */
mb_status mb_batcher_get(const mb_batcher *batcher, int64_t index, mb_batch *batch, mb_error *error);
/* How often each of the shard's vocab_size ids is there: a malloc'ed array, NULL without memory for it. */
uint64_t *mb_shard_count_ids(const mb_shard *shard);
/* Entropy in nats of the unigram distribution (maximum likelihood) of the batch targets' text: what a model that knows only
 * word frequencies would lose. Computed over all tokens of the shard. NAN without memory for one count a vocabulary entry. */
double mb_shard_unigram_entropy(const mb_shard *shard);

#endif
