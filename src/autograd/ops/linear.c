#include "autograd/ops.h"
#include "autograd/ops/activation.h"
#include "autograd/ops/block_sums.h"
#include "autograd/ops/linear_bf16.h"
#include "tensor/gemm_packed.h"
#include "tensor/stream.h"

/* y = f(x W^T + b), f the identity or an activation.
 *
 *   z  = x W^T + b          dz = dy f'(z)        (f'(z) is saved by forward: it shares the exponential with f)
 *   y  = f(z)               dx = dz W     dW = dz^T x     db = sum over rows of dz
 */

typedef struct linear_saved {
    mb_activation activation;
    void *derivative; /* (N,O) f'(z) in the dtype of y; NULL for the identity */
} linear_saved;

/* --- forward: the activation on each finished strip of z --- */

typedef struct strip_context {
    mb_activation activation;
    mb_real *y, *derivative; /* derivative NULL: inference */
    int64_t width;
} strip_context;

/* In training y and f'(z) are larger than the caches, and the product slows down where it makes room for them: past the caches
 * the first of the two products of a mini's feed-forward takes 12.8 ms in place of 14.6. */
MB_SPECIALIZED void activate_rows(mb_activation activation, const strip_context *strip, mb_real *z, int64_t row, int64_t n_rows,
                                  int64_t column, int64_t n_columns) {
    const size_t n_bytes = (size_t)n_columns * sizeof *z;
    const bool direct = strip->derivative == NULL && n_columns == MB_PANEL;
    for (int64_t i = 0; i < n_rows; i++) {
        const int64_t at = (row + i) * strip->width + column;
        const mb_real *restrict from = z + i * MB_PANEL;
        mb_real values[MB_PANEL], derivative[MB_PANEL];
        mb_real *restrict y = direct ? strip->y + at : values;
#pragma omp simd
        for (int64_t j = 0; j < MB_PANEL; j++) {
            mb_real slope;
            y[j] = mb_activation_at(activation, false, from[j], &slope);
            derivative[j] = slope;
        }
        if (strip->derivative != NULL) {
            mb_stream_copy(strip->derivative + at, derivative, n_bytes);
            mb_stream_copy(strip->y + at, y, n_bytes);
        } else if (!direct) {
            memcpy(strip->y + at, y, n_bytes);
        }
    }
}

static void activate_strip(void *context, mb_real *z, int64_t row, int64_t n_rows, int64_t column, int64_t n_columns) {
    const strip_context *strip = context;
    MB_FOR_ACTIVATION(activate_rows, strip->activation, strip, z, row, n_rows, column, n_columns)
}

/* --- backward --- */

/* A multiple of the strips of a product; and strips whose distance is no power of two, which would fall into the same sets of
 * the caches. */
enum { ROW_BLOCK = 120, STRIPS_APART = 4 };

static void multiply(mb_real *restrict x, const mb_real *restrict factor, int64_t n) {
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
        x[j] *= factor[j];
    }
}

/* Column sums of rows [row, row + n_rows) into `sums`. */
static void sum_columns(const mb_real *rows, int64_t n_rows, int64_t width, mb_real *restrict sums) {
    for (int64_t j = 0; j < width; j++) {
        sums[j] = 0;
    }
    for (int64_t i = 0; i < n_rows; i++) {
        const mb_real *restrict row = rows + i * width;
#pragma omp simd
        for (int64_t j = 0; j < width; j++) {
            sums[j] += row[j];
        }
    }
}

static void linear_backward(mb_tape *tape, mb_node *node) {
    const linear_saved *saved = node->saved;
    if (node->output->dtype == MB_BF16) {
        mb_linear_bf16_backward(tape, node, saved->derivative);
        return;
    }
    mb_tensor *x = node->inputs[0], *weight = node->inputs[1], *bias = node->inputs[2];
    const mb_real *derivative = saved->derivative;
    int64_t n_rows = x->dims[0], in = weight->dims[1], out = weight->dims[0];
    int64_t n_blocks = (n_rows + ROW_BLOCK - 1) / ROW_BLOCK;
    mb_real x_beta, weight_beta, bias_beta = 0;
    mb_real *dx = mb_tape_grad(tape, x, &x_beta);
    mb_real *dweight = mb_tape_grad(tape, weight, &weight_beta);
    mb_real *dbias = mb_tape_grad(tape, bias, &bias_beta);
    const mb_arena_mark mark = mb_tape_scratch_mark(tape);
    const int64_t packed_count = dx == NULL ? 0 : mb_packed_count(out, in), packed_rows = mb_packed_count(n_rows, in);
    const int64_t depth = n_rows + STRIPS_APART;
    mb_real *block_sums = mb_tape_alloc(tape, (size_t)(n_blocks * out), sizeof *block_sums);
    mb_real *turned = dweight == NULL ? NULL : mb_tape_alloc(tape, (size_t)mb_strips_count(out, depth), sizeof *turned);
    mb_real *packed = mb_tape_alloc(tape, (size_t)(packed_count > packed_rows ? packed_count : packed_rows), sizeof *packed);
    if (mb_tape_status(tape) != MB_OK) {
        return;
    }
    if (dx != NULL) {
        mb_pack_parallel(false, out, in, mb_tensor_real(weight), in, packed);
    }
    mb_real *dz = node->output->grad; /* ours alone and not needed after this: becomes dz in place */
#pragma omp parallel for schedule(dynamic)
    for (int64_t block = 0; block < n_blocks; block++) {
        int64_t row = block * ROW_BLOCK, rows = n_rows - row < ROW_BLOCK ? n_rows - row : ROW_BLOCK;
        if (derivative != NULL) { /* y = f(z) */
            multiply(dz + row * out, derivative + row * out, rows * out);
        }
        if (dbias != NULL) { /* z = ... + b */
            sum_columns(dz + row * out, rows, out, block_sums + block * out);
        }
        if (dx != NULL) { /* z = x W^T */
            mb_packed_gemm(rows, in, out, mb_left_rows(dz + row * out, out), packed,
                           mb_to_rows(dx + row * in, in, x_beta != 0));
        }
        if (turned != NULL) {
            mb_pack_strips(rows, out, dz + row * out, out, depth, turned + row * MB_STRIP);
        }
    }
    mb_add_block_sums(dbias, bias_beta, block_sums, n_blocks, out, out);
    if (turned != NULL) {
        mb_pack_parallel(false, n_rows, in, mb_tensor_real(x), in, packed);
        mb_packed_gemm_parallel(out, in, n_rows, mb_left_strips(turned, depth), packed,
                                mb_to_rows(dweight, in, weight_beta != 0));
    }
    mb_tape_scratch_drop(tape, mark);
}

static const mb_op linear_op = {"linear", linear_backward};

mb_tensor *mb_linear_activation(mb_tape *tape, mb_tensor *x, mb_tensor *weight, mb_tensor *bias, mb_activation activation) {
    if (mb_tape_status(tape) != MB_OK) {
        return NULL;
    }
    MB_SHAPE_CHECK(x->n_dims == 2 && x->dims[1] == weight->dims[1], "linear", x, weight);
    MB_SHAPE_CHECK(bias == NULL || bias->dims[0] == weight->dims[0], "linear", weight, bias);
    int64_t n_rows = x->dims[0], in = weight->dims[1], out = weight->dims[0];
    mb_tensor *y = mb_tape_tensor(tape, 2, (int64_t[]){n_rows, out});
    if (y == NULL) {
        return NULL;
    }
    MB_SHAPE_CHECK(x->dtype == y->dtype, "linear", x, y);
    void *derivative = NULL;
    mb_node *node = mb_tape_append(tape, &linear_op, y, (mb_tensor *[]){x, weight, bias}, 3);
    if (node != NULL) {
        if (activation != MB_ACTIVATION_IDENTITY) {
            derivative = mb_tape_alloc(tape, (size_t)(n_rows * out), mb_dtype_size(y->dtype));
        }
        linear_saved *saved = mb_tape_alloc(tape, 1, sizeof *saved);
        if (saved == NULL) {
            return NULL;
        }
        *saved = (linear_saved){activation, derivative};
        node->saved = saved;
    }
    if (mb_tape_status(tape) != MB_OK) {
        return NULL;
    }
    if (y->dtype == MB_BF16) {
        mb_linear_bf16_forward(tape, x, weight, bias, activation, y, derivative);
        return mb_tape_end(tape, node, y);
    }
    const mb_arena_mark mark = mb_tape_scratch_mark(tape);
    const mb_real *packed = weight->packed != NULL ? weight->packed->forward_real : NULL;
    if (packed == NULL) {
        mb_real *now = mb_tape_alloc(tape, (size_t)mb_packed_count(in, out), sizeof *now);
        if (now == NULL) {
            return NULL;
        }
        mb_pack_parallel(true, in, out, mb_tensor_real(weight), in, now);
        packed = now;
    }
    strip_context strip = {activation, mb_tensor_real(y), derivative, out};
    mb_product_target target = mb_to_rows(mb_tensor_real(y), out, false);
    target.bias = bias == NULL ? NULL : mb_tensor_real(bias);
    target.finish = activation == MB_ACTIVATION_IDENTITY ? NULL : activate_strip;
    target.context = &strip;
    mb_packed_gemm_parallel(n_rows, out, in, mb_left_rows(mb_tensor_real(x), in), packed, target);
    mb_tape_scratch_drop(tape, mark);
    return mb_tape_end(tape, node, y);
}

mb_tensor *mb_linear(mb_tape *tape, mb_tensor *x, mb_tensor *weight, mb_tensor *bias) {
    return mb_linear_activation(tape, x, weight, bias, MB_ACTIVATION_IDENTITY);
}
