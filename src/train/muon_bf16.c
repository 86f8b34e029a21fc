/* Newton-Schulz in bf16, as Jordan runs it: on bf16 units the steps as they are written, with the symmetric products by halves,
 * cost less than the small products of muon.c in fp32, whose commuting polynomials would not bear the rounding (an eigenvalue
 * of x x^T that rounds to below zero grows without bound). */
#include <math.h>
#include <string.h>

#include "tensor/gemm_bf16.h"
#include "train/muon.h"

enum { BLOCK = MB_BF16_BLOCK };

/* A wide matrix: n <= k, both padded with zeros to multiples of the block. */
typedef struct work {
    int64_t n, k;
    mb_bf16 *x, *next; /* (n,k) */
    mb_bf16 *gram;     /* (n,n): x x^T */
    mb_bf16 *step;     /* (n,n): b gram + c gram^2 */
    mb_bf16 *packed;   /* (k,n), (n,n) or (n,k), the second factor of a product */
} work;

static int64_t bf16_elements(int64_t n, int64_t k) {
    return 3 * n * k + 2 * n * n;
}

int64_t mb_muon_bf16_scratch_elements(int64_t rows, int64_t columns) {
    const int64_t n = mb_bf16_padded(rows < columns ? rows : columns), k = mb_bf16_padded(rows < columns ? columns : rows);
    return bf16_elements(n, k) * (int64_t)sizeof(mb_bf16) / (int64_t)sizeof(mb_real);
}

static work lay_out(int64_t rows, int64_t columns, mb_real *scratch) {
    const int64_t n = mb_bf16_padded(rows < columns ? rows : columns), k = mb_bf16_padded(rows < columns ? columns : rows);
    work w = {.n = n, .k = k, .x = (mb_bf16 *)(void *)scratch};
    w.next = w.x + n * k;
    w.packed = w.next + n * k;
    w.gram = w.packed + n * k;
    w.step = w.gram + n * n;
    return w;
}

/* A block of a symmetric product to its place and to the mirrored one: alpha sums + beta `more`. */
typedef struct symmetric_sink {
    mb_bf16 *c;
    const mb_bf16 *more; /* (n,n) or NULL */
    int64_t n, row;      /* row: of C where the product's first row is */
    float alpha, beta;
} symmetric_sink;

/* Blocks are whole: the matrices are padded. */
static void store_symmetric(void *context, const float *sums, int64_t row, int64_t n_rows, int64_t column, int64_t n_columns) {
    (void)n_rows, (void)n_columns;
    const symmetric_sink *s = context;
    const int64_t top = s->row + row, left = s->row + column;
    const mb_real alpha = (mb_real)s->alpha, beta = (mb_real)s->beta;
    mb_bf16 *to = s->c + top * s->n + left;
    for (int64_t i = 0; i < BLOCK; i++) {
        mb_real values[BLOCK], more[BLOCK] = {0};
        if (s->more) {
            mb_bf16_read(s->more + (top + i) * s->n + left, BLOCK, more);
        }
#pragma omp simd
        for (int64_t j = 0; j < BLOCK; j++) {
            values[j] = alpha * (mb_real)sums[i * BLOCK + j] + beta * more[j];
        }
        mb_bf16_write(values, BLOCK, to + i * s->n);
    }
    if (top != left) {
        const mb_bf16_factor block = {.data = to, .stride = s->n, .transposed = true};
        mb_bf16_unfold(&block, BLOCK, BLOCK, s->n, s->c + left * s->n + top);
    }
}

/* c = alpha a b + beta more, (n,n) and symmetric: what lies above the diagonal is computed. a: (n,depth) rows; b packed. */
static void symmetric_product(int64_t n, int64_t depth, const mb_bf16 *a, const mb_bf16 *packed, symmetric_sink sink) {
    sink.n = n;
    for (sink.row = 0; sink.row < n; sink.row += BLOCK) {
        const mb_bf16_factor rows = {.data = a + sink.row * depth, .stride = depth};
        const mb_bf16_packed b = {packed + sink.row * depth, depth};
        mb_bf16_gemm(BLOCK, n - sink.row, depth, &rows, b, (mb_bf16_output){store_symmetric, &sink, .in_parts = false});
    }
}

/* What a step makes of a block of (step x): scale (a x + step x), to the next x or, at the end, to `out`. */
typedef struct step_sink {
    const work *w;
    mb_real scale, a;
    mb_real *out; /* (rows,columns), NULL: next */
    int64_t rows, columns;
} step_sink;

/* A block, of which some rows and columns may be padding. */
static void put_out(const step_sink *s, const mb_real *values, int64_t row, int64_t column) {
    const bool tall = s->rows > s->columns;
    mb_real turned[BLOCK * BLOCK];
    if (tall) {
        for (int64_t i = 0; i < BLOCK; i++) {
            for (int64_t j = 0; j < BLOCK; j++) {
                turned[j * BLOCK + i] = values[i * BLOCK + j];
            }
        }
        const int64_t swap = row;
        row = column;
        column = swap;
    }
    const int64_t n_rows = s->rows - row < BLOCK ? s->rows - row : BLOCK;
    const int64_t n_columns = s->columns - column < BLOCK ? s->columns - column : BLOCK;
    for (int64_t i = 0; i < n_rows; i++) {
        memcpy(s->out + (row + i) * s->columns + column, (tall ? turned : values) + i * BLOCK,
               (size_t)n_columns * sizeof *values);
    }
}

static void store_step(void *context, const float *sums, int64_t row, int64_t n_rows, int64_t column, int64_t n_columns) {
    (void)n_rows, (void)n_columns;
    const step_sink *s = context;
    const int64_t k = s->w->k;
    const mb_real scale = s->scale;
    mb_real values[BLOCK * BLOCK];
    for (int64_t i = 0; i < BLOCK; i++) {
        mb_real x[BLOCK];
        mb_bf16_read(s->w->x + (row + i) * k + column, BLOCK, x);
#pragma omp simd
        for (int64_t j = 0; j < BLOCK; j++) {
            values[i * BLOCK + j] = scale * (s->a * x[j] + (mb_real)sums[i * BLOCK + j]);
        }
        if (!s->out) {
            mb_bf16_write(values + i * BLOCK, BLOCK, s->w->next + (row + i) * k + column);
        }
    }
    if (s->out) {
        put_out(s, values, row, column);
    }
}

void mb_muon_orthogonalize_bf16(int64_t rows, int64_t columns, const mb_real *x, mb_real *out, mb_real *scratch) {
    work w = lay_out(rows, columns, scratch);
    const double length = mb_muon_norm(x, rows * columns);
    const mb_bf16_factor given = {.data = x, .stride = columns, .transposed = rows > columns, .is_real = true};
    mb_bf16_unfold(&given, rows < columns ? rows : columns, rows < columns ? columns : rows, w.k, w.x);
    for (int i = 0; i < MB_MUON_STEPS; i++) {
        const mb_muon_quintic p = mb_muon_steps[i];
        const double first = i == 0 ? 1 / length : 1; /* x begins as x / |x| */
        const mb_bf16_factor transpose = {.data = w.x, .stride = w.k, .transposed = true};
        mb_bf16_pack(&transpose, w.k, w.n, w.k, w.packed);
        symmetric_product(w.n, w.k, w.x, w.packed, (symmetric_sink){.c = w.gram, .alpha = (float)(first * first)});
        const mb_bf16_factor gram = {.data = w.gram, .stride = w.n};
        mb_bf16_pack(&gram, w.n, w.n, w.n, w.packed);
        symmetric_product(w.n, w.n, w.gram, w.packed,
                          (symmetric_sink){.c = w.step, .more = w.gram, .alpha = (float)p.c, .beta = (float)p.b});
        const mb_bf16_factor itself = {.data = w.x, .stride = w.k}, step = {.data = w.step, .stride = w.n};
        mb_bf16_pack(&itself, w.n, w.k, w.n, w.packed);
        const bool last = i + 1 == MB_MUON_STEPS;
        step_sink sink = {
            .w = &w, .scale = (mb_real)first, .a = p.a, .out = last ? out : NULL, .rows = rows, .columns = columns};
        mb_bf16_gemm(w.n, w.k, w.n, &step, (mb_bf16_packed){w.packed, w.n},
                     (mb_bf16_output){store_step, &sink, .in_parts = false});
        mb_bf16 *const swap = w.x;
        w.x = w.next;
        w.next = swap;
    }
}
