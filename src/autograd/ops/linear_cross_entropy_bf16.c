#include "autograd/ops/linear_cross_entropy.h"

#include <stdalign.h>

#include "autograd/ops/packed_weight.h"
#include "base/specialized.h"
#include "tensor/sums.h"
#include "tensor/vmath.h"

/* By slices of the vocabulary, so that what belongs to one stays in the second-level cache:
 *
 *   1. logits of all rows -> their maximum and sum of exponentials, by row; the exponentials are kept in bf16, all of a row
 *      relative to the logit of its target, which is known beforehand: so a block of logits is done with when it is there
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

enum { HALF = BLOCK / 2 };

typedef struct slice_row {
    float max, sum; /* of the row's logits in the slice: max, and sum of exp(logit - reference) */
} slice_row;

typedef struct chunk {
    const mb_lce_problem *problem;
    int64_t first, n_rows, n_slices;
    mb_bf16_packed forward, backward;             /* W^T and W */
    slice_row *slices;                            /* (slices, n_rows) */
    float *references, *target_logits, *log_sums; /* (n_rows) */
    /* with gradients: */
    mb_bf16 *exponentials; /* (slices, padded n_rows, SLICE): exp(logit - reference), then dlogits */
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

/* Where row `row` of a slice is kept. */
static mb_bf16 *kept_row(const chunk *c, int64_t slice, int64_t row) {
    return c->exponentials + slice * c->slice_elements + row * SLICE;
}

/* --- 1 --- */

/* Nearly the logits of the targets: of x and the weight before it was rounded. */
static void make_references(const chunk *c) {
    const mb_lce_problem *p = c->problem;
    const mb_bf16 *x = rows_of_x(c).data;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < c->n_rows; i++) {
        const int64_t target = p->targets[c->first + i];
        const mb_real *restrict w = mb_tensor_real(p->weight) + target * p->width;
        float sum = p->bias == NULL ? 0 : (float)p->bias[target];
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < p->width; j++) {
            sum += mb_bf16_to_float(x[i * p->width + j]) * (float)w[j];
        }
        c->references[i] = sum;
    }
}

/* The column of the row's target in the slice; where that is in another one, no column of this. */
static int64_t target_of(const chunk *c, int64_t slice, int64_t row) {
    return c->problem->targets[c->first + row] - slice * SLICE;
}

static const mb_real far_below = -1e30f;

typedef struct slice_context {
    const chunk *c;
    int64_t slice;
    alignas(64) mb_real bias[SLICE];                          /* beyond the vocabulary far below all others */
    alignas(64) mb_real max[BLOCK * HALF], sum[BLOCK * HALF]; /* of a block of rows, so far: over every HALF-th column */
} slice_context;

/* What a block of logits adds to the statistics of its rows. */
static void take_logits(slice_context *s, const float *sums, int64_t row, int64_t n_rows, int64_t column,
                        const mb_real *restrict bias) {
    const chunk *c = s->c;
    for (int64_t i = 0; i < n_rows; i++) {
        const float *restrict from = sums + i * BLOCK;
        const mb_real reference = (mb_real)c->references[row + i];
        mb_real *restrict max = s->max + i * HALF, *restrict sum = s->sum + i * HALF, e[BLOCK];
#pragma omp simd
        for (int j = 0; j < HALF; j++) {
            const mb_real left = (mb_real)from[j] + bias[j], right = (mb_real)from[HALF + j] + bias[HALF + j];
            const mb_real larger = left > right ? left : right;
            max[j] = larger > max[j] ? larger : max[j];
            e[j] = mb_exp(left - reference);
            e[HALF + j] = mb_exp(right - reference);
            sum[j] += e[j] + e[HALF + j];
        }
        if (c->exponentials != NULL) {
            mb_bf16_write(e, BLOCK, kept_row(c, s->slice, row + i) + column);
        }
    }
}

static void take_statistics(void *context, const float *sums, int64_t row, int64_t n_rows, int64_t column, int64_t n_columns) {
    slice_context *s = context;
    const chunk *c = s->c;
    const mb_real *bias = s->bias + column;
    for (int64_t i = 0; i < n_rows * HALF && column == 0; i++) {
        s->max[i] = far_below;
        s->sum[i] = 0;
    }
    take_logits(s, sums, row, n_rows, column, bias);
    for (int64_t i = 0; i < n_rows; i++) {
        const int64_t target = target_of(c, s->slice, row + i) - column;
        if (target >= 0 && target < n_columns) {
            c->target_logits[row + i] = sums[i * BLOCK + target] + (float)bias[target];
        }
    }
    for (int64_t i = 0; i < n_rows && column + n_columns == slice_width(c, s->slice); i++) {
        const mb_real *of_row = s->max + i * HALF;
        mb_real max = far_below;
#pragma omp simd reduction(max : max)
        for (int j = 0; j < HALF; j++) {
            max = of_row[j] > max ? of_row[j] : max;
        }
        c->slices[s->slice * c->n_rows + row + i] = (slice_row){(float)max, (float)mb_sum(s->sum + i * HALF, HALF)};
    }
}

static void begin_slice(slice_context *s, const chunk *c, int64_t slice) {
    const int64_t width = slice_width(c, slice);
    s->c = c; /* and the rest as it comes */
    s->slice = slice;
    for (int64_t j = 0; j < SLICE; j++) {
        s->bias[j] = j >= width ? far_below : c->problem->bias == NULL ? 0 : c->problem->bias[slice * SLICE + j];
    }
}

static void statistics_of_slices(const chunk *c) {
    const mb_bf16_factor a = rows_of_x(c);
#pragma omp parallel for schedule(dynamic)
    for (int64_t slice = 0; slice < c->n_slices; slice++) {
        slice_context s;
        begin_slice(&s, c, slice);
        mb_bf16_gemm(c->n_rows, slice_width(c, slice), c->problem->width, &a, slice_of_forward(c, slice),
                     (mb_bf16_output){take_statistics, &s, .in_parts = false});
    }
}

/* --- 2 --- */

/* False: some row has a logit so far above its reference that an exponential may be beyond what fp32 holds. Then the references
 * of such rows are now their largest logits, and the statistics are to be made again. */
static bool join_slices(const chunk *c) {
    const float far_above = 60;
    int n_far = 0;
#pragma omp parallel for schedule(static) reduction(+ : n_far)
    for (int64_t i = 0; i < c->n_rows; i++) {
        float max = c->slices[i].max;
        double sum = 0;
        for (int64_t s = 0; s < c->n_slices; s++) {
            const slice_row *part = &c->slices[s * c->n_rows + i];
            max = part->max > max ? part->max : max;
            sum += (double)part->sum;
        }
        if (max - c->references[i] > far_above) {
            c->references[i] = max;
            n_far++;
            continue;
        }
        const double log_sum = (double)c->references[i] + log(sum);
        c->log_sums[i] = (float)log_sum;
        c->problem->results[c->first + i] = (mb_lce_row){log_sum - (double)c->target_logits[i], c->target_logits[i] == max};
    }
    return n_far == 0;
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

/* From exponentials to dlogits, in place: scale (p - [target]), p = exp(logit - reference) exp(reference - log sum). Of at most
 * BLOCK rows, the first of which is row `row` of the chunk. */
static void make_dlogits(const chunk *c, int64_t slice, int64_t row, int64_t n_rows, mb_bf16 *dlogits) {
    const int64_t width = slice_width(c, slice);
    const float scale = (float)c->problem->scale;
    float factors[BLOCK];
#pragma omp simd
    for (int64_t i = 0; i < n_rows; i++) {
        factors[i] = scale * (float)mb_exp((mb_real)(c->references[row + i] - c->log_sums[row + i]));
    }
    for (int64_t i = 0; i < n_rows; i++) {
        MB_FOR_WHOLE(scale_exponentials, SLICE, width, dlogits + i * SLICE, factors[i]);
        const int64_t target = target_of(c, slice, row + i);
        if (target >= 0 && target < width) { /* near 0 when it is learnt: not from the rounded exponential */
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
        mb_bf16 *dlogits = kept_row(c, slice, row);
        make_dlogits(c, slice, row, n_rows, dlogits);
        const mb_bf16_factor d = {.data = dlogits, .stride = SLICE};
        mb_bf16_store to_dx = {.c = dx + row * width, .stride = width, .beta = first_of_group ? 0 : 1};
        mb_bf16_gemm(n_rows, width, n, &d, w, (mb_bf16_output){store_float, &to_dx, .in_parts = false});
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
        mb_bf16_gemm(width, n, depth, &x, (mb_bf16_packed){packed, depth}, mb_bf16_to_real_transposed(&to_dw));
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
    c->references = mb_tape_alloc(tape, (size_t)n_rows, sizeof *c->references);
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
        make_references(&c);
        do {
            statistics_of_slices(&c);
        } while (!join_slices(&c));
        if (c.exponentials != NULL) {
            gradients_of_slices(&c);
        }
    }
    mb_tape_scratch_drop(tape, mark);
}
