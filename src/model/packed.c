#include <stdlib.h>

#include "base/memory.h"
#include "model/layers.h"
#include "tensor/gemm_bf16.h"
#include "tensor/gemm_packed.h"

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

/* In fp32 W^T alone. */
static int64_t real_count(const mb_tensor *weight) {
    return mb_packed_count(weight->dims[1], weight->dims[0]);
}

static size_t bytes_of(const mb_tensor *weight, mb_dtype dtype, bool trainable) {
    return dtype == MB_BF16 ? (size_t)(forward_count(weight) + (trainable ? backward_count(weight) : 0)) * sizeof(mb_bf16)
                            : (size_t)real_count(weight) * sizeof(mb_real);
}

/* The padding of a packed factor is zeros that packing writes; untouched memory costs nothing until then. */
static mb_status allocate(mb_model *model, mb_dtype dtype, bool trainable, mb_error *error) {
    const mb_params *params = &model->params;
    size_t n_bytes = 0;
    for (size_t i = 0; i < params->n_views; i++) {
        n_bytes += params->views[i].multiplies ? bytes_of(&model->tensors[i], dtype, trainable) : 0;
    }
    model->packed = calloc(params->n_views + 1, sizeof *model->packed);
    model->packed_memory = mb_memory_alloc(n_bytes);
    if (!model->packed || !model->packed_memory) {
        mb_model_drop_packed(model);
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory: the packed copies of the weights need %.1f MB",
                       (double)n_bytes / 1e6);
    }
    const unsigned char *at = model->packed_memory;
    for (size_t i = 0; i < params->n_views; i++) {
        const mb_tensor *weight = &model->tensors[i];
        if (!params->views[i].multiplies) {
            continue;
        }
        if (dtype == MB_BF16) {
            const mb_bf16 *forward = (const mb_bf16 *)(const void *)at;
            model->packed[i] =
                (mb_packed_weight){.forward = forward, .backward = trainable ? forward + forward_count(weight) : NULL};
        } else {
            model->packed[i].forward_real = (const mb_real *)(const void *)at;
        }
        at += bytes_of(weight, dtype, trainable);
    }
    return MB_OK;
}

mb_status mb_model_set_dtype(mb_model *model, mb_dtype dtype, bool trainable, mb_error *error) {
    mb_model_drop_packed(model);
    if (dtype == MB_BF16 || !trainable) {
        const mb_status status = allocate(model, dtype, trainable, error);
        if (status != MB_OK) {
            return status;
        }
        model->dtype = dtype;
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

static void pack_real_weights(mb_model *model) {
    for (size_t i = 0; i < model->params.n_views; i++) {
        const mb_tensor *weight = &model->tensors[i];
        if (weight->packed) {
            mb_pack_parallel(true, weight->dims[1], weight->dims[0], mb_tensor_real(weight), weight->dims[1],
                             (mb_real *)(uintptr_t)weight->packed->forward_real);
        }
    }
}

void mb_model_pack_weights(mb_model *model) {
    if (model->packed && model->dtype != MB_BF16) {
        pack_real_weights(model);
        return;
    }
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
