/* From the hidden states of windows to rows: pooling, averages over windows, words, lengths. */
#include <math.h>
#include <string.h>

#include "tasks/embedder_state.h"

bool mb_embedder_is_per_token(const mb_embedder *e) {
    return e->options.pooling == MB_POOLING_TOKENS || e->options.pooling == MB_POOLING_WORDS;
}

static void add_scaled(float *row, const float *values, int64_t width, float scale) {
    for (int64_t j = 0; j < width; j++) {
        row[j] += scale * values[j];
    }
}

static void take_max(float *row, const float *values, int64_t width) {
    for (int64_t j = 0; j < width; j++) {
        row[j] = fmaxf(row[j], values[j]);
    }
}

void mb_embedder_add_to_rows(mb_embedder *e, const mb_window *window, const float *hidden, float *vectors) {
    const int64_t width = mb_embedder_width(e), n_positions = (int64_t)window->n + 2;
    const int64_t first_row = e->first_row[window->line] + (mb_embedder_is_per_token(e) ? (int64_t)window->first : 0);
    float *row = vectors + first_row * width;
    switch ((mb_pooling)e->options.pooling) {
    case MB_POOLING_MEAN:
        for (int64_t p = 0; p < n_positions; p++) {
            add_scaled(row, hidden + p * width, width, 1.0f / (float)n_positions);
        }
        break;
    case MB_POOLING_CLS:
        add_scaled(row, hidden, width, 1);
        break;
    case MB_POOLING_MAX:
        for (int64_t p = 0; p < n_positions; p++) {
            if (p == 0 && e->n_windows[first_row] == 0) {
                memcpy(row, hidden, (size_t)width * sizeof *row);
            } else {
                take_max(row, hidden + p * width, width);
            }
        }
        break;
    case MB_POOLING_TOKENS:
    case MB_POOLING_WORDS:
        for (int64_t p = 0; p < (int64_t)window->n; p++) {
            add_scaled(row + p * width, hidden + (p + 1) * width, width, 1); /* past [CLS] */
            e->n_windows[first_row + p]++;
        }
        return;
    }
    e->n_windows[first_row]++;
}

void mb_embedder_average_windows(const mb_embedder *e, mb_embedding_rows *rows) {
    for (int64_t r = 0; r < rows->n; r++) {
        for (int64_t j = 0; e->n_windows[r] > 1 && j < rows->width; j++) {
            rows->vectors[r * rows->width + j] /= (float)e->n_windows[r];
        }
    }
}

void mb_embedding_rows_normalize(mb_embedding_rows *rows) {
    for (int64_t r = 0; r < rows->n; r++) {
        float *row = rows->vectors + r * rows->width;
        double square = 0;
        for (int64_t j = 0; j < rows->width; j++) {
            square += (double)row[j] * (double)row[j];
        }
        const float scale = square > 0 ? (float)(1 / sqrt(square)) : 0;
        for (int64_t j = 0; j < rows->width; j++) {
            row[j] *= scale;
        }
    }
}

/* Whether token t of a line begins a word. Special tokens written in the text are words of their own. */
static bool begins_word(const mb_encoding *encoding, size_t t) {
    return t == 0 || encoding->words[t] == UINT32_MAX || encoding->words[t] != encoding->words[t - 1];
}

void mb_embedder_finish_spans(const mb_embedder *e, size_t n_lines, mb_embedding_rows *rows) {
    const bool words = e->options.pooling == MB_POOLING_WORDS;
    int64_t to = 0;
    for (size_t i = 0; i < n_lines; i++) {
        const mb_encoding *encoding = &e->encodings[i];
        for (size_t t = 0, next; t < encoding->n_tokens; t = next) {
            next = t + 1;
            while (words && next < encoding->n_tokens && !begins_word(encoding, next)) {
                next++;
            }
            float *row = rows->vectors + to * rows->width;
            const float *from = rows->vectors + (e->first_row[i] + (int64_t)t) * rows->width; /* never before `row` */
            memmove(row, from, (size_t)rows->width * sizeof *row);
            for (size_t k = 1; k < next - t; k++) {
                add_scaled(row, from + (int64_t)k * rows->width, rows->width, 1);
            }
            for (int64_t j = 0; next - t > 1 && j < rows->width; j++) {
                row[j] /= (float)(next - t);
            }
            rows->spans[to++] = (mb_embedding_span){
                .line = i,
                .byte_start = encoding->starts[t],
                .byte_end = encoding->ends[next - 1],
                .piece = words ? NULL : mb_tokenizer_piece(e->model.tokenizer, encoding->ids[t]),
            };
        }
    }
    rows->n = to;
}
