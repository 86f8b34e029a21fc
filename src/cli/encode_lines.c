#include "cli/encode_lines.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "minibert/tokenizer.h"
#include "tasks/text_escape.h"
#include "tasks/text_input.h"

/* A block is cut into chunks of CHUNK_LINES; a thread turns a chunk into one buffer, and the buffers are written in order. */
enum { CHUNK_LINES = 128, CHUNKS = 64, BLOCK_BYTES = 1 << 22 };

typedef struct chunk {
    mb_encoding encoding;
    mb_buffer text;
    mb_status status;
    mb_error error;
} chunk;

static bool append_ids(mb_buffer *out, const mb_encoding *e, const char *separator) {
    for (size_t t = 0; t < e->n_tokens; t++) {
        char number[24];
        const int length = snprintf(number, sizeof number, "%s%d", t ? separator : "", e->ids[t]);
        if (!mb_buffer_append(out, number, (size_t)length)) {
            return false;
        }
    }
    return true;
}

static bool append_tokens(mb_buffer *out, const mb_tokenizer *tokenizer, const mb_encoding *e, bool json) {
    for (size_t t = 0; t < e->n_tokens; t++) {
        const char *piece = mb_tokenizer_piece(tokenizer, e->ids[t]);
        const bool fine = (t == 0 || mb_buffer_append_text(out, json ? ", " : " ")) &&
                          (json ? mb_append_json_text(out, piece, strlen(piece)) : mb_buffer_append_text(out, piece));
        if (!fine) {
            return false;
        }
    }
    return true;
}

static bool append_json(mb_buffer *out, const mb_tokenizer *tokenizer, const mb_encoding *e) {
    bool fine = mb_buffer_append_text(out, "{\"ids\": [") && append_ids(out, e, ", ") &&
                mb_buffer_append_text(out, "], \"tokens\": [") && append_tokens(out, tokenizer, e, true) &&
                mb_buffer_append_text(out, "], \"offsets\": [");
    for (size_t t = 0; fine && t < e->n_tokens; t++) {
        fine = mb_buffer_printf(out, "%s[%u, %u]", t ? ", " : "", e->starts[t], e->ends[t]);
    }
    return fine && mb_buffer_append_text(out, "]}");
}

static void encode_chunk(const mb_encode_lines_options *options, const mb_tokenizer *tokenizer, const mb_text_line *lines,
                         size_t n, chunk *c) {
    const size_t max_length = (size_t)options->max_length;
    c->status = MB_OK;
    mb_buffer_clear(&c->text);
    for (size_t i = 0; c->status == MB_OK && i < n; i++) {
        mb_encoding *e = &c->encoding;
        if (options->no_special) {
            c->status = mb_tokenizer_encode(tokenizer, lines[i].text, lines[i].n_bytes, e, &c->error);
            e->n_tokens = max_length && e->n_tokens > max_length ? max_length : e->n_tokens;
        } else {
            c->status = mb_tokenizer_encode_pair(tokenizer, lines[i].text, lines[i].n_bytes, NULL, 0, max_length, e, &c->error);
        }
        if (c->status != MB_OK) {
            return;
        }
        bool fine = options->format == MB_ENCODE_IDS      ? append_ids(&c->text, e, " ")
                    : options->format == MB_ENCODE_TOKENS ? append_tokens(&c->text, tokenizer, e, false)
                                                          : append_json(&c->text, tokenizer, e);
        fine = fine && mb_buffer_append(&c->text, "\n", 1);
        if (!fine) {
            c->status = mb_fail(&c->error, MB_ERROR_MEMORY, "out of memory for encoded lines");
        }
    }
}

static mb_status encode_block(const mb_encode_lines_options *options, const mb_tokenizer *tokenizer, const mb_text_block *block,
                              chunk *chunks, FILE *out, mb_error *error) {
    const int64_t n_chunks = (int64_t)((block->n + CHUNK_LINES - 1) / CHUNK_LINES);
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t k = 0; k < n_chunks; k++) {
        const size_t begin = (size_t)k * CHUNK_LINES, left = block->n - begin;
        encode_chunk(options, tokenizer, block->lines + begin, left < CHUNK_LINES ? left : CHUNK_LINES, &chunks[k]);
    }
    for (int64_t k = 0; k < n_chunks; k++) {
        if (chunks[k].status != MB_OK) {
            *error = chunks[k].error;
            return chunks[k].status;
        }
        if (fwrite(chunks[k].text.data, 1, chunks[k].text.n_bytes, out) != chunks[k].text.n_bytes) {
            return mb_fail(error, MB_ERROR_IO, "cannot write to standard output: %s", strerror(errno));
        }
    }
    return MB_OK;
}

static mb_status encode_all(const mb_encode_lines_options *options, const mb_tokenizer *tokenizer, const mb_job *job,
                            chunk *chunks, FILE *out, mb_error *error) {
    mb_text_input *input = NULL;
    mb_text_block block = {0};
    int64_t n_lines = 0;
    const double began_at = mb_clock_seconds();
    mb_status status = mb_text_input_open("-", &input, error);
    while (status == MB_OK) {
        status = mb_text_input_next(input, (size_t)CHUNKS * CHUNK_LINES, BLOCK_BYTES, job, &block, error);
        if (status != MB_OK || block.n == 0) {
            break;
        }
        status = encode_block(options, tokenizer, &block, chunks, out, error);
        n_lines += (int64_t)block.n;
        const mb_progress progress = {.phase = "encode",
                                      .unit = "lines",
                                      .done = n_lines,
                                      .loss = NAN,
                                      .learning_rate = NAN,
                                      .tokens_per_second = NAN,
                                      .elapsed_seconds = mb_clock_seconds() - began_at,
                                      .eta_seconds = NAN};
        mb_job_progress(job, &progress);
    }
    mb_text_block_free(&block);
    mb_text_input_close(input);
    return status;
}

mb_status mb_encode_lines(const mb_encode_lines_options *options, const mb_job *job, FILE *out, mb_error *error) {
    if (options->max_length == 1 && !options->no_special) {
        return mb_fail(error, MB_ERROR_USAGE,
                       "--max-length must leave room for [CLS] and [SEP]: at least 2, or 0 for no limit");
    }
    mb_tokenizer *tokenizer = NULL;
    chunk *chunks = calloc(CHUNKS, sizeof *chunks);
    mb_status status = chunks ? mb_tokenizer_load(options->model, &tokenizer, error)
                              : mb_fail(error, MB_ERROR_MEMORY, "out of memory for encoded lines");
    if (status == MB_OK) {
        status = encode_all(options, tokenizer, job, chunks, out, error);
    }
    for (size_t k = 0; chunks && k < CHUNKS; k++) {
        mb_encoding_free(&chunks[k].encoding);
        mb_buffer_free(&chunks[k].text);
    }
    free(chunks);
    mb_tokenizer_free(tokenizer);
    return status;
}
