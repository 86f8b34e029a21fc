#include "tasks/neighbors.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/embedder.h"
#include "tasks/top_k.h"
#include "tasks/vector_reader.h"
#include "tasks/vector_writer.h"
#include "tensor/gemm.h"

#define FIELD(name) offsetof(mb_neighbors_options, name)
const mb_option mb_neighbors_option_table[] = {
    {.name = "model",
     .type = MB_OPTION_TEXT,
     .offset = FIELD(model),
     .argument = "DIR",
     .help = "the model directory that turns texts into vectors"},
    {.name = "corpus",
     .type = MB_OPTION_TEXT,
     .offset = FIELD(corpus),
     .argument = "FILE",
     .help = "the texts to search, one a line"},
    {.name = "vectors",
     .type = MB_OPTION_TEXT,
     .offset = FIELD(vectors),
     .argument = "FILE",
     .help = "vectors made before: word2vec text, or npy whose rows are the lines of --corpus"},
    {.name = "top-k",
     .type = MB_OPTION_INT,
     .offset = FIELD(top_k),
     .default_text = "10",
     .argument = "K",
     .help = "neighbours of each text",
     .min = 1,
     .max = 1e6},
    {.name = "center",
     .type = MB_OPTION_BOOL,
     .offset = FIELD(center),
     .default_text = "true",
     .help = "do not subtract the mean of all vectors, which BERT's share and which says nothing about a text"},
    {.name = "max-length",
     .type = MB_OPTION_INT,
     .offset = FIELD(max_length),
     .default_text = "256",
     .argument = "N",
     .help = "tokens of a text, [CLS] and [SEP] among them; the rest is cut off",
     .min = 3,
     .max = 1 << 20},
    {.name = "save-vectors",
     .type = MB_OPTION_TEXT,
     .offset = FIELD(save_vectors),
     .argument = "FILE",
     .help = "keep the vectors of --corpus as npy, for --vectors"},
    {.name = "text",
     .type = MB_OPTION_TEXT_LIST,
     .offset = FIELD(queries),
     .argument = "TEXT",
     .help = "what to find neighbours of; without --model, one of the texts themselves",
     .required = true,
     .positional = true},
    {0},
};

enum { BLOCK_LINES = 1024, SCORE_ROWS = 4096 };

typedef struct search {
    const mb_neighbors_options *options;
    const mb_job *job;
    mb_embedder *embedder; /* NULL without a model */
    mb_texts texts;        /* n */
    mb_vectors vectors;    /* (n, width); of length 1 (or 0) once prepared */
    mb_vectors queries;    /* (number of queries, width) */
} search;

static void search_free(search *s) {
    mb_embedder_free(s->embedder);
    mb_texts_free(&s->texts);
    mb_vectors_free(&s->vectors);
    mb_vectors_free(&s->queries);
}

static mb_status check_options(const mb_neighbors_options *options, mb_error *error) {
    if (!options->vectors && !(options->model && options->corpus)) {
        return mb_fail(error, MB_ERROR_USAGE, "give --model DIR and --corpus FILE, or --vectors FILE");
    }
    if (options->vectors && options->save_vectors) {
        return mb_fail(error, MB_ERROR_USAGE, "--save-vectors keeps vectors made from --corpus; these come from --vectors");
    }
    return MB_OK;
}

static mb_status open_embedder(search *s, mb_error *error) {
    mb_embedder_options options = {.pooling = MB_POOLING_MEAN, .max_length = s->options->max_length};
    options.layers.items[0] = -1;
    options.layers.n = 1;
    return mb_embedder_new(s->options->model, &options, s->job, &s->embedder, error);
}

static bool is_blank(const char *text, size_t n_bytes) {
    for (size_t i = 0; i < n_bytes; i++) {
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r') {
            return false;
        }
    }
    return true;
}

static mb_status allocate_vectors(mb_vectors *vectors, int64_t n, int64_t width, mb_error *error) {
    size_t count;
    *vectors = (mb_vectors){.n = n, .width = width};
    if (__builtin_mul_overflow((size_t)n, (size_t)width, &count) || !(vectors->data = calloc(count + 1, sizeof(float)))) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the vectors of %lld texts", (long long)n);
    }
    return MB_OK;
}

static void report(const search *s, int64_t done, double began_at) {
    const double seconds = mb_clock_seconds() - began_at;
    const mb_progress progress = {.phase = "embed",
                                  .unit = "lines",
                                  .done = done,
                                  .total = s->texts.n,
                                  .loss = NAN,
                                  .learning_rate = NAN,
                                  .tokens_per_second =
                                      seconds > 0 ? (double)mb_embedder_n_tokens(s->embedder) / seconds : (double)NAN,
                                  .elapsed_seconds = seconds,
                                  .eta_seconds = seconds / (double)done * (double)(s->texts.n - done)};
    mb_job_progress(s->job, &progress);
}

static mb_status embed_corpus(search *s, mb_error *error) {
    mb_text_line lines[BLOCK_LINES];
    mb_embedding_rows rows = {0};
    const double began_at = mb_clock_seconds();
    mb_status status = allocate_vectors(&s->vectors, s->texts.n, mb_embedder_width(s->embedder), error);
    for (int64_t begin = 0; status == MB_OK && begin < s->texts.n;) {
        const int64_t n = s->texts.n - begin < BLOCK_LINES ? s->texts.n - begin : BLOCK_LINES;
        for (int64_t i = 0; i < n; i++) {
            lines[i].text = mb_texts_get(&s->texts, begin + i, &lines[i].n_bytes);
        }
        status = mb_embedder_run(s->embedder, lines, (size_t)n, &rows, error);
        if (status == MB_OK) {
            memcpy(s->vectors.data + begin * rows.width, rows.vectors, (size_t)(n * rows.width) * sizeof(float));
            begin += n;
            report(s, begin, began_at);
        }
    }
    mb_embedding_rows_free(&rows);
    return status;
}

static mb_status save_vectors(const search *s, mb_error *error) {
    mb_vector_writer *writer;
    mb_status status = mb_vector_writer_open(s->options->save_vectors, NULL, MB_VECTOR_NPY, s->vectors.width, &writer, error);
    if (status != MB_OK) {
        return status;
    }
    for (int64_t i = 0; status == MB_OK && i < s->vectors.n; i++) {
        status = mb_vector_writer_add(writer, NULL, s->vectors.data + i * s->vectors.width, error);
    }
    if (status == MB_OK) {
        return mb_vector_writer_commit(writer, error);
    }
    mb_vector_writer_abort(writer);
    return status;
}

static mb_status load(search *s, mb_error *error) {
    const mb_neighbors_options *options = s->options;
    mb_status status = options->model ? open_embedder(s, error) : MB_OK;
    if (status == MB_OK && options->vectors) {
        status = mb_vectors_load(options->vectors, &s->vectors, &s->texts, error);
        if (status == MB_OK && s->texts.n > 0 && options->corpus) {
            return mb_fail(error, MB_ERROR_USAGE, "'%s' has its texts in it; --corpus is for npy", options->vectors);
        }
        if (status == MB_OK && s->texts.n == 0 && !options->corpus) {
            return mb_fail(error, MB_ERROR_USAGE, "'%s' holds no texts: give the file whose lines they are as --corpus",
                           options->vectors);
        }
    }
    if (status == MB_OK && options->corpus) {
        status = mb_texts_load(options->corpus, s->job, &s->texts, error);
    }
    if (status == MB_OK && s->texts.n == 0) {
        return mb_fail(error, MB_ERROR_FORMAT, "'%s' has no texts", options->corpus ? options->corpus : options->vectors);
    }
    if (status != MB_OK) {
        return status;
    }
    if (!options->vectors) {
        status = embed_corpus(s, error);
        return status == MB_OK && options->save_vectors ? save_vectors(s, error) : status;
    }
    if (s->vectors.n != s->texts.n) {
        return mb_fail(error, MB_ERROR_MISMATCH, "'%s' has %lld vectors but '%s' has %lld lines", options->vectors,
                       (long long)s->vectors.n, options->corpus, (long long)s->texts.n);
    }
    if (s->embedder && s->vectors.width != mb_embedder_width(s->embedder)) {
        return mb_fail(error, MB_ERROR_MISMATCH, "'%s' has vectors of %lld numbers, the model '%s' makes %lld",
                       options->vectors, (long long)s->vectors.width, options->model,
                       (long long)mb_embedder_width(s->embedder));
    }
    return MB_OK;
}

/* The row of a text; -1 when it is not there. */
static int64_t find_text(const search *s, const char *text) {
    const size_t n_bytes = strlen(text);
    for (int64_t i = 0; i < s->texts.n; i++) {
        size_t length;
        const char *candidate = mb_texts_get(&s->texts, i, &length);
        if (length == n_bytes && memcmp(candidate, text, n_bytes) == 0) {
            return i;
        }
    }
    return -1;
}

static mb_status make_queries(search *s, mb_error *error) {
    const mb_text_list *queries = &s->options->queries;
    mb_status status = allocate_vectors(&s->queries, (int64_t)queries->n, s->vectors.width, error);
    mb_embedding_rows rows = {0};
    for (size_t q = 0; status == MB_OK && q < queries->n; q++) {
        const float *from = NULL;
        if (s->embedder) { /* one at a time: a query's vector does not depend on its company */
            const mb_text_line line = {.text = queries->items[q], .n_bytes = strlen(queries->items[q])};
            status = mb_embedder_run(s->embedder, &line, 1, &rows, error);
            from = rows.vectors;
        } else {
            const int64_t row = find_text(s, queries->items[q]);
            if (row < 0) {
                status = mb_fail(error, MB_ERROR_USAGE, "'%.200s' is not among the texts; --model DIR would embed it",
                                 queries->items[q]);
            } else {
                from = s->vectors.data + row * s->vectors.width;
            }
        }
        if (status == MB_OK) {
            memcpy(s->queries.data + (int64_t)q * s->queries.width, from, (size_t)s->queries.width * sizeof *from);
        }
    }
    mb_embedding_rows_free(&rows);
    return status;
}

static void normalize(mb_vectors *vectors) {
    const int64_t n = vectors->n, width = vectors->width;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        float *row = vectors->data + i * width;
        double square = 0;
        for (int64_t j = 0; j < width; j++) {
            square += (double)row[j] * (double)row[j];
        }
        const float scale = square > 0 ? (float)(1 / sqrt(square)) : 0;
        for (int64_t j = 0; j < width; j++) {
            row[j] *= scale;
        }
    }
}

static void subtract(mb_vectors *vectors, const double *mean) {
    for (int64_t i = 0; i < vectors->n; i++) {
        for (int64_t j = 0; j < vectors->width; j++) {
            vectors->data[i * vectors->width + j] -= (float)mean[j];
        }
    }
}

/* Lengths to 1, and the mean away. One text alone has no mean to tell it from: it would vanish. */
static mb_status prepare(search *s, mb_error *error) {
    normalize(&s->vectors);
    normalize(&s->queries);
    double *mean = calloc((size_t)s->vectors.width + 1, sizeof *mean);
    if (!mean) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the mean vector");
    }
    int64_t n = 0;
    for (int64_t i = 0; i < s->vectors.n; i++) {
        size_t n_bytes;
        const char *text = mb_texts_get(&s->texts, i, &n_bytes);
        if (is_blank(text, n_bytes)) {
            continue;
        }
        n++;
        for (int64_t j = 0; j < s->vectors.width; j++) {
            mean[j] += (double)s->vectors.data[i * s->vectors.width + j];
        }
    }
    if (s->options->center && n > 1) {
        for (int64_t j = 0; j < s->vectors.width; j++) {
            mean[j] /= (double)n;
        }
        subtract(&s->vectors, mean);
        subtract(&s->queries, mean);
        normalize(&s->vectors);
        normalize(&s->queries);
    }
    free(mean);
    return MB_OK;
}

/* Offers rows [begin, begin + n) with their scores against query q. */
static void offer_rows(const search *s, size_t q, int64_t begin, int64_t n, const float *scores, mb_top_k *top) {
    const char *query = s->options->queries.items[q];
    const size_t query_bytes = strlen(query);
    for (int64_t i = 0; i < n; i++) {
        size_t n_bytes;
        const char *text = mb_texts_get(&s->texts, begin + i, &n_bytes);
        const bool is_query = !s->embedder && n_bytes == query_bytes && memcmp(text, query, n_bytes) == 0;
        if (!is_query && !is_blank(text, n_bytes)) {
            mb_top_k_offer(top, (double)scores[i], begin + i);
        }
    }
}

static mb_status find_nearest(const search *s, mb_top_k *tops, mb_error *error) {
    const int64_t n_queries = s->queries.n, width = s->vectors.width;
    float *scores = calloc((size_t)n_queries * SCORE_ROWS, sizeof *scores);
    if (!scores) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the scores");
    }
    for (int64_t begin = 0; begin < s->vectors.n; begin += SCORE_ROWS) {
        const int64_t n = s->vectors.n - begin < SCORE_ROWS ? s->vectors.n - begin : SCORE_ROWS;
        mb_gemm_parallel(false, true, n_queries, n, width, 1, s->queries.data, width, s->vectors.data + begin * width, width, 0,
                         scores, n);
        for (int64_t q = 0; q < n_queries; q++) {
            offer_rows(s, (size_t)q, begin, n, scores + q * n, &tops[q]);
        }
    }
    free(scores);
    return MB_OK;
}

static mb_status write_nearest(const search *s, mb_top_k *tops, FILE *rows, mb_error *error) {
    bool fine = true;
    for (int64_t q = 0; q < s->queries.n; q++) {
        mb_top_k_sort(&tops[q]);
        fine = fine && (q == 0 || fputc('\n', rows) != EOF);
        for (int64_t k = 0; fine && k < tops[q].n; k++) {
            size_t n_bytes;
            const char *text = mb_texts_get(&s->texts, tops[q].items[k].index, &n_bytes);
            fine = fprintf(rows, "%.4f\t", tops[q].items[k].score) > 0 && fwrite(text, 1, n_bytes, rows) == n_bytes &&
                   fputc('\n', rows) != EOF;
        }
    }
    return fine ? MB_OK : mb_fail(error, MB_ERROR_IO, "cannot write the results: %s", strerror(errno));
}

static mb_status answer(const search *s, FILE *rows, mb_error *error) {
    const size_t n_queries = s->options->queries.n;
    mb_top_k *tops = calloc(n_queries, sizeof *tops);
    mb_status status = tops ? MB_OK : mb_fail(error, MB_ERROR_MEMORY, "out of memory for the results");
    const int64_t k = s->options->top_k < s->texts.n ? s->options->top_k : s->texts.n;
    for (size_t q = 0; status == MB_OK && q < n_queries; q++) {
        status = mb_top_k_init(&tops[q], k, error);
    }
    if (status == MB_OK) {
        status = find_nearest(s, tops, error);
    }
    if (status == MB_OK) {
        status = write_nearest(s, tops, rows, error);
    }
    for (size_t q = 0; tops && q < n_queries; q++) {
        mb_top_k_free(&tops[q]);
    }
    free(tops);
    return status;
}

mb_status mb_neighbors(const mb_neighbors_options *options, const mb_job *job, FILE *rows, mb_error *error) {
    search s = {.options = options, .job = job};
    mb_status status = check_options(options, error);
    if (status == MB_OK) {
        status = load(&s, error);
    }
    if (status == MB_OK) {
        status = make_queries(&s, error);
    }
    if (status == MB_OK) {
        status = prepare(&s, error);
    }
    if (status == MB_OK) {
        status = answer(&s, rows, error);
    }
    search_free(&s);
    return status;
}
