#include "autograd/ops.h"
#include "autograd/ops/activation.h"
#include "tensor/dropout_mask.h"
#include "tensor/rows.h"

/* Gated linear units (Shazeer 2020, "GLU Variants Improve Transformer", equation 5): the halves of z = x W^T are left and
 * right,
 *
 *   y = dropout(f(left) right)        d = mask * dy        dleft = d right f'(left)        dright = d f(left)
 *
 * f(left) and f'(left) share an exponential and are computed again in backward: cheaper than to store and read them. */

typedef struct gated_saved {
    mb_activation activation;
    mb_dropout_site site;
    bool drops;
} gated_saved;

MB_SPECIALIZED void gate_row(mb_activation activation, bool rounds, const mb_real *restrict left, const mb_real *restrict right,
                             mb_real *restrict y, int64_t n) {
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
        mb_real slope;
        y[j] = mb_activation_at(activation, rounds, left[j], &slope) * right[j];
    }
}

MB_SPECIALIZED void gate_row_backward(mb_activation activation, bool rounds, const mb_real *restrict left,
                                      const mb_real *restrict right, const mb_real *restrict d, mb_real *restrict dleft,
                                      mb_real *restrict dright, int64_t n) {
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
        mb_real slope;
        const mb_real value = mb_activation_at(activation, rounds, left[j], &slope);
        dleft[j] = d[j] * right[j] * slope;
        dright[j] = d[j] * value;
    }
}

static void gate(mb_activation activation, bool rounds, const mb_real *z, mb_real *y, int64_t n) {
    if (rounds) {
        MB_FOR_ACTIVATION(gate_row, activation, true, z, z + n, y, n)
    } else {
        MB_FOR_ACTIVATION(gate_row, activation, false, z, z + n, y, n)
    }
}

static void gate_backward(mb_activation activation, bool rounds, const mb_real *z, const mb_real *d, mb_real *dz, int64_t n) {
    if (rounds) {
        MB_FOR_ACTIVATION(gate_row_backward, activation, true, z, z + n, d, dz, dz + n, n)
    } else {
        MB_FOR_ACTIVATION(gate_row_backward, activation, false, z, z + n, d, dz, dz + n, n)
    }
}

enum { SCRATCH_ROWS = 5 }; /* two of z, one of y, two of dz */

static void gated_activation_backward(mb_tape *tape, mb_node *node) {
    const gated_saved *saved = node->saved;
    mb_tensor *z = node->inputs[0];
    const int64_t n_rows = node->output->dims[0], width = node->output->dims[1];
    mb_real beta;
    const mb_rows z_rows = mb_rows_of(z), dz = mb_rows_over(mb_tape_grad(tape, z, &beta), z->dtype, 2 * width);
    const mb_rows dy = mb_rows_over(node->output->grad, node->output->dtype, width);
    mb_real *scratch = mb_tape_thread_rows(tape, SCRATCH_ROWS, width);
    if (dz.data == NULL || scratch == NULL) {
        return;
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n_rows; i++) {
        mb_real *mine = mb_tape_my_rows(scratch, SCRATCH_ROWS, width), *masked = mine + 2 * width, *dz_row = mine + 3 * width;
        const mb_real *halves = mb_rows_read(&z_rows, i, mine), *d = mb_rows_read(&dy, i, masked);
        if (saved->drops) { /* y = dropout(...) */
            mb_dropout_row(&saved->site, (uint32_t)i, width, d, masked);
            d = masked;
        }
        gate_backward(saved->activation, z->dtype == MB_BF16, halves, d, dz_row, width);
        mb_rows_add(&dz, i, beta, dz_row);
    }
}

static const mb_op gated_activation_op = {"gated_activation", gated_activation_backward};

mb_tensor *mb_gated_activation(mb_tape *tape, mb_tensor *z, mb_activation activation, double dropout) {
    if (mb_tape_status(tape) != MB_OK) {
        return NULL;
    }
    const int64_t n_rows = z->dims[0], width = z->dims[1] / 2;
    MB_SHAPE_CHECK(z->n_dims == 2 && z->dims[1] == 2 * width, "gated_activation", z, z);
    mb_tensor *y = mb_tape_tensor(tape, 2, (int64_t[]){n_rows, width});
    gated_saved *saved = mb_tape_alloc(tape, 1, sizeof *saved);
    if (y == NULL || saved == NULL) {
        return NULL;
    }
    *saved = (gated_saved){.activation = activation, .drops = dropout > 0 && mb_tape_recording(tape)};
    if (saved->drops) {
        saved->site = mb_dropout_site_make(mb_tape_seed(tape), mb_tape_step(tape), mb_tape_next_site(tape), dropout);
    }
    mb_node *node = mb_tape_append(tape, &gated_activation_op, y, &z, 1);
    if (node != NULL) {
        node->saved = saved;
    }
    mb_real *scratch = mb_tape_thread_rows(tape, SCRATCH_ROWS, width);
    if (scratch == NULL) {
        return NULL;
    }
    const mb_rows z_rows = mb_rows_of(z), y_rows = mb_rows_of(y);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n_rows; i++) {
        mb_real *mine = mb_tape_my_rows(scratch, SCRATCH_ROWS, width);
        mb_real *out = mb_rows_place(&y_rows, i, mine + 2 * width);
        gate(activation, z->dtype == MB_BF16, mb_rows_read(&z_rows, i, mine), out, width);
        if (saved->drops) {
            mb_dropout_row(&saved->site, (uint32_t)i, width, out, out);
        }
        mb_rows_put(&y_rows, i, out);
    }
    return mb_tape_end(tape, node, y);
}
