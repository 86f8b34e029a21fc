/* How a shard is cut into sequences.
 *
 * The sequences of a plan tile the shard's tokens in order: each token lies in exactly one sequence, and one offset a sequence
 * is the whole plan (8 bytes for about 500 bytes of tokens at 128 tokens a sequence). The rule, greedy from the first document:
 *
 *   1. A document that fits whole into what is left of the current sequence joins it, behind a [SEP]:
 *      [CLS] a [SEP] b [SEP] c [SEP]. So short documents share a sequence.
 *   2. Any other document begins a new sequence: no sequence holds a part of one document and a part of another, but for the
 *      last part of a long document, which whole ones may follow.
 *   3. A document longer than a sequence is cut into runs. A run is as many whole lines as fit if they fill at least 7/8 of it;
 *      otherwise it is filled and its last line is cut where a word begins, the rest of the line opening the next run.
 *
 * With `pairs` (next-sentence prediction) rule 1 is left out and one more position is kept for the second [SEP]. */
#ifndef MB_DATA_SEQUENCES_H
#define MB_DATA_SEQUENCES_H

#include <stdbool.h>
#include <stdint.h>

#include "data/shard.h"
#include "minibert/status.h"

typedef struct mb_sequence_plan {
    uint64_t *starts; /* n + 1: sequence i holds the shard's tokens [starts[i], starts[i + 1]) */
    uint64_t n;
    uint64_t n_positions; /* of all sequences together, special tokens included (without `pairs`) */
} mb_sequence_plan;

/* Special tokens around one text and around a pair. */
enum { MB_SPECIALS_SINGLE = 2, MB_SPECIALS_PAIR = 3 };

/* seq_length counts special tokens and must leave room for one token (a pair: two). */
mb_status mb_sequence_plan_new(const mb_shard *shard, int32_t seq_length, bool pairs, mb_sequence_plan *out, mb_error *error);
void mb_sequence_plan_free(mb_sequence_plan *plan);

#endif
