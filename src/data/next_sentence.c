#include "data/next_sentence.h"

#include "base/rng.h"

/* Whether the run may be split before token i. */
static bool is_word_start(const mb_shard *shard, uint64_t i) {
    return (shard->tokens[i] & MB_SHARD_CONTINUES) == 0;
}

/* A point strictly inside [start, end), which holds at least two tokens. */
static uint64_t split_point(const mb_shard *shard, uint64_t start, uint64_t end, uint32_t word) {
    const uint64_t first_line = mb_shard_line_of(shard, start), last_line = mb_shard_line_of(shard, end - 1);
    if (last_line > first_line) {
        return shard->line_ends[first_line + mb_rng_below(word, (uint32_t)(last_line - first_line))];
    }
    uint32_t n_starts = 0;
    for (uint64_t i = start + 1; i < end; i++) {
        n_starts += is_word_start(shard, i);
    }
    if (n_starts == 0) {
        return start + 1 + mb_rng_below(word, (uint32_t)(end - start - 1));
    }
    uint32_t wanted = mb_rng_below(word, n_starts);
    uint64_t i = start + 1;
    while (!is_word_start(shard, i) || wanted > 0) {
        wanted -= is_word_start(shard, i);
        i++;
    }
    return i;
}

/* The first sequence that starts at or after a token: in a plan for pairs, sequence i is run i and the runs are in order. */
static uint64_t first_sequence_from(const mb_sequence_plan *plan, uint64_t token) {
    uint64_t low = 0, high = plan->n;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (mb_sequence_plan_run(plan, middle).start < token) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* A sequence of another document, each with the same probability: the document's own are one range, which is left out. */
static uint64_t other_sequence(const mb_shard *shard, const mb_sequence_plan *plan, uint64_t start, uint32_t word) {
    const uint64_t document = mb_shard_document_of(shard, start);
    const uint64_t document_start = document == 0 ? 0 : mb_shard_document_end(shard, document - 1);
    const uint64_t low = first_sequence_from(plan, document_start);
    const uint64_t high = first_sequence_from(plan, mb_shard_document_end(shard, document));
    const uint64_t drawn = mb_rng_below(word, (uint32_t)(plan->n - (high - low)));
    return drawn < low ? drawn : drawn + (high - low);
}

mb_pair mb_pair_draw(const mb_shard *shard, const mb_sequence_plan *plan, uint64_t room, uint64_t seed, uint32_t epoch,
                     uint32_t sequence) {
    const uint64_t start = mb_sequence_plan_run(plan, sequence).start, end = mb_sequence_plan_run(plan, sequence).end;
    const mb_rng_block draw = mb_rng_at(seed, MB_STREAM_NSP, epoch, sequence, 0);
    mb_pair pair = {.a = start, .a_end = end, .is_next = end - start > 1 && (draw.v[0] & 1) != 0};
    if (end - start > 1) {
        pair.a_end = split_point(shard, start, end, draw.v[1]);
    }
    if (pair.is_next) {
        pair.b = pair.a_end;
        pair.b_end = end;
        return pair;
    }
    const mb_run other = mb_sequence_plan_run(plan, other_sequence(shard, plan, start, draw.v[2]));
    const uint64_t left = room - (pair.a_end - pair.a);
    pair.b = other.start;
    if (other.end - other.start <= left) {
        pair.b_end = other.end;
        return pair;
    }
    pair.b_end = pair.b + left;
    const uint64_t line = mb_shard_line_of(shard, pair.b_end); /* the line that does not fit whole */
    if (line > 0 && shard->line_ends[line - 1] > pair.b) {
        pair.b_end = shard->line_ends[line - 1];
    }
    return pair;
}
