/* The linear op on a tape of bf16 activations; linear.c is its fp32 form and says what is computed. */
#ifndef MB_AUTOGRAD_LINEAR_BF16_H
#define MB_AUTOGRAD_LINEAR_BF16_H

#include "autograd/ops.h"

/* y = f(x W^T + b); `derivative` (N,O) takes f'(z) unless it is NULL. */
void mb_linear_bf16_forward(mb_tape *tape, const mb_tensor *x, const mb_tensor *weight, const mb_tensor *bias,
                            mb_activation activation, mb_tensor *y, uint16_t *derivative);
void mb_linear_bf16_backward(mb_tape *tape, mb_node *node, const uint16_t *derivative);

#endif
