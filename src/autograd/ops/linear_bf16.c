#include "autograd/ops/linear_bf16.h"

#include "autograd/ops/activation.h"
#include "autograd/ops/block_sums.h"
#include "autograd/ops/packed_weight.h"
#include "base/specialized.h"
#include "tensor/stream.h"

enum { BLOCK = MB_BF16_BLOCK, ROW_BLOCK = 128 };

/* --- forward: bias and activation on each block of sums while it is in cache --- */

typedef struct forward_context {
    mb_activation activation;
    const mb_real *bias;
    mb_bf16 *y, *derivative;
    int64_t width;
} forward_context;

/* n: n_columns, and where they are a whole block a constant to the compiler, as `activation` and `trains` are. From the sums to
 * what is stored a row stays in registers: by way of a block of z and one of f'(z) a mini's first feed-forward product took a
 * quarter more. */
MB_SPECIALIZED void finish_columns(mb_activation activation, bool trains, const forward_context *c, const float *sums,
                                   int64_t row, int64_t n_rows, int64_t column, int64_t n) {
    mb_real bias[BLOCK] = {0};
    if (c->bias != NULL) {
        memcpy(bias, c->bias + column, (size_t)n * sizeof *bias);
    }
    for (int64_t i = 0; i < n_rows; i++) {
        mb_real y[BLOCK], derivative[BLOCK];
#pragma omp simd
        for (int64_t j = 0; j < BLOCK; j++) {
            mb_real slope;
            y[j] = mb_activation_at(activation, true, (mb_real)sums[i * BLOCK + j] + bias[j], &slope);
            derivative[j] = slope;
        }
        const int64_t at = (row + i) * c->width + column;
        mb_prefetch_write(c->y + at + BLOCK, BLOCK * sizeof *c->y); /* of the next block */
        mb_bf16_write(y, n, c->y + at);
        if (trains) {
            mb_bf16 rounded[BLOCK];
            mb_bf16_write(derivative, n, rounded);
            mb_stream_copy(c->derivative + at, rounded, (size_t)n * sizeof *rounded);
        }
    }
}

MB_SPECIALIZED void finish_activation(mb_activation activation, const forward_context *c, const float *sums, int64_t row,
                                      int64_t n_rows, int64_t column, int64_t n_columns) {
    if (c->derivative != NULL) {
        MB_FOR_WHOLE(finish_columns, BLOCK, n_columns, activation, true, c, sums, row, n_rows, column);
    } else {
        MB_FOR_WHOLE(finish_columns, BLOCK, n_columns, activation, false, c, sums, row, n_rows, column);
    }
}

static void finish_block(void *context, const float *sums, int64_t row, int64_t n_rows, int64_t column, int64_t n_columns) {
    const forward_context *c = context;
    MB_FOR_ACTIVATION(finish_activation, c->activation, c, sums, row, n_rows, column, n_columns)
}

void mb_linear_bf16_forward(mb_tape *tape, const mb_tensor *x, const mb_tensor *weight, const mb_tensor *bias,
                            mb_activation activation, mb_tensor *y, uint16_t *derivative) {
    const int64_t n_rows = x->dims[0], in = weight->dims[1], out = weight->dims[0];
    const mb_bf16_packed packed = mb_packed_forward(tape, weight);
    if (packed.data == NULL) {
        return;
    }
    const mb_bf16_factor a = {.data = x->data, .stride = in, .is_padded = x->is_padded && in == mb_bf16_padded(in)};
    const mb_real *b = bias == NULL ? NULL : mb_tensor_real(bias);
    if (activation == MB_ACTIVATION_IDENTITY) {
        mb_bf16_store store = {.c = y->data, .stride = out, .alpha = 1, .bias = b};
        mb_bf16_gemm_parallel(n_rows, out, in, &a, packed, mb_bf16_to_bf16(&store));
        return;
    }
    forward_context context = {activation, b, y->data, derivative, out};
    mb_bf16_gemm_parallel(n_rows, out, in, &a, packed, (mb_bf16_output){finish_block, &context, .in_parts = true});
}

/* --- backward --- */

/* n numbers of a row of dz = dy f'(z), in place, added to the sums of its columns (as rounded: they are what dx and dW see). */
MB_SPECIALIZED void prepare_part(mb_bf16 *dz, const mb_bf16 *derivative, mb_real *sums, int64_t n) {
    mb_real part[BLOCK], slope[BLOCK];
    if (derivative != NULL) {
        mb_bf16_read(dz, n, part);
        mb_bf16_read(derivative, n, slope);
        for (int64_t j = 0; j < n; j++) {
            part[j] *= slope[j];
        }
        mb_bf16_write(part, n, dz);
    }
    for (int64_t j = 0; sums != NULL && j < n; j++) {
        sums[j] += (mb_real)mb_bf16_to_float(dz[j]);
    }
}

/* Row by row: panel by panel the rows' lines would come one by one from memory (dz of 4096 x 1024: twice the time). */
static void prepare_rows(mb_bf16 *dz, const mb_bf16 *derivative, int64_t n_rows, int64_t width, mb_real *sums) {
    if (sums != NULL) {
        memset(sums, 0, (size_t)width * sizeof *sums);
    }
    for (int64_t i = 0; i < n_rows && (derivative != NULL || sums != NULL); i++) {
        for (int64_t column = 0; column < width; column += BLOCK) {
            const int64_t at = i * width + column;
            const mb_bf16 *slope = derivative == NULL ? NULL : derivative + at;
            mb_real *sum = sums == NULL ? NULL : sums + column;
            const int64_t n = width - column < BLOCK ? width - column : BLOCK;
            MB_FOR_WHOLE(prepare_part, BLOCK, n, dz + at, slope, sum);
        }
    }
}

typedef struct backward_context {
    int64_t in, out, depth; /* depth: the distance of panels of rows, in rows */
    const mb_bf16 *x, *derivative;
    mb_bf16 *dz, *dx;
    mb_real x_beta;
    mb_bf16_packed weight;
    /* The factors of dW = dz^T x, or where x is the narrower of the two and less work to turn, of dW^T = x^T dz; NULL: no dW.
     */
    mb_bf16 *turned, *packed;
    bool turns_x;
    mb_real *block_sums;
} backward_context;

/* Everything that reads these rows of dz reads them here, out of the cache. */
static void backward_block(const backward_context *c, int64_t row, int64_t n_rows) {
    mb_bf16 *dz = c->dz + row * c->out;
    prepare_rows(dz, c->derivative == NULL ? NULL : c->derivative + row * c->out, n_rows, c->out,
                 c->block_sums == NULL ? NULL : c->block_sums + row / ROW_BLOCK * c->out);
    if (c->dx != NULL) { /* z = x W^T */
        const mb_bf16_factor a = {.data = dz, .stride = c->out};
        mb_bf16_store store = {.c = c->dx + row * c->in, .stride = c->in, .alpha = 1, .beta = (float)c->x_beta};
        mb_bf16_gemm(n_rows, c->in, c->out, &a, c->weight, mb_bf16_to_bf16(&store));
    }
    if (c->turned != NULL) {
        const mb_bf16_factor x = {.data = c->x + row * c->in, .stride = c->in}, dz_rows = {.data = dz, .stride = c->out};
        mb_bf16_factor a = c->turns_x ? x : dz_rows;
        a.transposed = true;
        mb_bf16_tile(&a, a.stride, n_rows, c->depth, c->turned + row * BLOCK);
        const mb_bf16_factor *b = c->turns_x ? &dz_rows : &x;
        mb_bf16_pack(b, n_rows, b->stride, c->depth, c->packed + row * BLOCK);
    }
}

void mb_linear_bf16_backward(mb_tape *tape, mb_node *node, const uint16_t *derivative) {
    mb_tensor *x = node->inputs[0], *weight = node->inputs[1], *bias = node->inputs[2];
    const int64_t n_rows = x->dims[0], in = weight->dims[1], out = weight->dims[0], padded = mb_bf16_padded(n_rows);
    /* Two lines more: panels at a distance of a power of two fall into the same sets of the caches (packing 128 x 1024 numbers:
     * 0.20 cycles each, so 0.14). */
    const int64_t n_blocks = (n_rows + ROW_BLOCK - 1) / ROW_BLOCK, depth = padded + 2;
    mb_real x_beta = 0, weight_beta = 0, bias_beta = 0;
    mb_bf16 *dx = mb_tape_grad(tape, x, &x_beta);
    mb_real *dweight = mb_tape_grad(tape, weight, &weight_beta), *dbias = mb_tape_grad(tape, bias, &bias_beta);
    const mb_arena_mark mark = mb_tape_scratch_mark(tape);
    backward_context c = {.in = in,
                          .out = out,
                          .depth = depth,
                          .x = x->data,
                          .derivative = derivative,
                          .dz = node->output->grad,
                          .dx = dx,
                          .x_beta = x_beta,
                          .turns_x = in < out};
    const int64_t turned_width = c.turns_x ? in : out, packed_width = c.turns_x ? out : in;
    if (dx != NULL) {
        c.weight = mb_packed_backward(tape, weight);
    }
    if (dweight != NULL) {
        c.turned = mb_tape_alloc(tape, (size_t)(mb_bf16_padded(turned_width) * depth), sizeof *c.turned);
        c.packed = mb_tape_alloc(tape, (size_t)(mb_bf16_padded(packed_width) * depth), sizeof *c.packed);
    }
    if (dbias != NULL) {
        c.block_sums = mb_tape_alloc(tape, (size_t)(n_blocks * out), sizeof *c.block_sums);
    }
    if (mb_tape_status(tape) != MB_OK) {
        return;
    }
#pragma omp parallel for schedule(dynamic)
    for (int64_t row = 0; row < n_rows; row += ROW_BLOCK) {
        backward_block(&c, row, n_rows - row < ROW_BLOCK ? n_rows - row : ROW_BLOCK);
    }
    mb_add_block_sums(dbias, bias_beta, c.block_sums, n_blocks, out, out);
    if (dweight != NULL) {
        const mb_bf16_factor a = {.data = c.turned, .stride = depth, .tiled = true};
        mb_bf16_store store = {.c = dweight, .stride = in, .alpha = 1, .beta = (float)weight_beta};
        mb_bf16_gemm_parallel(turned_width, packed_width, padded, &a, (mb_bf16_packed){c.packed, depth},
                              c.turns_x ? mb_bf16_to_real_transposed(&store) : mb_bf16_to_real(&store));
    }
    mb_tape_scratch_drop(tape, mark);
}
