/* Next-sentence pairs (Devlin et al. 2019, 3.1): a and b lie side by side in the text, or, half of the time, b comes from
 * another document. */
#ifndef MB_DATA_NEXT_SENTENCE_H
#define MB_DATA_NEXT_SENTENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "data/sequences.h"
#include "data/shard.h"

/* Two runs of a shard's tokens. */
typedef struct mb_pair {
    uint64_t a, a_end, b, b_end;
    bool is_next;
} mb_pair;

/* The pair of one sequence of a plan made with `pairs`, at (seed, epoch). The sequence is split in two at a line end drawn at
 * random (at a word's start where it is one line). A b from elsewhere is the start of a sequence drawn at random from the other
 * documents, of which there must be one: as many whole lines as fit beside a in `room` tokens, or a part of the first line. The
 * true second half is then left out, in this epoch. A sequence of a single token has no second half: its b is always from
 * elsewhere. */
mb_pair mb_pair_draw(const mb_shard *shard, const mb_sequence_plan *plan, uint64_t room, uint64_t seed, uint32_t epoch,
                     uint32_t sequence);

#endif
