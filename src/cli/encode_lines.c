#include "cli/encode_lines.h"

#include <errno.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/threads.h"
#include "cli/line_source.h"
#include "minibert/tokenizer.h"
#include "tasks/text_escape.h"

/* Text is cut into pieces of about PIECE_BYTES at line feeds; a thread turns a piece into one buffer, and the buffers are
 * written in order. */
enum { PIECE_BYTES = 1 << 18, NUMBER_BYTES = 12 };

/* " 12345": making digits would take longer than finding the wordpiece. */
typedef struct id_text {
    char text[NUMBER_BYTES - 1]; /* a space and up to 10 digits */
    uint8_t n_bytes;
} id_text;

/* What all threads read, and what the one whose turn it is to write counts. */
typedef struct encoder {
    const mb_encode_lines_options *options;
    mb_tokenizer *tokenizer;
    id_text *id_texts;
    int64_t n_lines; /* written */
    double began_at;
} encoder;

/* Memory of one thread. The encoding's own padding is behind it, so the rest stands before it. */
typedef struct worker {
    mb_buffer text;
    int64_t n_lines;
    mb_encoding encoding;
} worker;

/* Digits of `number`, at most 10, at `out`; returns how many. */
static size_t put_number(char *out, uint32_t number) {
    char digits[10];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    for (size_t i = 0; i < n; i++) {
        out[i] = digits[n - 1 - i];
    }
    return n;
}

/* The tokenizer of the model, as the reference that was asked for. */
static mb_status load(const mb_encode_lines_options *o, mb_tokenizer **out, mb_error *error) {
    mb_tokenizer *tokenizer = NULL;
    mb_status status = mb_tokenizer_load(o->model, &tokenizer, error);
    if (status != MB_OK || o->compat == MB_ENCODE_COMPAT_AUTO) {
        *out = tokenizer;
        return status;
    }
    const mb_compat compat = o->compat == MB_ENCODE_COMPAT_GOOGLE ? MB_COMPAT_GOOGLE : MB_COMPAT_HF;
    const mb_tokenizer_config config = mb_tokenizer_config_compat(mb_tokenizer_get_config(tokenizer), compat);
    status = mb_tokenizer_with_config(tokenizer, &config, out, error);
    mb_tokenizer_free(tokenizer);
    return status;
}

static mb_status make_id_texts(encoder *self, mb_error *error) {
    const size_t n_ids = mb_tokenizer_vocab_size(self->tokenizer);
    self->id_texts = calloc(n_ids, sizeof *self->id_texts);
    if (!self->id_texts) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for %zu wordpieces", n_ids);
    }
    for (size_t id = 0; id < n_ids; id++) {
        self->id_texts[id].text[0] = ' ';
        self->id_texts[id].n_bytes = (uint8_t)(1 + put_number(self->id_texts[id].text + 1, (uint32_t)id));
    }
    return MB_OK;
}

static bool append_ids(mb_buffer *out, const encoder *self, const mb_encoding *e, bool json) {
    if (!mb_buffer_reserve(out, e->n_tokens * (NUMBER_BYTES + 1))) {
        return false;
    }
    char *end = out->data + out->n_bytes;
    for (size_t t = 0; t < e->n_tokens; t++) {
        const id_text *id = &self->id_texts[e->ids[t]];
        if (json && t) {
            *end++ = ',';
        }
        const size_t skip = t == 0; /* the space before the first */
        memcpy(end, id->text + skip, sizeof id->text - skip);
        end += id->n_bytes - skip;
    }
    *end = '\0';
    out->n_bytes = (size_t)(end - out->data);
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

static bool append_offsets(mb_buffer *out, const mb_encoding *e) {
    enum { OFFSETS_BYTES = 2 * 10 + 6 }; /* ", [a, b]" */
    if (!mb_buffer_reserve(out, e->n_tokens * OFFSETS_BYTES)) {
        return false;
    }
    char *end = out->data + out->n_bytes;
    for (size_t t = 0; t < e->n_tokens; t++) {
        memcpy(end, ", [", 3);
        end = t ? end + 3 : (char *)memcpy(end, "[", 1) + 1;
        end += put_number(end, e->starts[t]);
        *end++ = ',';
        *end++ = ' ';
        end += put_number(end, e->ends[t]);
        *end++ = ']';
    }
    *end = '\0';
    out->n_bytes = (size_t)(end - out->data);
    return true;
}

static bool append_json(mb_buffer *out, const encoder *self, const mb_encoding *e) {
    return mb_buffer_append_text(out, "{\"ids\": [") && append_ids(out, self, e, true) &&
           mb_buffer_append_text(out, "], \"tokens\": [") && append_tokens(out, self->tokenizer, e, true) &&
           mb_buffer_append_text(out, "], \"offsets\": [") && append_offsets(out, e) && mb_buffer_append_text(out, "]}");
}

static mb_status encode_line(const encoder *self, const char *line, size_t n_bytes, worker *w, mb_error *error) {
    const mb_encode_lines_options *o = self->options;
    const size_t max_length = (size_t)o->max_length;
    mb_encoding *e = &w->encoding;
    mb_status status;
    if (n_bytes && line[n_bytes - 1] == '\r') {
        n_bytes--;
    }
    if (o->no_special) {
        status = mb_tokenizer_encode(self->tokenizer, line, n_bytes, e, error);
        e->n_tokens = max_length && e->n_tokens > max_length ? max_length : e->n_tokens;
    } else {
        status = mb_tokenizer_encode_pair(self->tokenizer, line, n_bytes, NULL, 0, max_length, e, error);
    }
    if (status != MB_OK) {
        return status;
    }
    const bool fine = o->format == MB_ENCODE_IDS      ? append_ids(&w->text, self, e, false)
                      : o->format == MB_ENCODE_TOKENS ? append_tokens(&w->text, self->tokenizer, e, false)
                                                      : append_json(&w->text, self, e);
    return fine && mb_buffer_append(&w->text, "\n", 1) ? MB_OK
                                                       : mb_fail(error, MB_ERROR_MEMORY, "out of memory for encoded lines");
}

/* Where pieces begin, and the end: after the first line feed at or behind each multiple of PIECE_BYTES. NULL: no memory. */
static size_t *cut(const mb_line_block *block, size_t *n_pieces) {
    size_t *begins = malloc((block->n_bytes / PIECE_BYTES + 2) * sizeof *begins), n = 0;
    if (!begins) {
        return NULL;
    }
    begins[n++] = 0;
    while (block->n_bytes - begins[n - 1] > PIECE_BYTES) {
        const size_t from = begins[n - 1] + PIECE_BYTES - 1;
        const char *feed = memchr(block->text + from, '\n', block->n_bytes - from);
        const size_t begin = feed ? (size_t)(feed - block->text) + 1 : block->n_bytes;
        if (begin == block->n_bytes) {
            break;
        }
        begins[n++] = begin;
    }
    begins[n] = block->n_bytes;
    *n_pieces = n;
    return begins;
}

static mb_status encode_piece(const encoder *self, const char *text, size_t n_bytes, worker *w, mb_error *error) {
    mb_buffer_clear(&w->text);
    w->n_lines = 0;
    mb_status status = MB_OK;
    for (size_t at = 0; status == MB_OK && at < n_bytes; w->n_lines++) {
        const char *feed = memchr(text + at, '\n', n_bytes - at);
        const size_t end = feed ? (size_t)(feed - text) : n_bytes;
        status = encode_line(self, text + at, end - at, w, error);
        at = end + 1;
    }
    return status;
}

/* The turn of one piece: what is written, and when to stop. */
static mb_status finish_piece(encoder *self, const worker *w, const mb_job *job, FILE *out, mb_error *error) {
    if (fwrite(w->text.data, 1, w->text.n_bytes, out) != w->text.n_bytes) {
        return mb_fail(error, MB_ERROR_IO, "cannot write to standard output: %s", strerror(errno));
    }
    self->n_lines += w->n_lines;
    const mb_progress progress = {.phase = "encode",
                                  .unit = "lines",
                                  .done = self->n_lines,
                                  .loss = NAN,
                                  .learning_rate = NAN,
                                  .tokens_per_second = NAN,
                                  .elapsed_seconds = mb_clock_seconds() - self->began_at,
                                  .eta_seconds = NAN};
    mb_job_progress(job, &progress);
    return mb_job_should_stop(job) ? mb_fail(error, MB_ERROR_INTERRUPTED, "interrupted") : MB_OK;
}

/* Pieces are encoded side by side and written one after the other; while one thread writes, the others encode. */
static mb_status encode_block(encoder *self, const mb_line_block *block, const mb_job *job, worker *workers, FILE *out,
                              mb_error *error) {
    size_t n_pieces = 0;
    size_t *begins = cut(block, &n_pieces);
    if (!begins) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for %zu bytes of lines", block->n_bytes);
    }
    int status = MB_OK; /* of the first piece that failed */
#pragma omp parallel for ordered schedule(dynamic, 1)
    for (size_t piece = 0; piece < n_pieces; piece++) {
        worker *w = &workers[omp_get_thread_num()];
        int before;
#pragma omp atomic read
        before = status;
        mb_error failure;
        mb_status mine = before != MB_OK
                             ? MB_OK
                             : encode_piece(self, block->text + begins[piece], begins[piece + 1] - begins[piece], w, &failure);
#pragma omp ordered
        if (status == MB_OK) {
            mine = mine == MB_OK ? finish_piece(self, w, job, out, &failure) : mine;
            if (mine != MB_OK) {
                *error = failure;
#pragma omp atomic write
                status = (int)mine;
            }
        }
    }
    free(begins);
    return (mb_status)status;
}

static mb_status encode_all(encoder *self, const mb_job *job, FILE *out, mb_error *error) {
    const int n_workers = mb_threads_count();
    worker *workers = calloc((size_t)n_workers, sizeof *workers);
    mb_line_source *source = NULL;
    mb_line_block block;
    mb_status status = workers ? mb_line_source_open(STDIN_FILENO, "standard input", &source, error)
                               : mb_fail(error, MB_ERROR_MEMORY, "out of memory for encoded lines");
    while (status == MB_OK) {
        status = mb_line_source_next(source, job, &block, error);
        if (status != MB_OK || block.n_bytes == 0) {
            break;
        }
        status = encode_block(self, &block, job, workers, out, error);
        if (status == MB_OK && !mb_line_source_is_file(source) && fflush(out) != 0) { /* someone may be waiting for them */
            status = mb_fail(error, MB_ERROR_IO, "cannot write to standard output: %s", strerror(errno));
        }
    }
    mb_line_source_close(source);
    for (int i = 0; workers && i < n_workers; i++) {
        mb_encoding_free(&workers[i].encoding);
        mb_buffer_free(&workers[i].text);
    }
    free(workers);
    return status;
}

mb_status mb_encode_lines(const mb_encode_lines_options *options, const mb_job *job, FILE *out, mb_error *error) {
    if (options->max_length == 1 && !options->no_special) {
        return mb_fail(error, MB_ERROR_USAGE,
                       "--max-length must leave room for [CLS] and [SEP]: at least 2, or 0 for no limit");
    }
    encoder self = {.options = options, .began_at = mb_clock_seconds()};
    mb_status status = load(options, &self.tokenizer, error);
    if (status == MB_OK) {
        status = make_id_texts(&self, error);
    }
    if (status == MB_OK) {
        status = encode_all(&self, job, out, error);
    }
    free(self.id_texts);
    mb_tokenizer_free(self.tokenizer);
    return status;
}
