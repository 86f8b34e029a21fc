/* A weight (O,I) as the second factor of a bf16 product. */
#ifndef MB_AUTOGRAD_PACKED_WEIGHT_H
#define MB_AUTOGRAD_PACKED_WEIGHT_H

#include "autograd/tape.h"
#include "tensor/gemm_bf16.h"

/* W^T (I,O), of x W^T, and W (O,I), of dy W: what the weight carries, else packed now, in the tape's arena. data NULL without
 * memory. */
mb_bf16_packed mb_packed_forward(mb_tape *tape, const mb_tensor *weight);
mb_bf16_packed mb_packed_backward(mb_tape *tape, const mb_tensor *weight);

#endif
