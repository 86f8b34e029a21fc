/* A matrix row by row, whatever its numbers are: the functions that work on rows see mb_real. A row of an mb_real matrix is
 * used where it lies; one of a bf16 matrix passes through `scratch`, a row long, which stays in the first-level cache.
 *
 *     const mb_real *in = mb_rows_read(&x, i, scratch);
 *     mb_real *out = mb_rows_place(&y, i, other_scratch);
 *     ... make out from in ...
 *     mb_rows_put(&y, i, out);
 */
#ifndef MB_TENSOR_ROWS_H
#define MB_TENSOR_ROWS_H

#include "tensor/bf16.h"

typedef struct mb_rows {
    void *data; /* NULL: there is no such matrix */
    int64_t width;
    mb_dtype dtype;
} mb_rows;

static inline mb_rows mb_rows_over(void *data, mb_dtype dtype, int64_t width) {
    return (mb_rows){data, width, dtype};
}
/* The data of a tensor; `t` may be NULL. */
static inline mb_rows mb_rows_of(const mb_tensor *t) {
    return t == NULL ? (mb_rows){0} : mb_rows_over(t->data, t->dtype, t->dims[t->n_dims - 1]);
}

static inline void *mb_rows_at(const mb_rows *m, int64_t i) {
    return (char *)m->data + (size_t)(i * m->width) * mb_dtype_size(m->dtype);
}

static inline mb_real *mb_rows_place(const mb_rows *m, int64_t i, mb_real *scratch) {
    return m->dtype == MB_BF16 ? scratch : (mb_real *)mb_rows_at(m, i);
}

static inline const mb_real *mb_rows_read(const mb_rows *m, int64_t i, mb_real *scratch) {
    if (m->dtype == MB_BF16) {
        mb_bf16_read((const mb_bf16 *)mb_rows_at(m, i), m->width, scratch);
    }
    return mb_rows_place(m, i, scratch);
}

static inline void mb_rows_put(const mb_rows *m, int64_t i, const mb_real *row) {
    if (m->dtype == MB_BF16) {
        mb_bf16_write(row, m->width, (mb_bf16 *)mb_rows_at(m, i));
    }
}

/* to += row i; `to` is no row of the matrix. */
static inline void mb_rows_add_to(const mb_rows *m, int64_t i, mb_real *restrict to) {
    const int64_t n = m->width;
    if (m->dtype == MB_BF16) {
        const mb_bf16 *restrict from = (const mb_bf16 *)mb_rows_at(m, i);
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            to[j] += (mb_real)mb_bf16_to_float(from[j]);
        }
    } else {
        const mb_real *restrict from = (const mb_real *)mb_rows_at(m, i);
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            to[j] += from[j];
        }
    }
}

/* Row i = from, or += from where beta is 1. */
static inline void mb_rows_add(const mb_rows *m, int64_t i, mb_real beta, const mb_real *from) {
    const int64_t n = m->width;
    if (m->dtype == MB_BF16) {
        (beta == 0 ? mb_bf16_write : mb_bf16_add)(from, n, (mb_bf16 *)mb_rows_at(m, i));
    } else {
        mb_real *restrict to = (mb_real *)mb_rows_at(m, i);
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            to[j] = (beta == 0 ? 0 : to[j]) + from[j];
        }
    }
}

#endif
