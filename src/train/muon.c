#include "train/muon.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tensor/gemm.h"
#include "tensor/sums.h"

enum { N_SCRATCH = 4 };
/* Rows of a panel of a symmetric product: the panels leave out what lies below the diagonal, 3/8 of a matrix of 256 rows. */
enum { PANEL = 64, MIRROR_TILE = 16 };

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

int64_t mb_muon_scratch_elements(int64_t rows, int64_t columns) {
    const int64_t n = smaller(rows, columns);
    return N_SCRATCH * n * n;
}

/* Copies what lies above the diagonal below it, in tiles that stay in the cache. */
static void mirror(int64_t n, mb_real *c) {
    for (int64_t row = 0; row < n; row += MIRROR_TILE) {
        for (int64_t column = row; column < n; column += MIRROR_TILE) {
            const int64_t last_row = smaller(row + MIRROR_TILE, n), last_column = smaller(column + MIRROR_TILE, n);
            for (int64_t j = column; j < last_column; j++) {
                for (int64_t i = row; i < last_row && i < j; i++) {
                    c[j * n + i] = c[i * n + j];
                }
            }
        }
    }
}

/* c = scale x x^T of a wide matrix or scale x^T x of a tall one: (n,n), n the smaller side. */
static void gram(int64_t rows, int64_t columns, const mb_real *x, mb_real scale, mb_real *c) {
    const bool tall = rows > columns;
    const int64_t n = tall ? columns : rows, k = tall ? rows : columns;
    for (int64_t i = 0; i < n; i += PANEL) {
        const mb_real *from = tall ? x + i : x + i * columns;
        mb_gemm(tall, !tall, smaller(PANEL, n - i), n - i, k, scale, from, columns, from, columns, 0, c + i * n + i, n);
    }
    mirror(n, c);
}

/* c = a b of symmetric matrices that commute, so that c is symmetric as well. */
static void symmetric_product(int64_t n, const mb_real *a, const mb_real *b, mb_real *c) {
    for (int64_t i = 0; i < n; i += PANEL) {
        mb_gemm(false, false, smaller(PANEL, n - i), n - i, n, 1, a + i * n, n, b + i, n, 0, c + i * n + i, n);
    }
    mirror(n, c);
}

/* r = a I + b g + c g2 */
static void polynomial(int64_t n, mb_muon_quintic p, const mb_real *restrict g, const mb_real *restrict g2,
                       mb_real *restrict r) {
#pragma omp simd
    for (int64_t i = 0; i < n * n; i++) {
        r[i] = p.b * g[i] + p.c * g2[i];
    }
    for (int64_t i = 0; i < n; i++) {
        r[i * n + i] += p.a;
    }
}

double mb_muon_norm(const mb_real *x, int64_t n) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    return fmax(sqrt(sum), 1e-7);
}

/* The step x' = (a I + b G + c G^2) x with G = x x^T takes G to G' = R G R, R = a I + b G + c G^2, and every R and G is a
 * polynomial in the first G, so that they commute. So the steps are products of small symmetric matrices alone, and x is
 * multiplied once, by the product of all R: for a (256,1024) matrix half the arithmetic of the steps as they are written. */
void mb_muon_orthogonalize(int64_t rows, int64_t columns, const mb_real *x, mb_real *out, mb_real *scratch) {
    const int64_t n = smaller(rows, columns);
    const double length = mb_muon_norm(x, rows * columns);
    mb_real *g = scratch, *t = g + n * n, *r = t + n * n, *q = r + n * n;
    gram(rows, columns, x, (mb_real)(1 / (length * length)), g);
    for (int step = 0; step < MB_MUON_STEPS; step++) {
        symmetric_product(n, g, g, t);
        polynomial(n, mb_muon_steps[step], g, t, step == 0 ? q : r);
        if (step + 1 < MB_MUON_STEPS) { /* g = r g r */
            const mb_real *factor = step == 0 ? q : r;
            symmetric_product(n, g, factor, t);
            symmetric_product(n, t, factor, g);
        }
        if (step > 0) { /* q = q r */
            symmetric_product(n, q, r, t);
            mb_real *swap = q;
            q = t;
            t = swap;
        }
    }
    const mb_real factor = (mb_real)(1 / length);
    if (rows > columns) {
        mb_gemm(false, false, rows, columns, n, factor, x, columns, q, n, 0, out, columns);
    } else {
        mb_gemm(false, false, rows, columns, n, factor, q, n, x, columns, 0, out, columns);
    }
}

/* --- the update --- */

/* Up to a multiple of 64 bytes. */
static int64_t whole_lines(int64_t n) {
    return (n + 15) / 16 * 16;
}

static void list_matrices(mb_muon *muon, const mb_params *params) {
    for (size_t v = 0; v < params->n_views; v++) {
        const mb_param *view = &params->views[v];
        for (int32_t i = 0; i < view->n_matrices; i++) {
            const int64_t rows = view->dims[0] / view->n_matrices;
            mb_muon_matrix *matrix = &muon->matrices[muon->n++];
            *matrix = (mb_muon_matrix){view->offset + i * rows * view->dims[1], rows, view->dims[1], v};
            const int64_t own = (muon->bf16 ? mb_muon_bf16_scratch_elements : mb_muon_scratch_elements)(rows, view->dims[1]);
            const int64_t needed = whole_lines(rows * view->dims[1]) + whole_lines(own); /* NS(u) first */
            muon->slot_elements = needed > muon->slot_elements ? needed : muon->slot_elements;
        }
    }
}

mb_status mb_muon_init(mb_muon *muon, const mb_params *params, bool bf16, mb_error *error) {
    *muon = (mb_muon){.n_slots = omp_get_max_threads(), .bf16 = bf16};
    size_t n = 0;
    for (size_t v = 0; v < params->n_views; v++) {
        n += (size_t)params->views[v].n_matrices;
    }
    muon->matrices = calloc(n + 1, sizeof *muon->matrices);
    if (muon->matrices != NULL) {
        list_matrices(muon, params);
        muon->scratch = mb_memory_alloc((size_t)muon->n_slots * (size_t)muon->slot_elements * sizeof *muon->scratch);
    }
    if (muon->matrices == NULL || muon->scratch == NULL) {
        mb_muon_free(muon);
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the optimizer's matrices");
    }
    return MB_OK;
}

void mb_muon_free(mb_muon *muon) {
    free(muon->matrices);
    free(muon->scratch);
    *muon = (mb_muon){0};
}

/* The update takes the gradient's place. */
static void apply_momentum(int64_t n, mb_real *restrict g, mb_real *restrict m, mb_real momentum, mb_real gradient_scale) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const mb_real grad = g[i] * gradient_scale;
        m[i] += (1 - momentum) * (grad - m[i]);
        g[i] = grad + momentum * (m[i] - grad);
    }
}

/* One row's factor, 1 / sqrt(v), once v has its new mean square; and its square length before and after. */
static mb_real row_factor(int64_t n, const mb_real *row, mb_real *v, double *before, double *after) {
    const double square = (double)mb_sum_of_squares(row, n, 0);
    *v += (mb_real)((1 - MB_MUON_ROW_DECAY) * (square / (double)n - (double)*v));
    const double factor = *v > 0 ? 1 / sqrt((double)*v) : 0; /* 0: a row that has never had a gradient */
    *before += square;
    *after += square * factor * factor;
    return (mb_real)factor;
}

/* w = decay w - step r; v: one number a row. The gradient's place takes the rows' factors. */
static void apply_rows(const mb_muon_matrix *matrix, const mb_real *o, mb_real *v, mb_real *factors, double step, double decay,
                       mb_real *w) {
    double before = 0, after = 0;
    for (int64_t row = 0; row < matrix->rows; row++) {
        factors[row] = row_factor(matrix->columns, o + row * matrix->columns, &v[row], &before, &after);
    }
    const double back = after > 0 ? sqrt(before / after) : 0;
    const mb_real keep = (mb_real)decay;
    for (int64_t row = 0; row < matrix->rows; row++) {
        const mb_real factor = (mb_real)(step * back * (double)factors[row]);
        const mb_real *restrict from = o + row * matrix->columns;
        mb_real *restrict to = w + row * matrix->columns;
#pragma omp simd
        for (int64_t i = 0; i < matrix->columns; i++) {
            to[i] = keep * to[i] - factor * from[i];
        }
    }
}

void mb_muon_update(const mb_muon *muon, mb_params *params, mb_real *m, mb_real *v, double momentum, double learning_rate,
                    double decay, double gradient_scale) {
    const int64_t n = (int64_t)muon->n;
#pragma omp parallel for schedule(dynamic) num_threads(muon->n_slots)
    for (int64_t i = 0; i < n; i++) {
        const mb_muon_matrix *matrix = &muon->matrices[i];
        const mb_param *view = &params->views[matrix->view];
        const int64_t count = matrix->rows * matrix->columns, at = matrix->offset;
        mb_real *update = params->grads + at, *orthogonal = muon->scratch + omp_get_thread_num() * muon->slot_elements;
        if (!view->frozen) {
            const double rate = view->rate;
            const double size = 0.2 * sqrt((double)(matrix->rows > matrix->columns ? matrix->rows : matrix->columns));
            apply_momentum(count, update, m + at, (mb_real)momentum, (mb_real)gradient_scale);
            (muon->bf16 ? mb_muon_orthogonalize_bf16 : mb_muon_orthogonalize)(matrix->rows, matrix->columns, update, orthogonal,
                                                                              orthogonal + whole_lines(count));
            apply_rows(matrix, orthogonal, v + view->offset + mb_params_row(view, at), update, learning_rate * rate * size,
                       1 - rate * (1 - decay), params->weights + at);
        }
        memset(update, 0, (size_t)count * sizeof *update);
    }
}
