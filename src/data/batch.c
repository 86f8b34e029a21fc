#include "data/batch.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/rng.h"
#include "data/map_release.h"
#include "data/masking.h"
#include "data/next_sentence.h"
#include "data/sequences.h"

struct mb_batcher {
    const mb_shard *shard;
    mb_batch_options options;
    mb_masker masker;
    mb_sequence_plan plan;
    int64_t batches_per_epoch;
    int64_t run_length;      /* in batches; 0: a run by the clock */
    _Atomic double progress; /* of a run by the clock */
};

void mb_batch_free(mb_batch *batch) {
    free(batch->ids);
    free(batch->types);
    free(batch->offsets);
    free(batch->masked_rows);
    free(batch->masked_targets);
    free(batch->next_sentence);
    *batch = (mb_batch){0};
}

bool mb_batch_reserve(mb_batch *batch, int64_t n_tokens, int32_t n_sequences) {
    if (batch->capacity_tokens >= n_tokens && batch->capacity_sequences >= n_sequences) {
        return true;
    }
    mb_batch_free(batch);
    const size_t token_bytes = (size_t)n_tokens * sizeof(int32_t), sequence_bytes = (size_t)n_sequences * sizeof(int32_t);
    batch->ids = malloc(token_bytes);
    batch->types = malloc(token_bytes);
    batch->masked_rows = malloc(token_bytes);
    batch->masked_targets = malloc(token_bytes);
    batch->offsets = malloc(sequence_bytes + sizeof(int32_t));
    batch->next_sentence = malloc(sequence_bytes);
    if (batch->ids == NULL || batch->types == NULL || batch->masked_rows == NULL || batch->masked_targets == NULL ||
        batch->offsets == NULL || batch->next_sentence == NULL) {
        mb_batch_free(batch);
        return false;
    }
    batch->capacity_tokens = n_tokens;
    batch->capacity_sequences = n_sequences;
    return true;
}

void mb_batch_begin(mb_batch *batch) {
    batch->n_tokens = batch->n_masked = 0;
    batch->n_sequences = batch->max_length = 0;
    batch->offsets[0] = 0;
}

static mb_status check_options(const mb_shard *shard, const mb_tokenizer *tokenizer, const mb_batch_options *options,
                               mb_error *error) {
    if (options->batch_size < 1) {
        return mb_fail(error, MB_ERROR_USAGE, "batch size %d is out of range: at least 1", options->batch_size);
    }
    /* Rows of a batch are 32-bit numbers; a too short seq_length is refused by the plan. */
    if (options->seq_length > 0 && options->batch_size > INT32_MAX / options->seq_length) {
        return mb_fail(error, MB_ERROR_USAGE, "a batch of %d sequences of %d tokens is too large", options->batch_size,
                       options->seq_length);
    }
    if (!(options->mask_probability_end >= 0 && options->mask_probability_end <= 1)) { /* also refuses NaN */
        return mb_fail(error, MB_ERROR_USAGE, "mask probability %g at the end is out of range: 0 to 1",
                       options->mask_probability_end);
    }
    if (shard->vocab_size != mb_tokenizer_vocab_size(tokenizer)) {
        return mb_fail(error, MB_ERROR_MISMATCH, "'%s' was made with a vocabulary of %u pieces, the tokenizer has %zu",
                       shard->path, shard->vocab_size, mb_tokenizer_vocab_size(tokenizer));
    }
    if (options->next_sentence && shard->n_documents < 2) {
        return mb_fail(error, MB_ERROR_USAGE,
                       "next-sentence pairs need at least two documents, separated by a blank line; '%s' has one", shard->path);
    }
    return MB_OK;
}

mb_status mb_batcher_new(const mb_shard *shard, const mb_tokenizer *tokenizer, const mb_batch_options *options,
                         mb_batcher **out, mb_error *error) {
    *out = NULL;
    mb_status status = check_options(shard, tokenizer, options, error);
    if (status != MB_OK) {
        return status;
    }
    mb_batcher *batcher = calloc(1, sizeof(*batcher));
    if (batcher == NULL) {
        return mb_fail(error, MB_ERROR_MEMORY, "cannot make batches of '%s': out of memory", shard->path);
    }
    batcher->shard = shard;
    batcher->options = *options;
    status = mb_masker_init(&batcher->masker, tokenizer, options->mask_probability, options->mask_unit, options->mask_style,
                            options->seed, error);
    if (status == MB_OK) {
        status = mb_sequence_plan_new(shard, options->seq_length, options->next_sentence, &batcher->plan, error);
    }
    if (status != MB_OK) {
        mb_batcher_free(batcher);
        return status;
    }
    batcher->batches_per_epoch = ((int64_t)batcher->plan.n + options->batch_size - 1) / options->batch_size;
    *out = batcher;
    return MB_OK;
}

void mb_batcher_free(mb_batcher *batcher) {
    if (batcher != NULL) {
        mb_sequence_plan_free(&batcher->plan);
        free(batcher);
    }
}

int64_t mb_batcher_n_sequences(const mb_batcher *batcher) {
    return (int64_t)batcher->plan.n;
}

double mb_batcher_fill(const mb_batcher *batcher) {
    return (double)batcher->plan.n_positions / ((double)batcher->plan.n * batcher->options.seq_length);
}

int64_t mb_batcher_batches_per_epoch(const mb_batcher *batcher) {
    return batcher->batches_per_epoch;
}

void mb_batcher_set_run_length(mb_batcher *batcher, int64_t n_batches) {
    batcher->run_length = n_batches;
}

void mb_batcher_set_progress(mb_batcher *batcher, double progress) {
    atomic_store_explicit(&batcher->progress, progress, memory_order_relaxed);
}

/* The masker at the rate of batch number `index`. */
static mb_masker masker_at(const mb_batcher *batcher, int64_t index) {
    const mb_batch_options *options = &batcher->options;
    mb_masker masker = batcher->masker;
    if (options->mask_probability_end > 0) {
        const double progress = batcher->run_length > 0 ? ((double)index + 0.5) / (double)batcher->run_length
                                                        : atomic_load_explicit(&batcher->progress, memory_order_relaxed);
        const double over = fmin(fmax(progress, 0), 1);
        mb_masker_set_probability(&masker, options->mask_probability +
                                               over * (options->mask_probability_end - options->mask_probability));
    }
    return masker;
}

/* Appends one position. Tokens keep their bit 31 until they are masked. */
static void push(mb_batch *batch, uint32_t token, int32_t type) {
    batch->ids[batch->n_tokens] = (int32_t)token;
    batch->types[batch->n_tokens] = type;
    batch->n_tokens++;
}

static void push_run(mb_batch *batch, const mb_batcher *batcher, uint64_t start, uint64_t end, int32_t type) {
    for (uint64_t i = start; i < end; i++) {
        push(batch, batcher->shard->tokens[i], type);
    }
    push(batch, (uint32_t)batcher->masker.sep_id, type);
}

static void push_sequence(mb_batch *batch, const mb_batcher *batcher, const mb_masker *masker, uint32_t epoch,
                          uint32_t sequence) {
    const mb_batch_options *options = &batcher->options;
    const int32_t first_row = (int32_t)batch->n_tokens;
    push(batch, (uint32_t)batcher->masker.cls_id, 0);
    if (options->next_sentence) {
        const uint64_t room = (uint64_t)(options->seq_length - MB_SPECIALS_PAIR);
        const mb_pair pair = mb_pair_draw(batcher->shard, &batcher->plan, room, options->seed, epoch, sequence);
        push_run(batch, batcher, pair.a, pair.a_end, 0);
        push_run(batch, batcher, pair.b, pair.b_end, 1);
        batch->next_sentence[batch->n_sequences] = pair.is_next ? 0 : 1;
    } else {
        for (uint32_t i = batcher->plan.first_runs[sequence]; i < batcher->plan.first_runs[sequence + 1]; i++) {
            const mb_run run = mb_sequence_plan_run(&batcher->plan, i);
            push_run(batch, batcher, run.start, run.end, 0);
        }
    }
    const int32_t length = (int32_t)batch->n_tokens - first_row;
    batch->n_masked += mb_masker_apply(masker, epoch, sequence, batch->ids + first_row, length, first_row,
                                       batch->masked_rows + batch->n_masked, batch->masked_targets + batch->n_masked);
    batch->max_length = length > batch->max_length ? length : batch->max_length;
    batch->n_sequences++;
    batch->offsets[batch->n_sequences] = (int32_t)batch->n_tokens;
}

mb_status mb_batcher_get(const mb_batcher *batcher, int64_t index, mb_batch *batch, mb_error *error) {
    const mb_batch_options *options = &batcher->options;
    if (index < 0) {
        return mb_fail(error, MB_ERROR_USAGE, "batch number %lld is negative", (long long)index);
    }
    const uint64_t n = batcher->plan.n;
    const int32_t most = n < (uint64_t)options->batch_size ? (int32_t)n : options->batch_size;
    if (!mb_batch_reserve(batch, (int64_t)most * options->seq_length, most)) {
        return mb_fail(error, MB_ERROR_MEMORY, "cannot make a batch of %d sequences of %d tokens: out of memory", most,
                       options->seq_length);
    }
    const uint32_t epoch = options->evaluation ? 0 : (uint32_t)(index / batcher->batches_per_epoch);
    const uint64_t first = (uint64_t)(index % batcher->batches_per_epoch) * (uint64_t)options->batch_size;
    const uint64_t last = first + (uint64_t)options->batch_size < n ? first + (uint64_t)options->batch_size : n;
    const mb_masker masker = masker_at(batcher, index);
    mb_batch_begin(batch);
    for (uint64_t i = first; i < last; i++) {
        const uint64_t sequence = options->evaluation ? i : mb_rng_permute(options->seed, MB_STREAM_SHUFFLE, epoch, i, n);
        push_sequence(batch, batcher, &masker, epoch, (uint32_t)sequence);
    }
    return MB_OK;
}

uint64_t *mb_shard_count_ids(const mb_shard *shard) {
    uint64_t *counts = calloc(shard->vocab_size, sizeof(*counts));
    const uint64_t block = MB_MAP_BLOCK_BYTES / sizeof(*shard->tokens);
    for (uint64_t at = 0; counts != NULL && at < shard->n_tokens; at += block) {
        const uint64_t end = shard->n_tokens - at < block ? shard->n_tokens : at + block;
        for (uint64_t i = at; i < end; i++) {
            counts[MB_SHARD_ID(shard->tokens[i])]++;
        }
        mb_map_release(&shard->map, at * sizeof(*shard->tokens), end * sizeof(*shard->tokens));
    }
    return counts;
}

double mb_shard_unigram_entropy(const mb_shard *shard) {
    uint64_t *counts = mb_shard_count_ids(shard);
    if (counts == NULL) {
        return NAN;
    }
    double entropy = 0;
    for (uint32_t id = 0; id < shard->vocab_size; id++) {
        if (counts[id] > 0) {
            const double p = (double)counts[id] / (double)shard->n_tokens;
            entropy -= p * log(p);
        }
    }
    free(counts);
    return entropy;
}
