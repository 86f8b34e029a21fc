/* One element of AdamW, for the two that update elements: optimizer.c and row_updates.c. */
#ifndef MB_TRAIN_ADAMW_H
#define MB_TRAIN_ADAMW_H

#include <math.h>

#include "tensor/tensor.h"

/* What an update multiplies by, rounded once. */
typedef struct mb_adamw_factors {
    mb_real scale, decay, beta1, beta2, step_size, inverse_correction2, epsilon;
} mb_adamw_factors;

/* Loshchilov & Hutter 2019, Algorithm 2, with the bias corrections folded in as PyTorch does:
 *   m = beta1 m + (1 - beta1) g              v = beta2 v + (1 - beta2) g^2
 *   w = (1 - lr lambda) w - lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon) */
static inline void mb_adamw_element(mb_real *w, mb_real grad, mb_real *m, mb_real *v, const mb_adamw_factors *c) {
    *m += (1 - c->beta1) * (grad - *m);
    *v = c->beta2 * *v + (1 - c->beta2) * grad * grad;
    *w = *w * c->decay - c->step_size * *m / (sqrtf(*v) * c->inverse_correction2 + c->epsilon);
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

#endif
