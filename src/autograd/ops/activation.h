/* Activations and their derivatives at one pre-activation; private to the ops. */
#ifndef MB_AUTOGRAD_OPS_ACTIVATION_H
#define MB_AUTOGRAD_OPS_ACTIVATION_H

#include "autograd/ops.h"
#include "base/specialized.h"
#include "tensor/vmath.h"

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

static inline mb_real mb_identity(mb_real x, mb_real *derivative) {
    *derivative = 1;
    return x;
}

/* Where `activation` is a constant to the compiler a loop over this is one of its own for each. */
static inline mb_real mb_activation_at(mb_activation activation, mb_real x, mb_real *derivative) {
    return activation == MB_ACTIVATION_GELU        ? mb_gelu(x, derivative)
           : activation == MB_ACTIVATION_GELU_TANH ? mb_gelu_tanh(x, derivative)
           : activation == MB_ACTIVATION_RELU      ? mb_relu(x, derivative)
           : activation == MB_ACTIVATION_TANH      ? mb_tanh_activation(x, derivative)
                                                   : mb_identity(x, derivative);
}

/* Calls function(activation, ...) with each activation as a constant. */
#define MB_FOR_ACTIVATION(function, activation, ...)    \
    switch (activation) {                               \
    case MB_ACTIVATION_GELU:                            \
        function(MB_ACTIVATION_GELU, __VA_ARGS__);      \
        break;                                          \
    case MB_ACTIVATION_GELU_TANH:                       \
        function(MB_ACTIVATION_GELU_TANH, __VA_ARGS__); \
        break;                                          \
    case MB_ACTIVATION_RELU:                            \
        function(MB_ACTIVATION_RELU, __VA_ARGS__);      \
        break;                                          \
    case MB_ACTIVATION_TANH:                            \
        function(MB_ACTIVATION_TANH, __VA_ARGS__);      \
        break;                                          \
    case MB_ACTIVATION_IDENTITY:                        \
        function(MB_ACTIVATION_IDENTITY, __VA_ARGS__);  \
        break;                                          \
    }

#endif
