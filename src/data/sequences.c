#include "data/sequences.h"

#include <stdlib.h>

/* Sequences that documents may still join. More of them fill better and cost more time: 32 gives over 95% on short texts. */
enum { MAX_OPEN = 32 };

typedef struct open_sequence {
    uint32_t sequence, room; /* positions left */
} open_sequence;

/* Runs as they are found, each with the sequence it belongs to. */
typedef struct plan_builder {
    uint64_t *runs;
    uint32_t *sequences;
    uint64_t n_runs, capacity, n_sequences;
    open_sequence open[MAX_OPEN];
    int n_open;
    bool out_of_memory;
} plan_builder;

/* End of the run that begins at token `start`, of at most `room` tokens of a document that ends at `document_end`. *line: a
 * line that ends behind `start`, moved on to the first that ends behind the run's end. */
static uint64_t run_end(const mb_shard *shard, uint64_t start, uint64_t document_end, uint64_t room, uint64_t *line) {
    if (document_end - start <= room) {
        return document_end;
    }
    const uint64_t limit = start + room;
    uint64_t whole_lines = start;
    while (shard->line_ends[*line] <= limit) { /* stops: the document's last line ends behind limit */
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

static void add_run(plan_builder *builder, uint64_t sequence, uint64_t start, uint64_t end) {
    if (builder->n_runs == builder->capacity && !builder->out_of_memory) {
        const uint64_t capacity = builder->capacity + builder->capacity / 2 + 1024;
        uint64_t *runs = realloc(builder->runs, capacity * sizeof(*runs));
        builder->runs = runs == NULL ? builder->runs : runs;
        uint32_t *sequences = realloc(builder->sequences, capacity * sizeof(*sequences));
        builder->sequences = sequences == NULL ? builder->sequences : sequences;
        builder->out_of_memory = runs == NULL || sequences == NULL;
        builder->capacity = capacity;
    }
    if (!builder->out_of_memory) {
        builder->runs[builder->n_runs] = start << MB_RUN_LENGTH_BITS | (end - start);
        builder->sequences[builder->n_runs++] = (uint32_t)sequence;
    }
}

/* The fullest open sequence that has `positions` left, NULL if there is none. */
static open_sequence *find_open(plan_builder *builder, uint64_t positions) {
    open_sequence *best = NULL;
    for (int i = 0; i < builder->n_open; i++) {
        open_sequence *open = &builder->open[i];
        if (open->room >= positions && (best == NULL || open->room < best->room)) {
            best = open;
        }
    }
    return best;
}

/* Keeps a sequence for documents to join; with too many, the fullest is given up. */
static void keep_open(plan_builder *builder, uint64_t sequence, uint64_t room) {
    const open_sequence added = {(uint32_t)sequence, (uint32_t)room};
    if (builder->n_open < MAX_OPEN) {
        builder->open[builder->n_open++] = added;
        return;
    }
    open_sequence *fullest = &builder->open[0];
    for (int i = 1; i < MAX_OPEN; i++) {
        fullest = builder->open[i].room < fullest->room ? &builder->open[i] : fullest;
    }
    if (fullest->room < added.room) {
        *fullest = added;
    }
}

static void add_documents(plan_builder *builder, const mb_shard *shard, uint64_t seq_length, bool pairs) {
    const uint64_t room = seq_length - (pairs ? MB_SPECIALS_PAIR : MB_SPECIALS_SINGLE);
    uint64_t line = 0, start = 0;
    for (uint64_t i = 0; i < shard->n_documents && builder->n_sequences <= UINT32_MAX; i++) {
        const uint64_t end = mb_shard_document_end(shard, i);
        open_sequence *open = pairs ? NULL : find_open(builder, end - start + 1);
        if (open != NULL) {
            add_run(builder, open->sequence, start, end);
            open->room -= (uint32_t)(end - start + 1);
            start = end;
        }
        while (start < end) {
            const uint64_t next = run_end(shard, start, end, room, &line);
            const uint64_t sequence = builder->n_sequences++;
            add_run(builder, sequence, start, next);
            if (next == end && !pairs) {
                keep_open(builder, sequence, room - (end - start));
            }
            start = next;
        }
        line = shard->document_ends[i];
    }
}

/* Sorts the runs by sequence, those of one sequence as they were found (a counting sort); false without memory. */
static bool sort_runs(const plan_builder *builder, mb_sequence_plan *out) {
    const uint64_t n = builder->n_sequences, n_runs = builder->n_runs;
    out->runs = calloc(n_runs + 1, sizeof(*out->runs));
    out->first_runs = calloc(n + 2, sizeof(*out->first_runs));
    if (out->runs == NULL || out->first_runs == NULL) {
        return false;
    }
    /* Counts stand two places up, so that after summing first_runs[s + 1] is where sequence s begins and, moved on while its
     * runs are placed, in the end where s + 1 begins. */
    for (uint64_t i = 0; i < n_runs; i++) {
        out->first_runs[builder->sequences[i] + UINT64_C(2)]++;
    }
    for (uint64_t i = 2; i < n + 2; i++) {
        out->first_runs[i] += out->first_runs[i - 1];
    }
    for (uint64_t i = 0; i < n_runs; i++) {
        out->runs[out->first_runs[builder->sequences[i] + UINT64_C(1)]++] = builder->runs[i];
    }
    out->n = n;
    out->n_positions = n_runs + n;
    for (uint64_t i = 0; i < n_runs; i++) {
        const mb_run run = mb_sequence_plan_run(out, i);
        out->n_positions += run.end - run.start;
    }
    return true;
}

static mb_status out_of_memory(const mb_shard *shard, mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "cannot cut '%s' into sequences: out of memory", shard->path);
}

mb_status mb_sequence_plan_new(const mb_shard *shard, int32_t seq_length, bool pairs, mb_sequence_plan *out, mb_error *error) {
    *out = (mb_sequence_plan){0};
    const int32_t min_length = pairs ? MB_SPECIALS_PAIR + 2 : MB_SPECIALS_SINGLE + 1;
    if (seq_length < min_length || seq_length >= 1 << MB_RUN_LENGTH_BITS) {
        return mb_fail(error, MB_ERROR_USAGE, "sequence length %d is out of range: %d to %d%s", seq_length, min_length,
                       (1 << MB_RUN_LENGTH_BITS) - 1, pairs ? " with next-sentence pairs" : "");
    }
    plan_builder builder = {0};
    add_documents(&builder, shard, (uint64_t)seq_length, pairs);
    mb_status status = MB_OK;
    if (builder.out_of_memory) {
        status = out_of_memory(shard, error);
    } else if (builder.n_runs > UINT32_MAX || shard->n_tokens >> (64 - MB_RUN_LENGTH_BITS) != 0) {
        /* A sequence's number is a 32-bit counter of the random numbers as well. */
        status = mb_fail(error, MB_ERROR_USAGE, "'%s' gives more than 2^32 sequences; use a longer sequence or less text",
                         shard->path);
    } else if (!sort_runs(&builder, out)) {
        status = out_of_memory(shard, error);
    }
    if (status != MB_OK) {
        mb_sequence_plan_free(out);
    }
    free(builder.runs);
    free(builder.sequences);
    return status;
}

void mb_sequence_plan_free(mb_sequence_plan *plan) {
    free(plan->runs);
    free(plan->first_runs);
    *plan = (mb_sequence_plan){0};
}
