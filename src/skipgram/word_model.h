/* The two matrices of Skip-Gram and CBOW, and one example's step on them. */
#ifndef MB_SKIPGRAM_WORD_MODEL_H
#define MB_SKIPGRAM_WORD_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "minibert/status.h"
#include "skipgram/examples.h"
#include "skipgram/pair_kernel.h"
#include "skipgram/subwords.h"

typedef struct mb_word_model {
    int64_t width;       /* floats of a vector */
    int64_t line_stride; /* from row to row, whole cache lines: the first rows of a matrix, those of frequent words */
    int64_t stride;      /* from row to row, the others */
    int64_t n_in_lines, n_out_lines; /* rows of whole lines */
    int64_t n_words;                 /* the first rows of `in` */
    int64_t n_in_rows,
        n_out_rows; /* in: words, then n-gram buckets. out: words if there are negatives, then nodes of the tree */
    float *in, *out;
    const mb_subwords *subwords; /* NULL: none */
    bool cbow;
} mb_word_model;

static inline float *mb_word_model_row(const mb_word_model *model, float *matrix, int64_t n_lines, int64_t row) {
    const int64_t n_wide = row < n_lines ? row : n_lines; /* of the rows before it; no branch, which nothing could foresee */
    return matrix + row * model->stride + n_wide * (model->line_stride - model->stride);
}
static inline float *mb_word_model_in(const mb_word_model *model, int64_t row) {
    return mb_word_model_row(model, model->in, model->n_in_lines, row);
}
static inline float *mb_word_model_out(const mb_word_model *model, int64_t row) {
    return mb_word_model_row(model, model->out, model->n_out_lines, row);
}

/* `in` is uniform in +-1/(2 width), as word2vec.c has it, `out` is zero. The shape is taken from *model. */
mb_status mb_word_model_init(mb_word_model *model, uint64_t seed, mb_error *error);
void mb_word_model_free(mb_word_model *model);
/* Brings all rows to `stride`, for saving. */
void mb_word_model_squeeze(mb_word_model *model);
/* Each word's row becomes its vector, the mean of its own row and those of its n-grams, which stay. For saving. */
mb_status mb_word_model_fold(mb_word_model *model, mb_error *error);

/* A row that a step changes: the change is added to it `scale` times. */
typedef struct mb_row_change {
    float *row;
    const float *change;
    float scale;
} mb_row_change;

/* A thread's work space for steps. Begins as {0}. */
typedef struct mb_word_step {
    mb_pairs pairs;
    mb_loss_sum loss;
    int64_t n_pairs; /* of an input and a word that belongs to it */
    float *rows;     /* hidden states and changes, n_rows of them */
    int64_t n_rows, n_rows_used;
    mb_row_change *later; /* changes not applied by the step itself */
    int64_t n_later, later_capacity;
} mb_word_step;

/* Rows for the longest example; `n_rows` 2 * MB_PAIRS_MAX_IN + MB_PAIRS_MAX_OUT suffices always. */
mb_status mb_word_step_init(mb_word_step *step, const mb_word_model *model, int64_t n_rows, mb_error *error);
void mb_word_step_free(mb_word_step *step);
/* Skip-Gram: each word of `example` against the outputs. CBOW: the mean of their vectors. Changes the model at once. */
void mb_word_step_train(mb_word_step *step, const mb_word_model *model, const mb_example *example, float alpha);
/* The same, but the changes wait: each call adds its own to step->later, with their numbers in step->rows, which must have room
 * (2 * example->n_in + example->n_out suffice for one), until mb_word_step_clear. False without memory. */
bool mb_word_step_compute(mb_word_step *step, const mb_word_model *model, const mb_example *example, float alpha);
static inline void mb_word_step_clear(mb_word_step *step) {
    step->n_rows_used = step->n_later = 0;
}
/* Fetches what mb_word_step_train will read. */
void mb_word_model_prefetch(const mb_word_model *model, const mb_example *example);

#endif
