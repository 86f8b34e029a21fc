#include <stdlib.h>

#include "base/memory.h"
#include "model/layers.h"
#include "tensor/gemm_bf16.h"

void mb_model_drop_packed(mb_model *model) {
    free(model->packed);
    free(model->packed_memory);
    model->packed = NULL;
    model->packed_memory = NULL;
    model->dtype = MB_REAL_DTYPE;
}

/* Of the weight W (O,I): W^T and, for backward, W. */
static int64_t forward_count(const mb_tensor *weight) {
    return mb_bf16_packed_count(weight->dims[1], weight->dims[0]);
}
static int64_t backward_count(const mb_tensor *weight) {
    return mb_bf16_packed_count(weight->dims[0], weight->dims[1]);
}

/* The padding of a packed factor is zeros that packing writes; untouched memory costs nothing until then. */
static mb_status allocate(mb_model *model, bool trainable, mb_error *error) {
    const mb_params *params = &model->params;
    int64_t count = 0;
    for (size_t i = 0; i < params->n_views; i++) {
        const mb_tensor *weight = &model->tensors[i];
        count += params->views[i].multiplies ? forward_count(weight) + (trainable ? backward_count(weight) : 0) : 0;
    }
    model->packed = calloc(params->n_views + 1, sizeof *model->packed);
    model->packed_memory = mb_memory_alloc((size_t)count * sizeof *model->packed_memory);
    if (!model->packed || !model->packed_memory) {
        mb_model_drop_packed(model);
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory: the bf16 copies of the weights need %.1f MB",
                       (double)count * (double)sizeof *model->packed_memory / 1e6);
    }
    const mb_bf16 *at = model->packed_memory;
    for (size_t i = 0; i < params->n_views; i++) {
        const mb_tensor *weight = &model->tensors[i];
        if (params->views[i].multiplies) {
            model->packed[i].forward = at;
            at += forward_count(weight);
            model->packed[i].backward = trainable ? at : NULL;
            at += trainable ? backward_count(weight) : 0;
        }
    }
    return MB_OK;
}

mb_status mb_model_set_dtype(mb_model *model, mb_dtype dtype, bool trainable, mb_error *error) {
    mb_model_drop_packed(model);
    if (dtype == MB_BF16) {
        const mb_status status = allocate(model, trainable, error);
        if (status != MB_OK) {
            return status;
        }
        model->dtype = MB_BF16;
    }
    mb_model_bind_tensors(model);
    mb_model_pack_weights(model);
    return MB_OK;
}

bool mb_model_is_packed(const mb_model *model) {
    return model->packed != NULL;
}

enum { BLOCK = MB_BF16_BLOCK, PACKED_COLUMNS = 256 };

/* Rows [row, row + n_rows) of a weight, `row` a multiple of 32 and n_rows at most that, to both its copies: they are read from
 * memory and rounded once. */
static void pack_rows(const mb_tensor *weight, int64_t row, int64_t n_rows) {
    const int64_t in = weight->dims[1], depth = mb_bf16_padded(in);
    mb_bf16 rounded[BLOCK * PACKED_COLUMNS];
    for (int64_t column = 0; column < in; column += PACKED_COLUMNS) {
        const int64_t n = in - column < PACKED_COLUMNS ? in - column : PACKED_COLUMNS;
        for (int64_t i = 0; i < n_rows; i++) {
            mb_bf16_write(mb_tensor_real(weight) + (row + i) * in + column, n, rounded + i * PACKED_COLUMNS);
        }
        const mb_bf16_factor rows = {.data = rounded, .stride = PACKED_COLUMNS, .read_later = true};
        mb_bf16_factor columns = rows; /* of W^T */
        columns.transposed = true;
        if (weight->packed->backward) {
            const int64_t backward_depth = mb_bf16_padded(weight->dims[0]);
            mb_bf16_pack(&rows, n_rows, n, backward_depth,
                         (mb_bf16 *)(uintptr_t)(weight->packed->backward + column * backward_depth + row * BLOCK));
        }
        mb_bf16_pack(&columns, n, n_rows, depth,
                     (mb_bf16 *)(uintptr_t)(weight->packed->forward + row * depth + column * BLOCK));
    }
}

void mb_model_pack_weights(mb_model *model) {
#pragma omp parallel
    for (size_t i = 0; model->packed && i < model->params.n_views; i++) {
        const mb_tensor *weight = &model->tensors[i];
        const int64_t n_rows = weight->packed ? weight->dims[0] : 0;
#pragma omp for schedule(static) nowait
        for (int64_t row = 0; row < n_rows; row += BLOCK) {
            pack_rows(weight, row, n_rows - row < BLOCK ? n_rows - row : BLOCK);
        }
    }
}
