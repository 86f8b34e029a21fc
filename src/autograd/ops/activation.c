#include "autograd/ops/activation.h"

#define ACTIVATE_ROW(f)                                   \
    _Pragma("omp simd") for (int64_t j = 0; j < n; j++) { \
        mb_real slope;                                    \
        y[j] = f(y[j], &slope);                           \
        if (derivative != NULL) {                         \
            derivative[j] = slope;                        \
        }                                                 \
    }

void mb_activate(mb_activation activation, mb_real *restrict y, mb_real *restrict derivative, int64_t n) {
    switch (activation) {
    case MB_ACTIVATION_GELU:
        ACTIVATE_ROW(mb_gelu)
        break;
    case MB_ACTIVATION_GELU_TANH:
        ACTIVATE_ROW(mb_gelu_tanh)
        break;
    case MB_ACTIVATION_RELU:
        ACTIVATE_ROW(mb_relu)
        break;
    case MB_ACTIVATION_TANH:
        ACTIVATE_ROW(mb_tanh_activation)
        break;
    case MB_ACTIVATION_IDENTITY:
        break;
    }
}
