#include "tasks/init_embeddings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "skipgram/random_streams.h"
#include "skipgram/word_lookup.h"
#include "tensor/gemm.h"

/* A (n, d) matrix, n <= d, of orthonormal rows: normal numbers, and Gram-Schmidt twice, which is exact to rounding (Giraud et
 * al. 2005). */
static void fill_orthonormal(double *rows, int64_t n, int64_t d, uint64_t seed) {
    for (int64_t i = 0; i < n; i++) {
        double *row = rows + i * d;
        for (int64_t j = 0; j < d; j += 2) {
            const mb_rng_block block = mb_rng_at(seed, MB_STREAM_SKIPGRAM_PROJECTION, (uint32_t)i, (uint32_t)j, 0);
            float two[2];
            mb_rng_normal2(block.v[0], block.v[1], two);
            row[j] = (double)two[0];
            if (j + 1 < d) {
                row[j + 1] = (double)two[1];
            }
        }
        for (int64_t k = 0; k < 2 * i; k++) {
            const double *other = rows + k % i * d;
            double dot = 0;
            for (int64_t j = 0; j < d; j++) {
                dot += row[j] * other[j];
            }
            for (int64_t j = 0; j < d; j++) {
                row[j] -= dot * other[j];
            }
        }
        double square = 0;
        for (int64_t j = 0; j < d; j++) {
            square += row[j] * row[j];
        }
        for (int64_t j = 0; j < d; j++) {
            row[j] /= sqrt(square);
        }
    }
}

/* The (from, to) matrix of the projection; NULL without memory. */
static float *new_projection(int64_t from, int64_t to, uint64_t seed) {
    const int64_t n = from < to ? from : to, d = from < to ? to : from;
    double *rows = malloc((size_t)n * (size_t)d * sizeof *rows);
    float *matrix = malloc((size_t)n * (size_t)d * sizeof *matrix);
    if (rows && matrix) {
        fill_orthonormal(rows, n, d, seed);
        for (int64_t i = 0; i < n; i++) {
            for (int64_t j = 0; j < d; j++) {
                matrix[from < to ? i * d + j : j * n + i] = (float)rows[i * d + j];
            }
        }
    } else {
        free(matrix);
        matrix = NULL;
    }
    free(rows);
    return matrix;
}

/* The row of each piece's vector, -1: none; returns how many have one. */
static int64_t find_pieces(const mb_word_lookup *lookup, const mb_tokenizer *tokenizer, int64_t n_pieces, int64_t *rows) {
    int64_t n_found = 0;
    for (int64_t id = 0; id < n_pieces; id++) {
        const char *piece = mb_tokenizer_piece(tokenizer, (int32_t)id);
        bool is_special = false;
        for (int special = MB_SPECIAL_PAD; special <= MB_SPECIAL_MASK; special++) {
            is_special = is_special || mb_tokenizer_special(tokenizer, (mb_special)special) == id;
        }
        rows[id] = is_special ? -1 : mb_word_lookup_find(lookup, (const unsigned char *)piece, strlen(piece));
        n_found += rows[id] >= 0;
    }
    return n_found;
}

/* Subtracts the mean of the found vectors from each of them and returns the deviation of what is left. */
static double center(float *vectors, int64_t width, const int64_t *rows, int64_t n_pieces, int64_t n_found, double *mean) {
    memset(mean, 0, (size_t)width * sizeof *mean);
    for (int64_t id = 0; id < n_pieces; id++) {
        for (int64_t j = 0; rows[id] >= 0 && j < width; j++) {
            mean[j] += (double)vectors[id * width + j] / (double)n_found;
        }
    }
    double square = 0;
    for (int64_t id = 0; id < n_pieces; id++) {
        for (int64_t j = 0; rows[id] >= 0 && j < width; j++) {
            float *x = &vectors[id * width + j];
            *x -= (float)mean[j];
            square += (double)*x * (double)*x;
        }
    }
    return sqrt(square / ((double)n_found * (double)width));
}

/* The token embeddings are the first view of every model. */
static mb_status place(mb_model *model, const int64_t *rows, int64_t n_found, const mb_word_vectors *vectors, uint64_t seed,
                       mb_error *error) {
    const mb_model_config *config = mb_model_get_config(model);
    const int64_t n_pieces = config->vocab_size, h = config->hidden_size, width = vectors->width;
    float *from = calloc((size_t)n_pieces * (size_t)width, sizeof *from);
    float *to = calloc((size_t)n_pieces * (size_t)h, sizeof *to);
    float *projection = width == h ? NULL : new_projection(width, h, seed);
    double *mean = malloc((size_t)h * sizeof *mean);
    mb_status status = MB_OK;
    if (!from || !to || !mean || (width != h && !projection)) {
        status = mb_fail(error, MB_ERROR_MEMORY, "out of memory for the embeddings of %lld pieces", (long long)n_pieces);
    } else {
        for (int64_t id = 0; id < n_pieces; id++) {
            if (rows[id] >= 0) {
                memcpy(from + id * width, vectors->data + rows[id] * width, (size_t)width * sizeof *from);
            }
        }
        if (projection) {
            mb_gemm_parallel(false, false, n_pieces, h, width, 1, from, width, projection, h, 0, to, h);
        } else {
            memcpy(to, from, (size_t)n_pieces * (size_t)h * sizeof *to);
        }
        const double deviation = center(to, h, rows, n_pieces, n_found, mean);
        const double scale = deviation > 0 ? config->initializer_range / deviation : 0;
        mb_params *params = mb_model_params(model);
        mb_real *embeddings = params->weights + params->views[0].offset;
        for (int64_t i = 0; i < n_pieces * h; i++) {
            embeddings[i] = rows[i / h] >= 0 ? (mb_real)(scale * (double)to[i]) : embeddings[i];
        }
    }
    free(from);
    free(to);
    free(projection);
    free(mean);
    return status;
}

mb_status mb_init_embeddings(mb_model *model, const mb_tokenizer *tokenizer, const char *path, uint64_t seed, const mb_job *job,
                             mb_error *error) {
    const int64_t n_pieces = mb_model_get_config(model)->vocab_size, n_tokens = (int64_t)mb_tokenizer_vocab_size(tokenizer);
    mb_word_vectors vectors;
    mb_word_lookup lookup = {0};
    mb_status status = mb_word_vectors_load(path, &vectors, error);
    if (status != MB_OK) {
        return status;
    }
    const int64_t width = vectors.width;
    int64_t *rows = malloc((size_t)n_pieces * sizeof *rows), n_found = 0;
    status =
        rows ? mb_word_lookup_init(&lookup, &vectors, error) : mb_fail(error, MB_ERROR_MEMORY, "out of memory for '%s'", path);
    if (status == MB_OK) {
        memset(rows, -1, (size_t)n_pieces * sizeof *rows);
        n_found = find_pieces(&lookup, tokenizer, n_tokens < n_pieces ? n_tokens : n_pieces, rows);
        status = n_found > 0 ? place(model, rows, n_found, &vectors, seed, error)
                             : mb_fail(error, MB_ERROR_MISMATCH, "no word of '%s' is a piece of the tokenizer", path);
    }
    if (status == MB_OK) {
        mb_job_message(job, MB_LEVEL_INFO, "%lld of %lld pieces begin as their vectors in '%s', %lld numbers to %d",
                       (long long)n_found, (long long)n_tokens, path, (long long)width,
                       (int)mb_model_get_config(model)->hidden_size);
    }
    free(rows);
    mb_word_lookup_free(&lookup);
    mb_word_vectors_free(&vectors);
    return status;
}
