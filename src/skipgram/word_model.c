#include "skipgram/word_model.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"
#include "skipgram/random_streams.h"

enum { LINE_BYTES = 64, LINE_FLOATS = 16 };

/* Not zeroed. Rows are visited in no order: with pages of 4 KiB each visit would miss the TLB. */
static float *allocate_rows(int64_t n_rows, int64_t stride) {
    size_t n_bytes;
    if (__builtin_mul_overflow((size_t)n_rows, (size_t)stride * sizeof(float), &n_bytes) || n_bytes > SIZE_MAX / 2) {
        return NULL;
    }
    return mb_memory_alloc((n_bytes / LINE_BYTES + 1) * LINE_BYTES);
}

static float *allocate_zeros(int64_t n_floats) {
    float *rows = allocate_rows(n_floats, 1);
    if (rows) {
        memset(rows, 0, (size_t)n_floats * sizeof *rows);
    }
    return rows;
}

/* Rows of whole cache lines are the faster ones, above all where threads meet: a store across two lines needs both at once.
 * Threads meet at the most frequent words, so that these have such rows, and all where it costs little. */
static void lay_out(mb_word_model *model) {
    enum { FREQUENT = 2048, FREE_PART = 20 };
    model->line_stride = (model->width + LINE_FLOATS - 1) / LINE_FLOATS * LINE_FLOATS;
    model->stride = model->line_stride - model->width <= model->width / FREE_PART
                        ? model->line_stride
                        : (model->width + MB_ROW_FLOATS - 1) / MB_ROW_FLOATS * MB_ROW_FLOATS;
    const bool has_tree = model->n_out_rows != model->n_words; /* its last rows are the busiest */
    model->n_in_lines = model->n_words < FREQUENT ? model->n_words : FREQUENT;
    model->n_out_lines = has_tree || model->n_out_rows < FREQUENT ? model->n_out_rows : FREQUENT;
}

static int64_t count_floats(const mb_word_model *model, int64_t n_rows, int64_t n_lines) {
    return n_lines * model->line_stride + (n_rows - n_lines) * model->stride;
}

mb_status mb_word_model_init(mb_word_model *model, uint64_t seed, mb_error *error) {
    lay_out(model);
    model->in = allocate_zeros(count_floats(model, model->n_in_rows, model->n_in_lines));
    model->out = allocate_zeros(count_floats(model, model->n_out_rows, model->n_out_lines));
    if (!model->in || !model->out) {
        mb_word_model_free(model);
        return mb_fail(error, MB_ERROR_MEMORY,
                       "out of memory for %lld + %lld vectors of %lld numbers; lower --size or --max-vocab",
                       (long long)model->n_in_rows, (long long)model->n_out_rows, (long long)model->width);
    }
    const float scale = 1.0f / (float)model->width;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < model->n_in_rows; row++) {
        float *at = mb_word_model_in(model, row);
        for (int64_t j = 0; j < model->width; j += 4) {
            const mb_rng_block block =
                mb_rng_at(seed, MB_STREAM_SKIPGRAM_INIT, (uint32_t)row, (uint32_t)(row >> 32), (uint32_t)j);
            for (int64_t k = 0; k < 4 && j + k < model->width; k++) {
                at[j + k] = (mb_rng_uniform(block.v[k]) - 0.5f) * scale;
            }
        }
    }
    return MB_OK;
}

void mb_word_model_free(mb_word_model *model) {
    free(model->in);
    free(model->out);
    model->in = model->out = NULL;
}

static void squeeze(const mb_word_model *model, float *matrix, int64_t n_rows, int64_t n_lines) {
    for (int64_t row = 0; row < n_rows; row++) { /* to the front: no row is overwritten before it has moved */
        memmove(matrix + row * model->stride, mb_word_model_row(model, matrix, n_lines, row),
                (size_t)model->width * sizeof *matrix);
    }
}

void mb_word_model_squeeze(mb_word_model *model) {
    squeeze(model, model->in, model->n_in_rows, model->n_in_lines);
    squeeze(model, model->out, model->n_out_rows, model->n_out_lines);
    model->n_in_lines = model->n_out_lines = 0;
}

/* The rows of a word's n-grams. */
static const uint32_t *parts_of(const mb_word_model *model, uint32_t word, int64_t *n) {
    *n = 0;
    if (!model->subwords) {
        return NULL;
    }
    *n = (int64_t)(model->subwords->starts[word + 1] - model->subwords->starts[word]);
    return model->subwords->buckets + model->subwords->starts[word];
}

static void add_row(float *restrict to, const float *restrict from, float scale, int64_t width) {
    for (int64_t j = 0; j < width; j++) {
        to[j] += scale * from[j];
    }
}

/* to += scale * the word's vector */
static void add_word(const mb_word_model *model, uint32_t word, float scale, float *to) {
    int64_t n_parts;
    const uint32_t *parts = parts_of(model, word, &n_parts);
    const float share = scale / (float)(1 + n_parts);
    add_row(to, mb_word_model_in(model, word), share, model->width);
    for (int64_t k = 0; k < n_parts; k++) {
        add_row(to, mb_word_model_in(model, model->n_words + parts[k]), share, model->width);
    }
}

mb_status mb_word_model_fold(mb_word_model *model, mb_error *error) {
    float *vector = malloc((size_t)model->width * sizeof *vector);
    if (!vector) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for a vector");
    }
    for (int64_t word = 0; word < model->n_words; word++) {
        memset(vector, 0, (size_t)model->width * sizeof *vector);
        add_word(model, (uint32_t)word, 1, vector);
        memcpy(mb_word_model_in(model, word), vector, (size_t)model->width * sizeof *vector);
    }
    free(vector);
    return MB_OK;
}

mb_status mb_word_step_init(mb_word_step *step, const mb_word_model *model, int64_t n_rows, mb_error *error) {
    *step = (mb_word_step){.loss = {.product = 1}, .n_rows = n_rows};
    step->rows = allocate_rows(n_rows, model->line_stride);
    return step->rows ? MB_OK : mb_fail(error, MB_ERROR_MEMORY, "out of memory for training");
}

void mb_word_step_free(mb_word_step *step) {
    free(step->rows);
    free(step->later);
    *step = (mb_word_step){0};
}

static float *zero_row(mb_word_step *step, const mb_word_model *model) {
    float *row = step->rows + step->n_rows_used * model->line_stride;
    step->n_rows_used++;
    memset(row, 0, (size_t)model->line_stride * sizeof *row);
    return row;
}

static void set_outputs(mb_word_step *step, const mb_word_model *model, const mb_example *example) {
    mb_pairs *pairs = &step->pairs;
    pairs->n_out = example->n_out;
    for (int o = 0; o < example->n_out; o++) {
        float *row = mb_word_model_out(model, example->out[o]);
        pairs->out[o] = pairs->out_sum[o] = row;
        pairs->label[o] = example->label[o];
    }
}

/* Each word's row is an input itself. */
static void set_direct_inputs(mb_word_step *step, const mb_word_model *model, const mb_example *example) {
    mb_pairs *pairs = &step->pairs;
    pairs->n_in = example->n_in;
    for (int i = 0; i < example->n_in; i++) {
        float *row = mb_word_model_in(model, example->in[i]);
        pairs->in[i] = pairs->in_sum[i] = row;
    }
}

/* Inputs that are means of rows: of a window's words (CBOW), of a word's parts. */
static void set_hidden_inputs(mb_word_step *step, const mb_word_model *model, const mb_example *example) {
    mb_pairs *pairs = &step->pairs;
    pairs->n_in = model->cbow ? 1 : example->n_in;
    for (int i = 0; i < pairs->n_in; i++) {
        float *hidden = zero_row(step, model);
        pairs->in[i] = hidden;
        pairs->in_sum[i] = zero_row(step, model);
        for (int k = 0; model->cbow && k < example->n_in; k++) {
            add_word(model, example->in[k], 1.0f / (float)example->n_in, hidden);
        }
        if (!model->cbow) {
            add_word(model, example->in[i], 1, hidden);
        }
    }
}

/* Part of the change of an input that a word's parts get. CBOW's mean over n words gives each 1/n of the gradient: word2vec.c
 * gives each the whole, which is no gradient of its loss (Irsoy et al. 2021, arXiv 2012.15332). The mean over a word's n-grams
 * is taken as fastText does: each part gets the whole, so that the word moves as far as without n-grams. */
static float input_share(const mb_word_model *model, const mb_example *example) {
    return model->cbow ? 1.0f / (float)example->n_in : 1.0f;
}

static void spread_hidden(mb_word_step *step, const mb_word_model *model, const mb_example *example) {
    const float share = input_share(model, example);
    for (int k = 0; k < example->n_in; k++) {
        const float *change = step->pairs.in_sum[model->cbow ? 0 : k];
        int64_t n_parts;
        const uint32_t *parts = parts_of(model, example->in[k], &n_parts);
        add_row(mb_word_model_in(model, example->in[k]), change, share, model->width);
        for (int64_t j = 0; j < n_parts; j++) {
            add_row(mb_word_model_in(model, model->n_words + parts[j]), change, share, model->width);
        }
    }
}

void mb_word_step_train(mb_word_step *step, const mb_word_model *model, const mb_example *example, float alpha) {
    const bool is_direct = !model->cbow && !model->subwords;
    mb_word_step_clear(step);
    set_outputs(step, model, example);
    if (is_direct) {
        set_direct_inputs(step, model, example);
    } else {
        set_hidden_inputs(step, model, example);
    }
    mb_pairs_train(&step->pairs, model->stride, alpha, &step->loss);
    step->n_pairs += step->pairs.n_in;
    if (!is_direct) {
        spread_hidden(step, model, example);
    }
}

static bool add_later(mb_word_step *step, float *row, const float *change, float scale) {
    if (step->n_later == step->later_capacity) {
        const int64_t capacity = step->later_capacity ? 2 * step->later_capacity : 64;
        mb_row_change *later = realloc(step->later, (size_t)capacity * sizeof *later);
        if (!later) {
            return false;
        }
        step->later = later;
        step->later_capacity = capacity;
    }
    step->later[step->n_later++] = (mb_row_change){row, change, scale};
    return true;
}

bool mb_word_step_compute(mb_word_step *step, const mb_word_model *model, const mb_example *example, float alpha) {
    mb_pairs *pairs = &step->pairs;
    bool fine = true;
    set_outputs(step, model, example);
    for (int o = 0; fine && o < pairs->n_out; o++) {
        float *row = pairs->out_sum[o];
        pairs->out_sum[o] = zero_row(step, model);
        fine = add_later(step, row, pairs->out_sum[o], 1);
    }
    if (!model->cbow && !model->subwords) {
        set_direct_inputs(step, model, example);
        for (int i = 0; i < pairs->n_in; i++) {
            pairs->in_sum[i] = zero_row(step, model);
        }
    } else {
        set_hidden_inputs(step, model, example);
    }
    mb_pairs_train(pairs, model->stride, alpha, &step->loss);
    step->n_pairs += pairs->n_in;
    const float share = input_share(model, example);
    for (int k = 0; fine && k < example->n_in; k++) {
        const float *change = pairs->in_sum[model->cbow ? 0 : k];
        int64_t n_parts;
        const uint32_t *parts = parts_of(model, example->in[k], &n_parts);
        fine = add_later(step, mb_word_model_in(model, example->in[k]), change, share);
        for (int64_t j = 0; fine && j < n_parts; j++) {
            fine = add_later(step, mb_word_model_in(model, model->n_words + parts[j]), change, share);
        }
    }
    return fine;
}

static void prefetch_row(const float *row, int64_t width) {
    for (int64_t j = 0; j < width; j += LINE_FLOATS) {
        __builtin_prefetch(row + j, 1);
    }
}

void mb_word_model_prefetch(const mb_word_model *model, const mb_example *example) {
    for (int o = 0; o < example->n_out; o++) {
        prefetch_row(mb_word_model_out(model, example->out[o]), model->width);
    }
    for (int i = 0; i < example->n_in; i++) {
        prefetch_row(mb_word_model_in(model, example->in[i]), model->width);
    }
}
