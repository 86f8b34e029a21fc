/* How a shard is cut into sequences.
 *
 * A sequence is one or more runs of tokens, each followed by [SEP]: [CLS] run [SEP] run [SEP]. Every token of the shard lies in
 * exactly one run, and no run holds parts of two documents. The rule, document by document:
 *
 *   1. A document that fits whole into a sequence with room left joins it (the fullest such of the last 32): so short documents
 *      share a sequence.
 *   2. Any other document begins a new sequence. So no document is cut only because it does not fit behind another one.
 *   3. A document longer than a sequence is cut into runs. A run is as many whole lines as fit if they fill at least 7/8 of it;
 *      otherwise it is filled and its last line is cut where a word begins, the rest of the line opening the next run. The last
 *      run leaves room that short documents may join.
 *
 * With `pairs` (next-sentence prediction) rule 1 is left out: a sequence is one run, with one position kept for the second
 * [SEP]. */
#ifndef MB_DATA_SEQUENCES_H
#define MB_DATA_SEQUENCES_H

#include <stdbool.h>
#include <stdint.h>

#include "data/shard.h"
#include "minibert/status.h"

/* 12 bytes a sequence and 8 for each further run: small beside the 512 bytes of 128 tokens. */
typedef struct mb_sequence_plan {
    uint64_t *runs;       /* packed: start << 20 | number of tokens */
    uint32_t *first_runs; /* n + 1: sequence i has the runs [first_runs[i], first_runs[i + 1]) */
    uint64_t n;
    uint64_t n_positions; /* of all sequences together: tokens, [CLS] and a [SEP] a run */
} mb_sequence_plan;

/* Tokens [start, end) of the shard. */
typedef struct mb_run {
    uint64_t start, end;
} mb_run;

enum { MB_RUN_LENGTH_BITS = 20 };

static inline mb_run mb_sequence_plan_run(const mb_sequence_plan *plan, uint64_t run) {
    const uint64_t start = plan->runs[run] >> MB_RUN_LENGTH_BITS;
    return (mb_run){start, start + (plan->runs[run] & ((1u << MB_RUN_LENGTH_BITS) - 1))};
}

/* Special tokens around one text and around a pair. */
enum { MB_SPECIALS_SINGLE = 2, MB_SPECIALS_PAIR = 3 };

/* seq_length counts special tokens, must leave room for one token (a pair: two) and be below 2^20. */
mb_status mb_sequence_plan_new(const mb_shard *shard, int32_t seq_length, bool pairs, mb_sequence_plan *out, mb_error *error);
void mb_sequence_plan_free(mb_sequence_plan *plan);

#endif
