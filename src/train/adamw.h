/* One element of AdamW, for the two that update elements: optimizer.c and row_updates.c. */
#ifndef MB_TRAIN_ADAMW_H
#define MB_TRAIN_ADAMW_H

#include <math.h>

#include "tensor/sums.h"
#include "tensor/tensor.h"

/* What an update multiplies by, rounded once. */
typedef struct mb_adamw_factors {
    mb_real scale, decay, beta1, beta2, step_size, inverse_correction2, epsilon;
} mb_adamw_factors;

/* Loshchilov & Hutter 2019, Algorithm 2, with the bias corrections folded in as PyTorch does:
 *   m = beta1 m + (1 - beta1) g              v = beta2 v + (1 - beta2) g^2
 *   w = (1 - lr lambda) w - lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon) */
static inline mb_real mb_adamw_root(mb_real v, const mb_adamw_factors *c) {
    return sqrtf(v) * c->inverse_correction2 + c->epsilon;
}
static inline void mb_adamw_step(mb_real *w, mb_real grad, mb_real *m, mb_real root, const mb_adamw_factors *c) {
    *m += (1 - c->beta1) * (grad - *m);
    *w = *w * c->decay - c->step_size * *m / root;
}
static inline void mb_adamw_element(mb_real *w, mb_real grad, mb_real *m, mb_real *v, const mb_adamw_factors *c) {
    *v = c->beta2 * *v + (1 - c->beta2) * grad * grad;
    mb_adamw_step(w, grad, m, mb_adamw_root(*v, c), c);
}

/* n elements; their gradients become zero. */
static inline void mb_adamw_update(int64_t n, mb_real *restrict w, mb_real *restrict g, mb_real *restrict m,
                                   mb_real *restrict v, const mb_adamw_factors *factors) {
    const mb_adamw_factors c = *factors;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const mb_real grad = g[i] * c.scale;
        g[i] = 0;
        mb_adamw_element(&w[i], grad, &m[i], &v[i], &c);
    }
}

/* The same with one second moment for each of `n_rows` rows, that of the mean of g^2 (Zhang et al. 2024, "Adam-mini", where an
 * embedding's rows are its blocks). v: (n_rows). */
static inline void mb_adamw_update_rows(int64_t n_rows, int64_t width, mb_real *restrict w, mb_real *restrict g,
                                        mb_real *restrict m, mb_real *restrict v, const mb_adamw_factors *factors) {
    const mb_adamw_factors c = *factors;
    for (int64_t row = 0; row < n_rows; row++) {
        mb_real *restrict weights = w + row * width, *restrict grads = g + row * width, *restrict moments = m + row * width;
        const mb_real mean_square = c.scale * c.scale * mb_sum_of_squares(grads, width, 0) / (mb_real)width;
        v[row] = c.beta2 * v[row] + (1 - c.beta2) * mean_square;
        const mb_real root = mb_adamw_root(v[row], &c);
#pragma omp simd
        for (int64_t i = 0; i < width; i++) {
            mb_adamw_step(&weights[i], grads[i] * c.scale, &moments[i], root, &c);
            grads[i] = 0;
        }
    }
}

#endif
