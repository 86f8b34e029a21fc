#include "data/sequences.h"

#include <stdlib.h>

/* End of the run that begins at token `start`, of at most `room` tokens of a document that ends at `document_end`. *line: a
 * line that ends behind `start`, moved on to the first that ends behind the run's end. */
static uint64_t run_end(const mb_shard *shard, uint64_t start, uint64_t document_end, uint64_t room, uint64_t *line) {
    if (document_end - start <= room) {
        return document_end;
    }
    const uint64_t limit = start + room;
    uint64_t whole_lines = start;
    while (shard->line_ends[*line] <= limit) { /* ends: the document's last line ends behind limit */
        whole_lines = shard->line_ends[*line];
        ++*line;
    }
    if (8 * (whole_lines - start) >= 7 * room) {
        return whole_lines;
    }
    uint64_t cut = limit;
    while (cut > whole_lines && (shard->tokens[cut] & MB_SHARD_CONTINUES) != 0) {
        cut--;
    }
    return cut > start ? cut : limit; /* a word longer than a sequence is cut as well */
}

/* A growing array of starts; `failed` is sticky. */
typedef struct starts_builder {
    uint64_t *starts, n, capacity;
    bool failed;
} starts_builder;

static void add_start(starts_builder *builder, uint64_t start) {
    if (builder->n == builder->capacity) {
        const uint64_t capacity = builder->capacity + builder->capacity / 2 + 1024;
        uint64_t *grown = realloc(builder->starts, capacity * sizeof(*grown));
        if (grown == NULL) {
            builder->failed = true;
            return;
        }
        builder->starts = grown;
        builder->capacity = capacity;
    }
    builder->starts[builder->n++] = start;
}

mb_status mb_sequence_plan_new(const mb_shard *shard, int32_t seq_length, bool pairs, mb_sequence_plan *out, mb_error *error) {
    *out = (mb_sequence_plan){0};
    const int32_t n_specials = pairs ? MB_SPECIALS_PAIR : MB_SPECIALS_SINGLE;
    const int32_t min_length = n_specials + (pairs ? 2 : 1);
    if (seq_length < min_length) {
        return mb_fail(error, MB_ERROR_USAGE, "sequence length %d is too short: at least %d%s", seq_length, min_length,
                       pairs ? " with next-sentence pairs" : "");
    }
    const uint64_t room = (uint64_t)(seq_length - n_specials);
    starts_builder builder = {0};
    uint64_t used = 0, n_positions = 0, line = 0,
             start = 0; /* used: positions of the current sequence, 0 while there is none */
    for (uint64_t i = 0; i < shard->n_documents && !builder.failed; i++) {
        const uint64_t end = mb_shard_document_end(shard, i);
        const uint64_t joined = used + (end - start) + 1;
        if (!pairs && used > 0 && joined <= (uint64_t)seq_length) {
            n_positions += joined - used;
            used = joined;
            start = end;
        }
        for (; start < end && !builder.failed; n_positions += used) {
            add_start(&builder, start);
            const uint64_t next = run_end(shard, start, end, room, &line);
            used = (next - start) + MB_SPECIALS_SINGLE;
            start = next;
        }
        line = shard->document_ends[i];
    }
    const uint64_t n = builder.n;
    add_start(&builder, shard->n_tokens);
    if (builder.failed) {
        free(builder.starts);
        return mb_fail(error, MB_ERROR_MEMORY, "cannot cut '%s' into sequences: out of memory", shard->path);
    }
    if (n > UINT32_MAX) { /* a sequence's number is one 32-bit counter of the random numbers */
        free(builder.starts);
        return mb_fail(error, MB_ERROR_USAGE, "'%s' gives more than 2^32 sequences; use a longer sequence or less text",
                       shard->path);
    }
    uint64_t *fitted = realloc(builder.starts, (n + 1) * sizeof(*fitted));
    *out = (mb_sequence_plan){fitted != NULL ? fitted : builder.starts, n, n_positions};
    return MB_OK;
}

void mb_sequence_plan_free(mb_sequence_plan *plan) {
    free(plan->starts);
    *plan = (mb_sequence_plan){0};
}
