#include "autograd/ops/linear_cross_entropy.h"

#include "autograd/ops/packed_weight.h"
#include "base/specialized.h"
#include "tensor/sums.h"
#include "tensor/vmath.h"

/* By slices of the vocabulary, so that what belongs to one stays in the second-level cache:
 *
 *   1. logits of all rows -> their maximum and sum of exponentials, by row; the exponentials are kept in bf16
 *   2. these joined: log-sum-exp and loss of each row
 *   3. exponentials -> dlogits (M, slice), in place -> its rows of dW and db, and its part of dx
 *
 * To keep the exponentials takes less time than to make the logits twice, even on AVX512-BF16: the head of
 * a mini's step went from 119 ms to 96. To
 * keep the logits would not do: rounded to 8 bits a logit of 10 is off by 0.02, and with it every probability by 2%.
 *
 * The rows of dW are complete when their slice is done. The parts of dx are summed by groups of slices, then group by group:
 * one order at any number of threads. */
enum { SLICE = 256, N_GROUPS = 16, MAX_ROWS = 768, BLOCK = MB_BF16_BLOCK };

typedef struct slice_row {
    float max, sum; /* of the row's logits in the slice: max, and sum of exp(logit - max) */
} slice_row;

typedef struct chunk {
    const mb_lce_problem *problem;
    int64_t first, n_rows, n_slices;
    mb_bf16_packed forward, backward; /* W^T and W */
    slice_row *slices;                /* (slices, n_rows) */
    float *target_logits, *log_sums;  /* (n_rows) */
    /* with gradients: */
    mb_bf16 *exponentials; /* (slices, padded n_rows, SLICE): exp(logit - max of the slice), then dlogits */
    int64_t slice_elements;
    /* dW^T = x^T dlogits: x is turned once, where dW = dlogits^T x would turn each slice's dlogits. */
    mb_bf16 *turned_x; /* (H,n_rows) in tiles */
    mb_bf16 *packed;   /* (threads; n_rows,SLICE): dlogits of the slice that the thread is at */
    float *dx_parts;   /* (N_GROUPS,n_rows,H) */
} chunk;

static int64_t slice_width(const chunk *c, int64_t slice) {
    const int64_t left = c->problem->n_classes - slice * SLICE;
    return left < SLICE ? left : SLICE;
}

static mb_bf16_factor rows_of_x(const chunk *c) {
    return (mb_bf16_factor){.data = (const mb_bf16 *)c->problem->x->data + c->first * c->problem->width,
                            .stride = c->problem->width};
}

static mb_bf16_packed slice_of_forward(const chunk *c, int64_t slice) {
    return (mb_bf16_packed){c->forward.data + slice * SLICE * c->forward.depth, c->forward.depth};
}

/* --- 1 --- */

typedef struct slice_context {
    const chunk *c;
    int64_t slice;
    mb_bf16 *exponentials;       /* of the slice, or NULL */
    float logits[BLOCK * SLICE]; /* of a block of rows: they are finished when the last block of columns is there */
} slice_context;

/* Adds a block to the rows; true when they are whole. Columns beyond the vocabulary are far below all others. */
static bool collect(slice_context *s, const float *sums, int64_t n_rows, int64_t column, int64_t n_columns) {
    const mb_real *bias = s->c->problem->bias;
    const int64_t width = slice_width(s->c, s->slice);
    float more[BLOCK] = {0};
    for (int64_t j = 0; bias != NULL && j < n_columns; j++) {
        more[j] = (float)bias[s->slice * SLICE + column + j];
    }
    for (int64_t j = n_columns; j < BLOCK; j++) {
        more[j] = -1e30f;
    }
    for (int64_t i = 0; i < n_rows; i++) {
        float *restrict row = s->logits + i * SLICE + column;
#pragma omp simd
        for (int64_t j = 0; j < BLOCK; j++) {
            row[j] = sums[i * BLOCK + j] + more[j];
        }
    }
    return column + n_columns == width;
}

/* The column of the row's target in the slice, or -1. */
static int64_t target_of(const chunk *c, int64_t slice, int64_t row) {
    const int64_t target = c->problem->targets[c->first + row] - slice * SLICE;
    return target >= 0 && target < slice_width(c, slice) ? target : -1;
}

/* Of the collected rows, the first of which is row `row` of the chunk. In steps, each over all rows: one row alone has to wait
 * for its maximum and then for its sum. */
MB_SPECIALIZED void block_statistics(slice_context *s, int64_t row, int64_t n_rows, int64_t width) {
    const chunk *c = s->c;
    slice_row *made = c->slices + s->slice * c->n_rows + row;
    for (int64_t i = 0; i < n_rows; i++) {
        const float *restrict logits = s->logits + i * SLICE;
        float max = logits[0];
#pragma omp simd reduction(max : max)
        for (int64_t j = 0; j < width; j++) {
            max = logits[j] > max ? logits[j] : max;
        }
        made[i].max = max;
        const int64_t target = target_of(c, s->slice, row + i);
        if (target >= 0) {
            c->target_logits[row + i] = logits[target];
        }
    }
    for (int64_t i = 0; i < n_rows; i++) {
        mb_real e[SLICE];
        const float *restrict logits = s->logits + i * SLICE;
        const float max = made[i].max;
#pragma omp simd
        for (int64_t j = 0; j < width; j++) {
            e[j] = mb_exp((mb_real)(logits[j] - max));
        }
        made[i].sum = (float)mb_sum(e, width);
        if (s->exponentials != NULL) {
            mb_bf16_write(e, width, s->exponentials + (row + i) * SLICE);
        }
    }
}

static void take_statistics(void *context, const float *sums, int64_t row, int64_t n_rows, int64_t column, int64_t n_columns) {
    slice_context *s = context;
    if (collect(s, sums, n_rows, column, n_columns)) {
        MB_FOR_WHOLE(block_statistics, SLICE, column + BLOCK, s, row, n_rows);
    }
}

static void statistics_of_slices(const chunk *c) {
    const mb_bf16_factor a = rows_of_x(c);
#pragma omp parallel for schedule(dynamic)
    for (int64_t slice = 0; slice < c->n_slices; slice++) {
        slice_context s;
        s.c = c; /* and the rest as it comes: 32 kB */
        s.slice = slice;
        s.exponentials = c->exponentials == NULL ? NULL : c->exponentials + slice * c->slice_elements;
        mb_bf16_gemm(c->n_rows, slice_width(c, slice), c->problem->width, &a, slice_of_forward(c, slice), take_statistics, &s);
    }
}

/* --- 2 --- */

static void join_slices(const chunk *c) {
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < c->n_rows; i++) {
        float max = c->slices[i].max;
        double sum = 0;
        for (int64_t s = 1; s < c->n_slices; s++) {
            const float other = c->slices[s * c->n_rows + i].max;
            max = other > max ? other : max;
        }
        for (int64_t s = 0; s < c->n_slices; s++) {
            const slice_row *part = &c->slices[s * c->n_rows + i];
            sum += (double)part->sum * exp((double)(part->max - max));
        }
        const double log_sum = (double)max + log(sum);
        c->log_sums[i] = (float)log_sum;
        c->problem->results[c->first + i] = (mb_lce_row){log_sum - (double)c->target_logits[i], c->target_logits[i] == max};
    }
}

/* --- 3 --- */

/* A row of exponentials times its factor. */
MB_SPECIALIZED void scale_exponentials(mb_bf16 *dlogits, float factor, int64_t width) {
    mb_real d[SLICE];
    mb_bf16_read(dlogits, width, d);
#pragma omp simd
    for (int64_t j = 0; j < width; j++) {
        d[j] *= (mb_real)factor;
    }
    mb_bf16_write(d, width, dlogits);
}

/* From exponentials to dlogits, in place: scale (p - [target]), p = exp(logit - max) exp(max - log sum). Of at most BLOCK rows,
 * the first of which is row `row` of the chunk. */
static void make_dlogits(const chunk *c, int64_t slice, int64_t row, int64_t n_rows, mb_bf16 *dlogits) {
    const slice_row *rows = c->slices + slice * c->n_rows + row;
    const int64_t width = slice_width(c, slice);
    const float scale = (float)c->problem->scale;
    float factors[BLOCK];
#pragma omp simd
    for (int64_t i = 0; i < n_rows; i++) {
        factors[i] = scale * (float)mb_exp((mb_real)(rows[i].max - c->log_sums[row + i]));
    }
    for (int64_t i = 0; i < n_rows; i++) {
        MB_FOR_WHOLE(scale_exponentials, SLICE, width, dlogits + i * SLICE, factors[i]);
        const int64_t target = target_of(c, slice, row + i);
        if (target >= 0) { /* near 0 when it is learnt: not from the rounded exponential */
            const float p = expf(c->target_logits[row + i] - c->log_sums[row + i]);
            dlogits[i * SLICE + target] = mb_bf16_from_float(scale * p - scale);
        }
    }
}

MB_SPECIALIZED void add_rows(const mb_bf16 *dlogits, int64_t n_rows, mb_real *restrict sums, int64_t width) {
    for (int64_t i = 0; i < n_rows; i++) {
        const mb_bf16 *restrict row = dlogits + i * SLICE;
#pragma omp simd
        for (int64_t j = 0; j < width; j++) {
            sums[j] += (mb_real)mb_bf16_to_float(row[j]);
        }
    }
}

static void store_float(void *context, const float *sums, int64_t row, int64_t n_rows, int64_t column, int64_t n_columns) {
    const mb_bf16_store *store = context;
    for (int64_t i = 0; i < n_rows; i++) {
        float *restrict to = (float *)store->c + (row + i) * store->stride + column;
        for (int64_t j = 0; j < n_columns; j++) {
            to[j] = store->beta == 0 ? sums[i * BLOCK + j] : to[j] + sums[i * BLOCK + j];
        }
    }
}

/* A few rows at a time through all that reads them, while they are in the first-level cache; then dW, which takes all of them.
 */
static void gradients_of_slice(const chunk *c, int64_t slice, float *dx, bool first_of_group, mb_bf16 *packed) {
    const mb_lce_problem *p = c->problem;
    const int64_t n = slice_width(c, slice), width = p->width, depth = mb_bf16_padded(c->n_rows);
    const mb_bf16_packed w = {c->backward.data + slice * SLICE * BLOCK, c->backward.depth};
    mb_real bias_sums[SLICE] = {0};
    for (int64_t row = 0; row < c->n_rows; row += BLOCK) {
        const int64_t n_rows = c->n_rows - row < BLOCK ? c->n_rows - row : BLOCK;
        mb_bf16 *dlogits = c->exponentials + slice * c->slice_elements + row * SLICE;
        make_dlogits(c, slice, row, n_rows, dlogits);
        const mb_bf16_factor d = {.data = dlogits, .stride = SLICE};
        mb_bf16_store to_dx = {.c = dx + row * width, .stride = width, .beta = first_of_group ? 0 : 1};
        mb_bf16_gemm(n_rows, width, n, &d, w, store_float, &to_dx);
        if (p->dweight != NULL) {
            mb_bf16_pack(&d, n_rows, n, depth, packed + row * BLOCK);
        }
        if (p->dbias != NULL) {
            MB_FOR_WHOLE(add_rows, SLICE, n, dlogits, n_rows, bias_sums);
        }
    }
    if (p->dweight != NULL) {
        const mb_bf16_factor x = {.data = c->turned_x, .stride = depth, .tiled = true};
        mb_bf16_store to_dw = {.c = p->dweight + slice * SLICE * width, .stride = width, .alpha = 1, .beta = 1};
        mb_bf16_gemm(width, n, depth, &x, (mb_bf16_packed){packed, depth}, mb_bf16_store_real_transposed, &to_dw);
    }
    for (int64_t j = 0; p->dbias != NULL && j < n; j++) {
        p->dbias[slice * SLICE + j] += bias_sums[j];
    }
}

static void turn_x(const chunk *c) {
    const int64_t width = c->problem->width, depth = mb_bf16_padded(c->n_rows);
#pragma omp parallel for schedule(static)
    for (int64_t column = 0; column < width; column += BLOCK) {
        mb_bf16_factor x = rows_of_x(c);
        x.data = (const mb_bf16 *)x.data + column;
        x.transposed = true;
        mb_bf16_tile(&x, width - column < BLOCK ? width - column : BLOCK, c->n_rows, depth, c->turned_x + column * depth);
    }
}

static void gradients_of_slices(const chunk *c) {
    const mb_lce_problem *p = c->problem;
    const int64_t count = c->n_rows * p->width, in_group = (c->n_slices + N_GROUPS - 1) / N_GROUPS;
    const int64_t n_groups = (c->n_slices + in_group - 1) / in_group;
    turn_x(c);
#pragma omp parallel for schedule(dynamic)
    for (int64_t group = 0; group < n_groups; group++) {
        const int64_t begin = group * in_group, end = begin + in_group < c->n_slices ? begin + in_group : c->n_slices;
        mb_bf16 *packed = c->packed + mb_tape_thread() * mb_bf16_padded(c->n_rows) * SLICE;
        for (int64_t slice = begin; slice < end; slice++) {
            gradients_of_slice(c, slice, c->dx_parts + group * count, slice == begin, packed);
        }
    }
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        float sum = 0;
        for (int64_t group = 0; group < n_groups; group++) {
            sum += c->dx_parts[group * count + i];
        }
        p->dx[c->first * p->width + i] = (mb_real)sum;
    }
}

static bool allocate(mb_tape *tape, chunk *c, int64_t n_rows) {
    const mb_lce_problem *p = c->problem;
    c->n_slices = (p->n_classes + SLICE - 1) / SLICE;
    c->slices = mb_tape_alloc(tape, (size_t)(c->n_slices * n_rows), sizeof *c->slices);
    c->target_logits = mb_tape_alloc(tape, (size_t)n_rows, sizeof *c->target_logits);
    c->log_sums = mb_tape_alloc(tape, (size_t)n_rows, sizeof *c->log_sums);
    c->forward = mb_packed_forward(tape, p->weight);
    if (p->dx != NULL) {
        c->backward = mb_packed_backward(tape, p->weight);
        c->slice_elements = mb_bf16_padded(n_rows) * SLICE;
        c->exponentials = mb_tape_alloc(tape, (size_t)(c->n_slices * c->slice_elements), sizeof *c->exponentials);
        c->turned_x = mb_tape_alloc(tape, (size_t)mb_bf16_packed_count(n_rows, p->width), sizeof *c->turned_x);
        c->packed = mb_tape_alloc(tape, (size_t)(mb_tape_max_threads() * c->slice_elements), sizeof *c->packed);
        c->dx_parts = mb_tape_alloc(tape, (size_t)(N_GROUPS * n_rows * p->width), sizeof *c->dx_parts);
    }
    return mb_tape_status(tape) == MB_OK;
}

void mb_lce_bf16(mb_tape *tape, const mb_lce_problem *p) {
    const mb_arena_mark mark = mb_tape_scratch_mark(tape);
    chunk c = {.problem = p};
    const int64_t n_chunks = (p->n_rows + MAX_ROWS - 1) / MAX_ROWS, most = n_chunks ? (p->n_rows + n_chunks - 1) / n_chunks : 0;
    if (!allocate(tape, &c, most)) {
        return;
    }
    for (int64_t first = 0; first < p->n_rows; first += most) {
        c.first = first;
        c.n_rows = p->n_rows - first < most ? p->n_rows - first : most;
        statistics_of_slices(&c);
        join_slices(&c);
        if (c.exponentials != NULL) {
            gradients_of_slices(&c);
        }
    }
    mb_tape_scratch_drop(tape, mark);
}
