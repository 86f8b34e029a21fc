#include "autograd/ops/packed_weight.h"

static mb_bf16_packed pack_now(mb_tape *tape, const mb_tensor *weight, bool transposed) {
    const int64_t k = weight->dims[transposed], n = weight->dims[!transposed];
    const mb_bf16_factor b = {.data = weight->data, .stride = weight->dims[1], .transposed = transposed, .is_real = true};
    mb_bf16 *packed = mb_tape_alloc(tape, (size_t)mb_bf16_packed_count(k, n), sizeof *packed);
    if (packed != NULL) {
        mb_bf16_pack_parallel(&b, k, n, packed);
    }
    return (mb_bf16_packed){packed, mb_bf16_padded(k)};
}

mb_bf16_packed mb_packed_forward(mb_tape *tape, const mb_tensor *weight) {
    return weight->packed != NULL && weight->packed->forward != NULL
               ? (mb_bf16_packed){weight->packed->forward, mb_bf16_padded(weight->dims[1])}
               : pack_now(tape, weight, true);
}

mb_bf16_packed mb_packed_backward(mb_tape *tape, const mb_tensor *weight) {
    return weight->packed != NULL && weight->packed->backward != NULL
               ? (mb_bf16_packed){weight->packed->backward, mb_bf16_padded(weight->dims[0])}
               : pack_now(tape, weight, false);
}
