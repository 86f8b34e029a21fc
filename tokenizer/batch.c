/* Many texts at once, into the caller's arrays. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "tokenizer/tokenizer_internal.h"

enum { TEXTS_A_PIECE = 64 };

typedef struct batch {
    const mb_tokenizer *tokenizer;
    const mb_text *texts;
    size_t max_length;
    int32_t *ids, *attention_mask;
    size_t *n_tokens;
} batch;

/* Fills row i. */
static mb_status encode_row(const batch *self, size_t i, mb_encoding *encoding, mb_error *error) {
    const mb_text *text = &self->texts[i];
    mb_status status =
        mb_tokenizer_encode_pair(self->tokenizer, text->bytes, text->n_bytes, NULL, 0, self->max_length, encoding, error);
    if (status != MB_OK) {
        return status;
    }
    const size_t n = encoding->n_tokens;
    int32_t *row = self->ids + i * self->max_length;
    memcpy(row, encoding->ids, n * sizeof *row);
    for (size_t t = n; t < self->max_length; t++) {
        row[t] = self->tokenizer->specials[MB_SPECIAL_PAD];
    }
    for (size_t t = 0; self->attention_mask != NULL && t < self->max_length; t++) {
        self->attention_mask[i * self->max_length + t] = t < n;
    }
    if (self->n_tokens != NULL) {
        self->n_tokens[i] = n;
    }
    return MB_OK;
}

static mb_status encode_rows(const batch *self, size_t n_texts, mb_encoding *encodings, mb_error *error) {
    int status = MB_OK;
#pragma omp parallel for schedule(dynamic, TEXTS_A_PIECE)
    for (size_t i = 0; i < n_texts; i++) {
        int before;
#pragma omp atomic read
        before = status;
        mb_error failure;
        if (before == MB_OK && encode_row(self, i, &encodings[omp_get_thread_num()], &failure) != MB_OK) {
#pragma omp critical(mb_tokenizer_batch_failure)
            if (status == MB_OK) {
                if (error != NULL) {
                    *error = failure;
                }
#pragma omp atomic write
                status = (int)failure.status;
            }
        }
    }
    return (mb_status)status;
}

mb_status mb_tokenizer_encode_batch(const mb_tokenizer *tokenizer, const mb_text *texts, size_t n_texts, size_t max_length,
                                    int32_t *ids, int32_t *attention_mask, size_t *n_tokens, mb_error *error) {
    if (max_length < 2) {
        return mb_fail(error, MB_ERROR_USAGE, "rows of %zu ids have no room for [CLS] and [SEP]", max_length);
    }
    const int n_threads = mb_threads_count();
    mb_encoding *encodings = calloc((size_t)n_threads, sizeof *encodings);
    if (encodings == NULL) {
        return mb_fail(error, MB_ERROR_MEMORY, "no memory to encode %zu texts", n_texts);
    }
    const batch self = {.tokenizer = tokenizer,
                        .texts = texts,
                        .max_length = max_length,
                        .ids = ids,
                        .attention_mask = attention_mask,
                        .n_tokens = n_tokens};
    mb_status status = encode_rows(&self, n_texts, encodings, error);
    for (int i = 0; i < n_threads; i++) {
        mb_encoding_free(&encodings[i]);
    }
    free(encodings);
    return status;
}
