/* A block of lines is tokenized in parallel, cut into windows (one a line, but for --stride), the windows are sorted by length
 * and packed, without padding, into batches of about BATCH_TOKENS, and each window's hidden states are added into its line's
 * rows. */
#include "tasks/embedder.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/ops.h"
#include "base/threads.h"
#include "tasks/embedder_state.h"

const char *const mb_pooling_names[] = {"mean", "cls", "max", "tokens", "words", NULL};

enum { BATCH_TOKENS = 1024 }; /* of 256 to 4,096 about the best: the weights are read anew for each */

static mb_status out_of_memory(mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "out of memory for embeddings");
}

/* Grows an array of `size_bytes` elements to at least n; contents are kept. */
static bool grow(void *array, size_t *capacity, size_t n, size_t size_bytes) {
    if (n <= *capacity) {
        return true;
    }
    size_t wanted = *capacity ? *capacity * 2 : 64;
    wanted = wanted < n ? n : wanted;
    size_t n_bytes;
    void *old;
    memcpy(&old, array, sizeof old);
    void *larger = __builtin_mul_overflow(wanted, size_bytes, &n_bytes) ? NULL : realloc(old, n_bytes);
    if (!larger) {
        return false;
    }
    memcpy(array, &larger, sizeof larger);
    *capacity = wanted;
    return true;
}

void mb_embedding_rows_free(mb_embedding_rows *rows) {
    free(rows->vectors);
    free(rows->spans);
    *rows = (mb_embedding_rows){0};
}

static mb_status check_options(mb_embedder *e, mb_error *error) {
    const mb_model_config *config = mb_model_get_config(e->model.model);
    mb_embedder_options *options = &e->options;
    for (size_t i = 0; i < options->layers.n; i++) {
        int64_t layer = options->layers.items[i];
        layer += layer < 0 ? config->n_layers + 1 : 0;
        if (layer < 0 || layer > config->n_layers) {
            return mb_fail(error, MB_ERROR_USAGE,
                           "--layers %lld: the model has layers 0 (embeddings) to %d, or -1 (last) to %d",
                           (long long)options->layers.items[i], config->n_layers, -config->n_layers - 1);
        }
        e->n_layers_wanted += e->layer_wanted[layer] ? 0 : 1;
        e->layer_wanted[layer] = true;
    }
    if (e->n_layers_wanted == 0) {
        return mb_fail(error, MB_ERROR_USAGE, "--layers names no layer");
    }
    if (options->max_length > config->max_positions) {
        mb_job_message(e->job, MB_LEVEL_INFO, "texts are read up to %d tokens: the model has no more positions",
                       config->max_positions);
        options->max_length = config->max_positions;
    }
    if (options->max_length < 3) {
        return mb_fail(error, MB_ERROR_USAGE, "--max-length must be at least 3: [CLS], a token and [SEP]");
    }
    if (options->stride < 0 || options->stride > options->max_length - 2) {
        return mb_fail(error, MB_ERROR_USAGE,
                       "--stride must be from 1 to %lld (--max-length without [CLS] and [SEP]), not %lld",
                       (long long)options->max_length - 2, (long long)options->stride);
    }
    return MB_OK;
}

mb_status mb_embedder_new(const char *dir, const mb_embedder_options *options, const mb_job *job, mb_embedder **out,
                          mb_error *error) {
    *out = NULL;
    mb_embedder *e = calloc(1, sizeof *e);
    if (!e) {
        return out_of_memory(error);
    }
    e->options = *options;
    e->job = job;
    mb_status status = mb_text_model_load(dir, MB_HEAD_NONE, job, &e->model, error);
    if (status == MB_OK && !(job && job->bf16)) { /* once, where every thread would for every batch */
        status = mb_model_set_dtype(e->model.model, MB_REAL_DTYPE, false, error);
    }
    if (status == MB_OK) {
        status = check_options(e, error);
    }
    if (status == MB_OK) {
        e->n_workers = mb_threads_count();
        e->workers = calloc((size_t)e->n_workers, sizeof *e->workers);
        status = e->workers ? MB_OK : out_of_memory(error);
        for (int i = 0; status == MB_OK && i < e->n_workers; i++) {
            e->workers[i].tape = mb_tape_new(false);
            status = e->workers[i].tape ? MB_OK : out_of_memory(error);
        }
    }
    if (status != MB_OK) {
        mb_embedder_free(e);
        return status;
    }
    *out = e;
    return MB_OK;
}

void mb_embedder_free(mb_embedder *e) {
    if (!e) {
        return;
    }
    for (size_t i = 0; i < e->n_encodings; i++) {
        mb_encoding_free(&e->encodings[i]);
    }
    for (int i = 0; e->workers && i < e->n_workers; i++) {
        mb_encoding_free(&e->workers[i].encoding);
        mb_tape_free(e->workers[i].tape);
        free(e->workers[i].ids);
        free(e->workers[i].offsets);
    }
    free(e->workers);
    free(e->encodings);
    free(e->first_row);
    free(e->n_windows);
    free(e->windows);
    free(e->batches);
    mb_text_model_free(&e->model);
    free(e);
}

int64_t mb_embedder_width(const mb_embedder *e) {
    return mb_model_get_config(e->model.model)->hidden_size;
}

int64_t mb_embedder_max_length(const mb_embedder *e) {
    return e->options.max_length;
}

int64_t mb_embedder_n_cut(const mb_embedder *e) {
    return e->n_cut;
}

int64_t mb_embedder_n_tokens(const mb_embedder *e) {
    return e->n_tokens;
}

/* --- text to windows --- */

static mb_status tokenize(mb_embedder *e, const mb_text_line *lines, size_t n_lines, mb_error *error) {
    const size_t n_before = e->n_encodings;
    if (!grow(&e->encodings, &e->n_encodings, n_lines, sizeof *e->encodings)) {
        return out_of_memory(error);
    }
    memset(e->encodings + n_before, 0, (e->n_encodings - n_before) * sizeof *e->encodings);
    mb_status status = MB_OK;
    const int64_t n = (int64_t)n_lines;
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t i = 0; i < n; i++) {
        mb_error failure;
        const mb_status s = mb_tokenizer_encode_by(e->model.tokenizer, lines[i].text, lines[i].n_bytes,
                                                   &e->workers[omp_get_thread_num()].encoding, &e->encodings[i], &failure);
        if (s != MB_OK) {
#pragma omp critical(mb_embedder_failure)
            if (status == MB_OK) {
                status = s;
                if (error) {
                    *error = failure;
                }
            }
        }
    }
    return status;
}

static bool add_window(mb_embedder *e, size_t line, size_t first, size_t n) {
    if (!grow(&e->windows, &e->capacity_windows, e->n_windows_total + 1, sizeof *e->windows)) {
        return false;
    }
    e->windows[e->n_windows_total++] = (mb_window){.line = line, .first = first, .n = n};
    return true;
}

/* Cuts each line to windows and lays out the rows that the windows are added to: one a line, or one a token. */
static mb_status plan(mb_embedder *e, size_t n_lines, mb_error *error) {
    const size_t length = (size_t)e->options.max_length - 2, stride = (size_t)e->options.stride;
    if (!grow(&e->first_row, &e->capacity_first_row, n_lines + 1, sizeof *e->first_row)) {
        return out_of_memory(error);
    }
    e->n_windows_total = 0;
    int64_t n_rows = 0;
    for (size_t i = 0; i < n_lines; i++) {
        mb_encoding *encoding = &e->encodings[i];
        if (encoding->n_tokens > length && stride == 0) {
            encoding->n_tokens = length;
            e->n_cut++;
        }
        e->first_row[i] = n_rows;
        n_rows += mb_embedder_is_per_token(e) ? (int64_t)encoding->n_tokens : 1;
        size_t first = 0;
        do {
            const size_t left = encoding->n_tokens - first, n = left < length ? left : length;
            if (!(mb_embedder_is_per_token(e) && n == 0) && !add_window(e, i, first, n)) {
                return out_of_memory(error);
            }
            if (n == left) {
                break;
            }
            first += stride;
        } while (true);
    }
    e->first_row[n_lines] = n_rows;
    return MB_OK;
}

/* By length, then in order of the text: the order is fixed whatever qsort does. */
static int compare_windows(const void *left, const void *right) {
    const mb_window *a = left, *b = right;
    if (a->n != b->n) {
        return a->n < b->n ? -1 : 1;
    }
    if (a->line != b->line) {
        return a->line < b->line ? -1 : 1;
    }
    return a->first < b->first ? -1 : a->first > b->first;
}

/* --- windows to hidden states --- */

/* The windows of a batch, side by side. */
static mb_status pack(const mb_embedder *e, mb_embedder_worker *worker, size_t begin, size_t end, mb_model_input *input,
                      mb_error *error) {
    size_t n_tokens = 0;
    for (size_t w = begin; w < end; w++) {
        n_tokens += e->windows[w].n + 2;
    }
    if (!grow(&worker->ids, &worker->capacity_ids, n_tokens, sizeof *worker->ids) ||
        !grow(&worker->offsets, &worker->capacity_offsets, end - begin + 1, sizeof *worker->offsets)) {
        return out_of_memory(error);
    }
    const mb_tokenizer *tokenizer = e->model.tokenizer;
    const int32_t cls = mb_tokenizer_special(tokenizer, MB_SPECIAL_CLS), sep = mb_tokenizer_special(tokenizer, MB_SPECIAL_SEP);
    size_t at = 0;
    int32_t longest = 0;
    for (size_t w = begin; w < end; w++) {
        const mb_window *window = &e->windows[w];
        worker->offsets[w - begin] = (int32_t)at;
        worker->ids[at++] = cls;
        if (window->n) { /* an empty line's encoding may have no array at all */
            memcpy(worker->ids + at, e->encodings[window->line].ids + window->first, window->n * sizeof *worker->ids);
        }
        at += window->n;
        worker->ids[at++] = sep;
        longest = (int32_t)window->n + 2 > longest ? (int32_t)window->n + 2 : longest;
    }
    worker->offsets[end - begin] = (int32_t)at;
    *input = (mb_model_input){.n_tokens = (int64_t)at,
                              .ids = worker->ids,
                              .sequences = {.n = (int32_t)(end - begin), .offsets = worker->offsets, .max_length = longest}};
    return MB_OK;
}

/* The mean of the wanted hidden states, (N,H), in the tape's memory; NULL when the tape failed. */
static const float *encode(const mb_embedder *e, mb_tape *tape, const mb_model_input *input) {
    const int n_layers = mb_model_get_config(e->model.model)->n_layers;
    mb_tape_begin(tape, 0, 0);
    if (e->n_layers_wanted == 1 && e->layer_wanted[n_layers]) { /* every layer's memory is dropped once it is used */
        mb_tensor *last = mb_model_encode(e->model.model, tape, input, NULL);
        last = last ? mb_to_real(tape, last) : NULL;
        return last ? mb_tensor_real(last) : NULL;
    }
    mb_tensor *all[MB_MAX_LAYERS + 1] = {0};
    if (!mb_model_encode(e->model.model, tape, input, all)) {
        return NULL;
    }
    const int64_t count = input->n_tokens * mb_embedder_width(e);
    float *mean = mb_tape_alloc(tape, (size_t)count, sizeof *mean);
    if (!mean) {
        return NULL;
    }
    memset(mean, 0, (size_t)count * sizeof *mean);
    for (int layer = 0; layer <= n_layers; layer++) {
        if (!e->layer_wanted[layer]) {
            continue;
        }
        const mb_tensor *real = mb_to_real(tape, all[layer]);
        if (!real) {
            return NULL;
        }
        const float *hidden = mb_tensor_real(real);
        for (int64_t i = 0; i < count; i++) {
            mean[i] += hidden[i];
        }
    }
    const float scale = 1.0f / (float)e->n_layers_wanted;
    for (int64_t i = 0; i < count; i++) {
        mean[i] *= scale;
    }
    return mean;
}

/* Cuts the windows, which are sorted, to batches. */
static bool plan_batches(mb_embedder *e) {
    e->n_batches = 0;
    for (size_t begin = 0, end; begin < e->n_windows_total; begin = end) {
        size_t n_tokens = 0;
        for (end = begin; end < e->n_windows_total && (end == begin || n_tokens + e->windows[end].n + 2 <= BATCH_TOKENS);
             end++) {
            n_tokens += e->windows[end].n + 2;
        }
        if (!grow(&e->batches, &e->capacity_batches, e->n_batches + 2, sizeof *e->batches)) {
            return false;
        }
        e->batches[e->n_batches++] = begin;
        e->batches[e->n_batches] = end;
        e->n_tokens += (int64_t)n_tokens;
    }
    return true;
}

/* The hidden states of a batch; NULL: `error` says why. */
static const float *run_batch(const mb_embedder *e, mb_embedder_worker *worker, size_t batch, mb_error *error,
                              mb_status *status) {
    mb_model_input input;
    *status = mb_job_should_stop(e->job) ? mb_fail(error, MB_ERROR_INTERRUPTED, "interrupted")
                                         : pack(e, worker, e->batches[batch], e->batches[batch + 1], &input, error);
    const float *hidden = *status == MB_OK ? encode(e, worker->tape, &input) : NULL;
    if (*status == MB_OK && !hidden) {
        *status = out_of_memory(error);
    }
    return hidden;
}

/* A batch belongs to one thread, in whose second-level cache much of it stays from operation to operation: with two threads in
 * every operation 2,000 sentences take a seventh longer. Only where there are fewer batches than threads do the threads share
 * one. Rows are added to in the order of the batches, whoever made them. */
static mb_status run_windows(mb_embedder *e, float *vectors, mb_error *error) {
    if (e->n_windows_total == 0) {
        return MB_OK;
    }
    qsort(e->windows, e->n_windows_total, sizeof *e->windows, compare_windows);
    if (!plan_batches(e)) {
        return out_of_memory(error);
    }
    mb_status status = MB_OK;
    const int64_t n = (int64_t)e->n_batches;
#pragma omp parallel for ordered schedule(dynamic) if (n >= e->n_workers)
    for (int64_t i = 0; i < n; i++) {
        mb_embedder_worker *worker = &e->workers[omp_get_thread_num()];
        mb_error failure;
        mb_status s = MB_OK, so_far;
#pragma omp atomic read
        so_far = status;
        const float *hidden = so_far == MB_OK ? run_batch(e, worker, (size_t)i, &failure, &s) : NULL;
#pragma omp ordered
        {
            const size_t begin = e->batches[i], end = e->batches[i + 1];
            for (size_t w = begin; hidden && w < end; w++) {
                mb_embedder_add_to_rows(e, &e->windows[w], hidden + worker->offsets[w - begin] * mb_embedder_width(e), vectors);
            }
            if (s != MB_OK && status == MB_OK) {
#pragma omp atomic write
                status = s;
                if (error) {
                    *error = failure;
                }
            }
        }
    }
    return status;
}

static mb_status reserve_rows(mb_embedder *e, int64_t n, mb_embedding_rows *rows, mb_error *error) {
    rows->width = mb_embedder_width(e);
    rows->n = n;
    size_t n_floats;
    if (__builtin_mul_overflow((size_t)n, (size_t)rows->width, &n_floats) ||
        !grow(&rows->vectors, &rows->capacity_floats, n_floats, sizeof *rows->vectors) ||
        !grow(&e->n_windows, &e->capacity_n_windows, (size_t)n, sizeof *e->n_windows) ||
        (mb_embedder_is_per_token(e) && !grow(&rows->spans, &rows->capacity_spans, (size_t)n, sizeof *rows->spans))) {
        return out_of_memory(error);
    }
    if (n) {
        memset(rows->vectors, 0, n_floats * sizeof *rows->vectors);
        memset(e->n_windows, 0, (size_t)n * sizeof *e->n_windows);
    }
    return MB_OK;
}

mb_status mb_embedder_run(mb_embedder *e, const mb_text_line *lines, size_t n_lines, mb_embedding_rows *rows, mb_error *error) {
    mb_status status = tokenize(e, lines, n_lines, error);
    if (status == MB_OK) {
        status = plan(e, n_lines, error);
    }
    if (status == MB_OK) {
        status = reserve_rows(e, e->first_row[n_lines], rows, error);
    }
    if (status == MB_OK) {
        status = run_windows(e, rows->vectors, error);
    }
    if (status != MB_OK) {
        return status;
    }
    if (e->options.pooling != MB_POOLING_MAX) {
        mb_embedder_average_windows(e, rows);
    }
    if (mb_embedder_is_per_token(e)) {
        mb_embedder_finish_spans(e, n_lines, rows);
    }
    if (e->options.normalize) {
        mb_embedding_rows_normalize(rows);
    }
    return MB_OK;
}
