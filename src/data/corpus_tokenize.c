#include "data/corpus_tokenize.h"

#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "data/map_release.h"
#include "data/seen.h"

/* A round takes sections up to about 32 MiB, cuts them into pieces of about 128 KiB, tokenizes the pieces in parallel and
 * writes them in order. Many more pieces than threads, so that no thread waits long for the last one. */
enum { ROUND_BYTES = 32 << 20, ROUND_MAX_SECTIONS = 1 << 16, PIECE_BYTES = 128 << 10 };

typedef struct piece_line {
    uint32_t n_tokens; /* 0: nothing but a document's start, when its first lines tokenize to nothing */
    bool starts_document;
} piece_line;

typedef struct text_piece {
    size_t first_section, n_sections;
    uint32_t *tokens;
    size_t n_tokens, capacity_tokens;
    piece_line *lines;
    size_t n_lines, capacity_lines;
    mb_status status;
    mb_error error;
} text_piece;

typedef struct round_state {
    const mb_tokenizer *tokenizer;
    int32_t dropped[4]; /* special ids that a text may spell out */
    mb_section *sections;
    size_t n_sections;
    text_piece *pieces; /* their arrays are reused by the next round */
    size_t n_pieces, capacity_pieces;
    mb_encoding *encodings; /* one a thread */
    mb_seen seen;           /* sections, with dedup */
    uint64_t n_repeated;
    int n_threads;
} round_state;

static bool is_dropped(const round_state *state, int32_t id) {
    for (size_t i = 0; i < 4; i++) {
        if (id == state->dropped[i]) {
            return true;
        }
    }
    return false;
}

/* Room for `extra` more items; grows by half. */
static bool grow(void **items, size_t n, size_t *capacity, size_t extra, size_t item_bytes) {
    if (n + extra <= *capacity) {
        return true;
    }
    const size_t wanted = n + extra + (n + extra) / 2 + 64;
    void *grown = realloc(*items, wanted * item_bytes);
    if (grown == NULL) {
        return false;
    }
    *items = grown;
    *capacity = wanted;
    return true;
}

static mb_status tokenize_line(const round_state *state, text_piece *piece, const char *line, size_t n_bytes,
                               bool starts_document, mb_encoding *encoding) {
    mb_status status = mb_tokenizer_encode(state->tokenizer, line, n_bytes, encoding, &piece->error);
    if (status != MB_OK) {
        return status;
    }
    if (!grow((void **)&piece->tokens, piece->n_tokens, &piece->capacity_tokens, encoding->n_tokens, sizeof(uint32_t)) ||
        !grow((void **)&piece->lines, piece->n_lines, &piece->capacity_lines, 1, sizeof(piece_line))) {
        return mb_fail(&piece->error, MB_ERROR_MEMORY, "cannot tokenize the corpus: out of memory");
    }
    uint32_t *tokens = piece->n_tokens > 0 ? piece->tokens + piece->n_tokens : piece->tokens;
    uint32_t n_tokens = 0;
    for (size_t i = 0; i < encoding->n_tokens; i++) {
        if (!is_dropped(state, encoding->ids[i])) {
            const bool continues = i > 0 && encoding->words[i] == encoding->words[i - 1];
            tokens[n_tokens++] = (uint32_t)encoding->ids[i] | (continues ? MB_SHARD_CONTINUES : 0);
        }
    }
    if (n_tokens > 0 || starts_document) {
        piece->lines[piece->n_lines++] = (piece_line){n_tokens, starts_document};
        piece->n_tokens += n_tokens;
    }
    return MB_OK;
}

static mb_status tokenize_piece(const round_state *state, text_piece *piece, mb_encoding *encoding) {
    piece->n_tokens = piece->n_lines = 0;
    for (size_t i = 0; i < piece->n_sections; i++) {
        const mb_section *section = &state->sections[piece->first_section + i];
        const char *line = section->text, *end = section->text + section->n_bytes;
        while (line < end) {
            const char *feed = memchr(line, '\n', (size_t)(end - line));
            const size_t n_bytes = (size_t)((feed == NULL ? end : feed) - line);
            const bool starts_document = section->starts_document && line == section->text;
            mb_status status = tokenize_line(state, piece, line, n_bytes, starts_document, encoding);
            if (status != MB_OK) {
                return status;
            }
            line += n_bytes + 1;
        }
    }
    return MB_OK;
}

static mb_status tokenize_round(round_state *state, mb_error *error) {
    const int64_t n_pieces = (int64_t)state->n_pieces;
#pragma omp parallel for schedule(dynamic, 1) num_threads(state->n_threads)
    for (int64_t i = 0; i < n_pieces; i++) {
        text_piece *piece = &state->pieces[i];
        piece->status = tokenize_piece(state, piece, &state->encodings[omp_get_thread_num()]);
    }
    for (size_t i = 0; i < state->n_pieces; i++) {
        if (state->pieces[i].status != MB_OK) {
            return mb_fail(error, state->pieces[i].status, "%s", state->pieces[i].error.message);
        }
    }
    return MB_OK;
}

/* Whether the split, or dedup, leaves a section out. */
static mb_status is_left_out(round_state *state, const mb_corpus_tokenize_options *options, const mb_section *section,
                             bool *left_out, mb_error *error) {
    *left_out = false;
    if (options->split == MB_SPLIT_ALL && !options->dedup) {
        return MB_OK;
    }
    const uint64_t hash = mb_section_hash(section);
    if (options->split != MB_SPLIT_ALL && (hash <= options->held_out_limit) != (options->split == MB_SPLIT_VALID)) {
        *left_out = true;
    } else if (options->dedup) {
        if (!mb_seen_add(&state->seen, hash, left_out)) {
            return mb_fail(error, MB_ERROR_MEMORY, "cannot tokenize the corpus: out of memory");
        }
        state->n_repeated += *left_out;
    }
    return MB_OK;
}

/* Gathers the split's next sections and cuts them into pieces. *n_bytes: text in them; 0 sections: the end. */
static mb_status gather_round(round_state *state, const mb_corpus_tokenize_options *options, mb_corpus_scanner *scanner,
                              bool *after_hole, mb_error *error) {
    size_t round_bytes = 0, piece_bytes = PIECE_BYTES;
    state->n_sections = state->n_pieces = 0;
    mb_section section;
    while (round_bytes < ROUND_BYTES && state->n_sections < ROUND_MAX_SECTIONS && mb_corpus_scanner_next(scanner, &section)) {
        round_bytes += section.n_bytes; /* skipped ones count too: the scan of a round is bounded */
        bool left_out;
        mb_status status = is_left_out(state, options, &section, &left_out, error);
        if (status != MB_OK) {
            return status;
        }
        if (left_out) {
            *after_hole = true;
            continue;
        }
        section.starts_document |= *after_hole;
        *after_hole = false;
        if (piece_bytes >= PIECE_BYTES) {
            const size_t capacity = state->capacity_pieces;
            if (!grow((void **)&state->pieces, state->n_pieces, &state->capacity_pieces, 1, sizeof(text_piece))) {
                return mb_fail(error, MB_ERROR_MEMORY, "cannot tokenize the corpus: out of memory");
            }
            if (state->capacity_pieces > capacity) {
                memset(state->pieces + capacity, 0, (state->capacity_pieces - capacity) * sizeof(text_piece));
            }
            text_piece *piece = &state->pieces[state->n_pieces++];
            piece->first_section = state->n_sections;
            piece->n_sections = 0;
            piece_bytes = 0;
        }
        state->pieces[state->n_pieces - 1].n_sections++;
        state->sections[state->n_sections++] = section;
        piece_bytes += section.n_bytes;
    }
    return MB_OK;
}

static void write_round(const round_state *state, mb_shard_writer *writer, bool *pending_start) {
    for (size_t i = 0; i < state->n_pieces; i++) {
        const text_piece *piece = &state->pieces[i];
        const uint32_t *tokens = piece->tokens;
        for (size_t j = 0; j < piece->n_lines; j++) {
            *pending_start |= piece->lines[j].starts_document;
            if (piece->lines[j].n_tokens > 0) {
                mb_shard_writer_add_line(writer, tokens, piece->lines[j].n_tokens, *pending_start);
                tokens += piece->lines[j].n_tokens;
                *pending_start = false;
            }
        }
    }
}

static uint64_t bytes_before(const mb_corpus_scanner *scanner) {
    uint64_t n = scanner->offset;
    for (size_t i = 0; i < scanner->file; i++) {
        n += scanner->maps[i].n_bytes;
    }
    return n;
}

static void report(const mb_corpus_scanner *scanner, uint64_t total_bytes, uint64_t n_tokens, double begin_seconds,
                   const mb_job *job) {
    const uint64_t done = bytes_before(scanner);
    const double elapsed = mb_clock_seconds() - begin_seconds;
    mb_job_progress(job,
                    &(mb_progress){.phase = "tokenize",
                                   .unit = "bytes",
                                   .done = (int64_t)done,
                                   .total = (int64_t)total_bytes,
                                   .loss = NAN,
                                   .learning_rate = NAN,
                                   .tokens_per_second = elapsed > 0 ? (double)n_tokens / elapsed : NAN,
                                   .elapsed_seconds = elapsed,
                                   .eta_seconds = done == 0 ? NAN : elapsed * (double)(total_bytes - done) / (double)done});
}

static mb_status run_rounds(round_state *state, const mb_corpus_tokenize_options *options, const mb_job *job,
                            mb_shard_writer *writer, mb_error *error) {
    mb_corpus_scanner scanner = {.maps = options->maps, .n_maps = options->n_maps};
    uint64_t total_bytes = 0;
    for (size_t i = 0; i < options->n_maps; i++) {
        total_bytes += options->maps[i].n_bytes;
    }
    const double begin_seconds = mb_clock_seconds();
    bool after_hole = false, pending_start = false;
    while (scanner.file < scanner.n_maps) {
        const size_t file_before = scanner.file;
        mb_status status = gather_round(state, options, &scanner, &after_hole, error);
        if (status == MB_OK) {
            status = tokenize_round(state, error);
        }
        if (status != MB_OK) {
            return status;
        }
        write_round(state, writer, &pending_start);
        for (size_t i = file_before; i < scanner.n_maps && i <= scanner.file; i++) {
            mb_map_release(&options->maps[i], 0, i < scanner.file ? options->maps[i].n_bytes : scanner.offset);
        }
        report(&scanner, total_bytes, mb_shard_writer_n_tokens(writer), begin_seconds, job);
        if (mb_job_should_stop(job)) {
            return mb_fail(error, MB_ERROR_INTERRUPTED, "stopped while tokenizing the corpus; nothing was kept");
        }
    }
    return MB_OK;
}

mb_status mb_corpus_tokenize(const mb_corpus_tokenize_options *options, const mb_tokenizer *tokenizer, const mb_job *job,
                             mb_shard_writer *writer, mb_error *error) {
    round_state state = {
        .tokenizer = tokenizer,
        .dropped = {mb_tokenizer_special(tokenizer, MB_SPECIAL_CLS), mb_tokenizer_special(tokenizer, MB_SPECIAL_SEP),
                    mb_tokenizer_special(tokenizer, MB_SPECIAL_PAD), mb_tokenizer_special(tokenizer, MB_SPECIAL_MASK)},
        .n_threads = job != NULL && job->n_threads > 0 ? job->n_threads : mb_threads_count(),
    };
    state.sections = malloc(ROUND_MAX_SECTIONS * sizeof(*state.sections));
    state.encodings = calloc((size_t)state.n_threads, sizeof(*state.encodings));
    mb_status status;
    if (state.sections == NULL || state.encodings == NULL) {
        status = mb_fail(error, MB_ERROR_MEMORY, "cannot tokenize the corpus: out of memory");
    } else {
        status = run_rounds(&state, options, job, writer, error);
    }
    if (status == MB_OK && options->dedup) {
        mb_job_message(job, MB_LEVEL_INFO, "%" PRIu64 " repeated documents were left out", state.n_repeated);
    }
    mb_seen_free(&state.seen);
    for (size_t i = 0; i < state.capacity_pieces; i++) {
        free(state.pieces[i].tokens);
        free(state.pieces[i].lines);
    }
    for (int i = 0; state.encodings != NULL && i < state.n_threads; i++) {
        mb_encoding_free(&state.encodings[i]);
    }
    free(state.pieces);
    free(state.sections);
    free(state.encodings);
    return status;
}
