/* Private to embedder*.c: an embedder, and what a block of lines is while it is worked on. */
#ifndef MB_TASKS_EMBEDDER_STATE_H
#define MB_TASKS_EMBEDDER_STATE_H

#include "tasks/embedder.h"
#include "tasks/text_model.h"

/* A run of tokens of one line that goes through the encoder at once, between [CLS] and [SEP]. */
typedef struct mb_window {
    size_t line;
    size_t first, n; /* tokens of the line */
} mb_window;

/* What a thread needs for itself. */
typedef struct mb_embedder_worker {
    mb_encoding encoding; /* what encoding needs beside its result */
    mb_tape *tape;
    int32_t *ids, *offsets; /* of a batch */
    size_t capacity_ids, capacity_offsets;
} mb_embedder_worker;

struct mb_embedder {
    mb_text_model model;
    mb_embedder_options options;
    bool layer_wanted[MB_MAX_LAYERS + 1];
    int n_layers_wanted;
    const mb_job *job;
    int64_t n_cut, n_tokens;
    /* for the block at work */
    mb_encoding *encodings; /* one a line; kept between blocks */
    size_t n_encodings;
    mb_embedder_worker *workers; /* one a thread */
    int n_workers;
    int64_t *first_row; /* per line, and one more for the end: its rows while the windows are added */
    int32_t *n_windows; /* per row: how many windows have been added */
    size_t capacity_first_row, capacity_n_windows;
    mb_window *windows;
    size_t n_windows_total, capacity_windows;
    size_t *batches; /* where each of them begins among the windows, and one more for the end */
    size_t n_batches, capacity_batches;
};

bool mb_embedder_is_per_token(const mb_embedder *e); /* tokens or words: a row a token while windows are added */
/* Adds the hidden states of one window, (n + 2, H), to its line's rows. */
void mb_embedder_add_to_rows(mb_embedder *e, const mb_window *window, const float *hidden, float *vectors);
/* Divides each row by its number of windows: the sums become means. */
void mb_embedder_average_windows(const mb_embedder *e, mb_embedding_rows *rows);
/* Fills rows->spans and, for words, replaces the rows of a word's tokens by their mean; rows->n becomes the number of words. */
void mb_embedder_finish_spans(const mb_embedder *e, size_t n_lines, mb_embedding_rows *rows);
/* Lengths to 1; a row of zeros stays one. */
void mb_embedding_rows_normalize(mb_embedding_rows *rows);

#endif
