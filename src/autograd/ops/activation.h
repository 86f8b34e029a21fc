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

/* The same for results that are rounded to bf16, in a third of the operations: Phi(x) = 1/2 + t P(t^2), and the derivative
 * 1/2 + t Q(t^2), t being x but no further from 0 than where the polynomials reach 0 and 1. Largest error 9e-5 of the value,
 * 3e-4 of the derivative (linear programming over [0, 4.2] and [0, 4.3]); bf16 rounds by as much from 0.04 and 0.1 on. */
static inline mb_real mb_gelu_bf16(mb_real x, mb_real *derivative) {
    const mb_real far = MB_REAL_C(4.2), slope_far = MB_REAL_C(4.3), half = MB_REAL_C(0.5);
    const mb_real a = mb_abs(x), t = mb_copysign(a > far ? far : a, x), u = mb_copysign(a > slope_far ? slope_far : a, x);
    const mb_real s = t * t, s2 = s * s, v = u * u, v2 = v * v;
    const mb_real p_low = (MB_REAL_C(-6.552820447e-2) * s + MB_REAL_C(3.984658746e-1)) +
                          (MB_REAL_C(-9.506577861e-4) * s + MB_REAL_C(9.298230504e-3)) * s2;
    const mb_real p_high = (MB_REAL_C(-3.037934171e-6) * s + MB_REAL_C(6.689073223e-5)) +
                           (MB_REAL_C(-9.017546529e-10) * s + MB_REAL_C(7.941349020e-8)) * s2;
    const mb_real q_low = (MB_REAL_C(-2.634089761e-1) * v + MB_REAL_C(7.971609687e-1)) +
                          (MB_REAL_C(-8.201268048e-3) * v + MB_REAL_C(5.717255323e-2)) * v2;
    const mb_real q_high = (MB_REAL_C(-5.207458553e-5) * v + MB_REAL_C(7.987812857e-4)) +
                           ((MB_REAL_C(5.309408662e-10) * v2 - MB_REAL_C(5.141967272e-8) * v) + MB_REAL_C(2.162245669e-6)) * v2;
    *derivative = half + u * (q_high * (v2 * v2) + q_low);
    return x * (half + t * (p_high * (s2 * s2) + p_low));
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

/* `rounds`: both results are rounded to bf16. Where `activation` and `rounds` are constants to the compiler a loop over this is
 * one of its own for each. */
static inline mb_real mb_activation_at(mb_activation activation, bool rounds, mb_real x, mb_real *derivative) {
    return activation == MB_ACTIVATION_GELU        ? (rounds ? mb_gelu_bf16 : mb_gelu)(x, derivative)
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
