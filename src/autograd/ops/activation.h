/* Activations and their derivatives at one pre-activation; private to the ops. */
#ifndef MB_AUTOGRAD_OPS_ACTIVATION_H
#define MB_AUTOGRAD_OPS_ACTIVATION_H

#include "autograd/ops.h"
#include "tensor/vmath.h"

/* y = f(y) for n numbers; `derivative` takes f'(y) unless it is NULL. Nothing to do for the identity. */
void mb_activate(mb_activation activation, mb_real *restrict y, mb_real *restrict derivative, int64_t n);

/* x Phi(x); derivative Phi(x) + x phi(x). Hendrycks & Gimpel 2016, section 2. */
static inline mb_real mb_gelu(mb_real x, mb_real *derivative) {
    mb_real density, cdf = mb_normal_cdf(x, &density);
    *derivative = cdf + x * density;
    return x * cdf;
}

/* x (1 + tanh u) / 2 with u = sqrt(2/pi) (x + 0.044715 x^3): the approximation of the same paper. */
static inline mb_real mb_gelu_tanh(mb_real x, mb_real *derivative) {
    const mb_real c = MB_REAL_C(0.7978845608028654), cubic = MB_REAL_C(0.044715), half = MB_REAL_C(0.5);
    mb_real t = mb_tanh(c * (x + cubic * x * x * x));
    *derivative = half * (1 + t) + half * x * (1 - t * t) * c * (1 + 3 * cubic * x * x);
    return half * x * (1 + t);
}

static inline mb_real mb_relu(mb_real x, mb_real *derivative) {
    *derivative = x > 0 ? 1 : 0;
    return x > 0 ? x : 0;
}

static inline mb_real mb_tanh_activation(mb_real x, mb_real *derivative) {
    mb_real t = mb_tanh(x);
    *derivative = 1 - t * t;
    return t;
}

#endif
