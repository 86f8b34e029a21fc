#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "skipgram/word_vectors.h"

const char *const mb_word_format_names[] = {"text", "binary", "npy", NULL};

enum { BLOCK_ROWS = 256, NUMBER_BYTES = 32 };

/* " -0.123456": six digits behind the point, as word2vec.c writes; by hand, for printf would take longer than training does. */
static size_t format_number(float x, char *out) {
    const double scaled = fabs((double)x) * 1e6 + 0.5;
    if (!(scaled < 1e18)) {
        return (size_t)snprintf(out, NUMBER_BYTES, " %.9g", (double)x);
    }
    uint64_t digits = (uint64_t)scaled;
    char reversed[NUMBER_BYTES];
    size_t n = 0, used = 0;
    for (; n < 6; digits /= 10) {
        reversed[n++] = (char)('0' + digits % 10);
    }
    reversed[n++] = '.';
    do {
        reversed[n++] = (char)('0' + digits % 10);
        digits /= 10;
    } while (digits > 0);
    out[used++] = ' ';
    if (x < 0) {
        out[used++] = '-';
    }
    while (n > 0) {
        out[used++] = reversed[--n];
    }
    return used;
}

typedef struct text_block {
    char *bytes;
    size_t n_bytes;
} text_block;

static bool format_block(text_block *block, const mb_lexicon *words, const float *rows, int64_t begin, int64_t end,
                         int64_t width, int64_t stride) {
    size_t capacity = 0;
    for (int64_t i = begin; i < end; i++) {
        size_t n_bytes;
        mb_lexicon_get(words, i, &n_bytes);
        capacity += n_bytes + (size_t)width * NUMBER_BYTES + 1;
    }
    block->bytes = malloc(capacity + 1);
    for (int64_t i = begin; block->bytes && i < end; i++) {
        size_t n_bytes;
        const char *word = mb_lexicon_get(words, i, &n_bytes);
        memcpy(block->bytes + block->n_bytes, word, n_bytes);
        block->n_bytes += n_bytes;
        for (int64_t j = 0; j < width; j++) {
            block->n_bytes += format_number(rows[i * stride + j], block->bytes + block->n_bytes);
        }
        block->bytes[block->n_bytes++] = '\n';
    }
    return block->bytes;
}

static bool write_text(mb_writer *writer, const mb_lexicon *words, const float *rows, int64_t width, int64_t stride) {
    enum { BLOCKS = 32 };
    bool fine = true;
    mb_writer_printf(writer, "%lld %lld\n", (long long)words->n, (long long)width);
    for (int64_t begin = 0; fine && begin < words->n; begin += BLOCKS * BLOCK_ROWS) {
        text_block blocks[BLOCKS] = {{0}};
#pragma omp parallel for schedule(dynamic) reduction(&& : fine)
        for (int64_t k = 0; k < BLOCKS; k++) {
            const int64_t from = begin + k * BLOCK_ROWS, to = from + BLOCK_ROWS < words->n ? from + BLOCK_ROWS : words->n;
            fine = fine && (from >= to || format_block(&blocks[k], words, rows, from, to, width, stride));
        }
        for (int k = 0; k < BLOCKS; k++) {
            if (fine && blocks[k].bytes) {
                mb_writer_write(writer, blocks[k].bytes, blocks[k].n_bytes);
            }
            free(blocks[k].bytes);
        }
    }
    return fine;
}

static void write_binary(mb_writer *writer, const mb_lexicon *words, const float *rows, int64_t width, int64_t stride) {
    mb_writer_printf(writer, "%lld %lld\n", (long long)words->n, (long long)width);
    for (int64_t i = 0; i < words->n; i++) {
        size_t n_bytes;
        const char *word = mb_lexicon_get(words, i, &n_bytes);
        mb_writer_write(writer, word, n_bytes);
        mb_writer_write(writer, " ", 1);
        mb_writer_write(writer, rows + i * stride, (size_t)width * sizeof *rows);
        mb_writer_write(writer, "\n", 1);
    }
}

mb_status mb_rows_save_npy(const char *path, const float *rows, int64_t n, int64_t width, int64_t stride, mb_error *error) {
    enum { HEADER_BYTES = 128 }; /* with the 10 bytes before it: a multiple of 64, as the format asks */
    mb_writer *writer;
    const mb_status status = mb_writer_open(path, &writer, error);
    if (status != MB_OK) {
        return status;
    }
    char header[HEADER_BYTES];
    memset(header, ' ', sizeof header);
    memcpy(header, "\x93NUMPY\x01\x00", 8); /* version 1.0, then the length of what follows */
    header[8] = HEADER_BYTES - 10;
    header[9] = 0;
    const int length =
        snprintf(header + 10, sizeof header - 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (%lld, %lld), }",
                 (long long)n, (long long)width);
    header[10 + length] = ' ';
    header[HEADER_BYTES - 1] = '\n';
    mb_writer_write(writer, header, HEADER_BYTES);
    for (int64_t i = 0; i < n; i++) {
        mb_writer_write(writer, rows + i * stride, (size_t)width * sizeof *rows);
    }
    return mb_writer_commit(writer, error);
}

static mb_status save_word_list(const char *path, const mb_lexicon *words, mb_error *error) {
    mb_writer *writer;
    char list_path[4096];
    if (snprintf(list_path, sizeof list_path, "%s.vocab", path) >= (int)sizeof list_path) {
        return mb_fail(error, MB_ERROR_USAGE, "the path '%.200s...' is too long", path);
    }
    const mb_status status = mb_writer_open(list_path, &writer, error);
    if (status != MB_OK) {
        return status;
    }
    for (int64_t i = 0; i < words->n; i++) {
        size_t n_bytes;
        const char *word = mb_lexicon_get(words, i, &n_bytes);
        mb_writer_write(writer, word, n_bytes);
        mb_writer_printf(writer, " %lld\n", (long long)words->counts[i]);
    }
    return mb_writer_commit(writer, error);
}

mb_status mb_word_vectors_save(const char *path, mb_word_format format, const mb_lexicon *words, const float *rows,
                               int64_t width, int64_t stride, mb_error *error) {
    if (format == MB_WORD_FORMAT_NPY) {
        const mb_status status = save_word_list(path, words, error);
        return status == MB_OK ? mb_rows_save_npy(path, rows, words->n, width, stride, error) : status;
    }
    mb_writer *writer;
    const mb_status status = mb_writer_open(path, &writer, error);
    if (status != MB_OK) {
        return status;
    }
    if (format == MB_WORD_FORMAT_BINARY) {
        write_binary(writer, words, rows, width, stride);
    } else if (!write_text(writer, words, rows, width, stride)) {
        mb_writer_abort(writer);
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory writing '%s'", path);
    }
    return mb_writer_commit(writer, error);
}
