#include "autograd/ops.h"

#include <string.h>

#include "autograd/ops/block_sums.h"
#include "tensor/dropout_mask.h"
#include "tensor/rows.h"
#include "tensor/sums.h"
#include "tensor/vmath.h"

/* Residual, dropout and LayerNorm (Ba et al. 2016) in one pass over each row:
 *
 *   z = residual + dropout(x)       xhat = (z - mean) / sqrt(var + epsilon)       y = gamma xhat + beta
 *
 *   g = dy gamma                    dz = rstd (g - mean(g) - xhat mean(g xhat)) [+ the gradient of z, where z is an output too]
 *   dgamma = sum dy xhat            dbeta = sum dy        dresidual = dz          dx = dropout mask * dz
 *
 * Where z is an output, xhat is not kept beside it but computed from it again. */

typedef struct layer_norm_saved {
    mb_rows z;     /* (N,H): xhat, or z where `mean` is not NULL */
    mb_real *mean; /* (N) or NULL */
    mb_real *rstd; /* (N) */
    mb_dropout_site site;
    bool drops;
} layer_norm_saved;

enum { ROW_BLOCK = 64 };

/* Returns 1 / sqrt(var + epsilon). */
static mb_real row_statistics(const mb_real *z, int64_t width, double epsilon, mb_real *mean_out) {
    const mb_real mean = mb_sum(z, width) / (mb_real)width;
    *mean_out = mean;
    return 1 / mb_sqrt(mb_sum_of_squares(z, width, mean) / (mb_real)width + (mb_real)epsilon);
}

/* xhat may be z itself or y; b may be NULL. */
static void normalize_row(const mb_real *z, int64_t width, mb_real mean, mb_real rstd, const mb_real *g, const mb_real *b,
                          mb_real *xhat, mb_real *y) {
    if (b == NULL) {
#pragma omp simd
        for (int64_t j = 0; j < width; j++) {
            const mb_real normalized = (z[j] - mean) * rstd;
            xhat[j] = normalized;
            y[j] = normalized * g[j];
        }
    } else {
#pragma omp simd
        for (int64_t j = 0; j < width; j++) {
            const mb_real normalized = (z[j] - mean) * rstd;
            xhat[j] = normalized;
            y[j] = normalized * g[j] + b[j];
        }
    }
}

/* z = residual + dropout(x) of row i. `residual` may be no matrix. */
static void residual_row(const layer_norm_saved *saved, int64_t i, const mb_rows *x, const mb_rows *residual, mb_real *scratch,
                         mb_real *z) {
    const mb_real *from = mb_rows_read(x, i, saved->drops ? scratch : z);
    if (saved->drops) {
        mb_dropout_row(&saved->site, (uint32_t)i, x->width, from, z);
    } else if (from != z) {
        memcpy(z, from, (size_t)x->width * sizeof *z);
    }
    if (residual->data != NULL) {
        mb_rows_add_to(residual, i, z);
    }
}

/* What makes xhat of a saved row: (z - mean) * rstd. */
typedef struct row_scale {
    mb_real mean, rstd;
} row_scale;

/* Turns dy of one row into dz; adds the row's share of dgamma and dbeta. `xhat`: scratch, a row. */
static void backward_row(mb_real *restrict dy, const mb_real *restrict z, row_scale saved, const mb_real *restrict gamma,
                         mb_real rstd, int64_t width, mb_real *restrict dgamma, mb_real *restrict dbeta,
                         mb_real *restrict xhat) {
#pragma omp simd
    for (int64_t j = 0; j < width; j++) {
        xhat[j] = (z[j] - saved.mean) * saved.rstd;
        dgamma[j] += dy[j] * xhat[j];
        dbeta[j] += dy[j];
        dy[j] *= gamma[j]; /* g */
    }
    const mb_real mean_g = mb_sum(dy, width) / (mb_real)width, mean_gx = mb_dot(dy, xhat, width) / (mb_real)width;
#pragma omp simd
    for (int64_t j = 0; j < width; j++) {
        dy[j] = rstd * (dy[j] - mean_g - xhat[j] * mean_gx);
    }
}

/* The gradients that backward reads and writes; data NULL where there is none. */
typedef struct layer_norm_grads {
    mb_rows dy, dsum; /* dsum: of z as an output */
    mb_rows dx, dresidual;
    mb_real x_beta, residual_beta;
} layer_norm_grads;

enum { SCRATCH_ROWS = 3 };

static void backward_block(const layer_norm_saved *saved, const layer_norm_grads *grads, const mb_real *gamma, int64_t begin,
                           int64_t end, int64_t width, mb_real *sums, mb_real *scratch) {
    mb_real *row = scratch;
    memset(sums, 0, 2 * (size_t)width * sizeof *sums);
    for (int64_t i = begin; i < end; i++) {
        const row_scale scale = saved->mean != NULL ? (row_scale){saved->mean[i], saved->rstd[i]} : (row_scale){0, 1};
        const mb_real *z = mb_rows_read(&saved->z, i, scratch + width), *dy = mb_rows_read(&grads->dy, i, row);
        if (dy != row) {
            memcpy(row, dy, (size_t)width * sizeof *row);
        }
        backward_row(row, z, scale, gamma, saved->rstd[i], width, sums, sums + width, scratch + 2 * width);
        if (grads->dsum.data != NULL) { /* sum = z */
            mb_rows_add_to(&grads->dsum, i, row);
        }
        if (grads->dresidual.data != NULL) { /* z = residual + ... */
            mb_rows_add(&grads->dresidual, i, grads->residual_beta, row);
        }
        if (grads->dx.data != NULL) { /* z = ... + dropout(x) */
            if (saved->drops) {
                mb_dropout_row(&saved->site, (uint32_t)i, width, row, row);
            }
            mb_rows_add(&grads->dx, i, grads->x_beta, row);
        }
    }
}

static mb_rows grad_rows(mb_tape *tape, mb_tensor *input, mb_real *beta) {
    return mb_rows_over(mb_tape_grad(tape, input, beta), input == NULL ? MB_REAL_DTYPE : input->dtype,
                        input == NULL ? 0 : input->dims[1]);
}

static void add_layer_norm_backward(mb_tape *tape, mb_node *node) {
    const layer_norm_saved *saved = node->saved;
    mb_tensor *gamma = node->inputs[2], *sum = node->second_output;
    int64_t n_rows = node->output->dims[0], width = node->output->dims[1];
    int64_t n_blocks = (n_rows + ROW_BLOCK - 1) / ROW_BLOCK;
    mb_real y_beta = 1, gamma_beta = 0, beta_beta = 0;
    layer_norm_grads grads = {.dy = grad_rows(tape, node->output, &y_beta)};
    grads.dx = grad_rows(tape, node->inputs[0], &grads.x_beta);
    grads.dresidual = grad_rows(tape, node->inputs[1], &grads.residual_beta);
    if (sum != NULL && sum->grad_is_set) {
        grads.dsum = mb_rows_over(sum->grad, sum->dtype, width);
    }
    mb_real *dgamma = mb_tape_grad(tape, gamma, &gamma_beta), *dbeta = mb_tape_grad(tape, node->inputs[3], &beta_beta);
    mb_real *block_sums = mb_tape_alloc(tape, (size_t)(n_blocks * 2 * width), sizeof *block_sums);
    mb_real *scratch = mb_tape_thread_rows(tape, SCRATCH_ROWS, width);
    if (mb_tape_status(tape) != MB_OK) {
        return;
    }
    if (y_beta == 0) { /* only z was used */
        memset(grads.dy.data, 0, mb_tensor_bytes(node->output));
    }
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < n_blocks; block++) {
        const int64_t begin = block * ROW_BLOCK, end = begin + ROW_BLOCK < n_rows ? begin + ROW_BLOCK : n_rows;
        backward_block(saved, &grads, mb_tensor_real(gamma), begin, end, width, block_sums + block * 2 * width,
                       mb_tape_my_rows(scratch, SCRATCH_ROWS, width));
    }
    mb_add_block_sums(dgamma, gamma_beta, block_sums, n_blocks, width, 2 * width);
    mb_add_block_sums(dbeta, beta_beta, block_sums + width, n_blocks, width, 2 * width);
}

static const mb_op add_layer_norm_op = {"add_layer_norm", add_layer_norm_backward};

/* What is saved goes to memory of its own while recording; in inference z takes the place of y. */
static bool save(mb_tape *tape, mb_node *node, layer_norm_saved *saved, mb_tensor *sum, const mb_tensor *y) {
    const int64_t n_rows = y->dims[0], width = y->dims[1];
    saved->z = mb_rows_of(sum != NULL ? sum : y);
    if (node == NULL) {
        return true;
    }
    node->saved = saved;
    node->second_output = sum;
    saved->rstd = mb_tape_alloc(tape, (size_t)n_rows, sizeof(mb_real));
    if (sum != NULL) {
        sum->needs_grad = true;
        saved->mean = mb_tape_alloc(tape, (size_t)n_rows, sizeof(mb_real));
    } else {
        saved->z.data = mb_tape_alloc(tape, (size_t)(n_rows * width), mb_dtype_size(y->dtype));
    }
    return mb_tape_status(tape) == MB_OK;
}

/* sum may be NULL. */
static mb_tensor *forward(mb_tape *tape, mb_tensor *const inputs[4], double epsilon, double dropout, mb_tensor *sum) {
    const mb_tensor *x = inputs[0], *residual = inputs[1], *gamma = inputs[2], *beta = inputs[3];
    int64_t n_rows = x->dims[0], width = x->dims[1];
    MB_SHAPE_CHECK(gamma->dims[0] == width && (beta == NULL || beta->dims[0] == width), "add_layer_norm", x, gamma);
    MB_SHAPE_CHECK(residual == NULL || mb_tensor_count(residual) == mb_tensor_count(x), "add_layer_norm", x, residual);
    mb_tensor *y = mb_tape_tensor(tape, 2, x->dims);
    layer_norm_saved *saved = mb_tape_alloc(tape, 1, sizeof *saved);
    if (y == NULL || saved == NULL) {
        return NULL;
    }
    mb_node *node = mb_tape_append(tape, &add_layer_norm_op, y, inputs, 4);
    *saved = (layer_norm_saved){.drops = dropout > 0 && mb_tape_recording(tape)};
    if (saved->drops) {
        saved->site = mb_dropout_site_make(mb_tape_seed(tape), mb_tape_step(tape), mb_tape_next_site(tape), dropout);
    }
    mb_real *scratch = mb_tape_thread_rows(tape, SCRATCH_ROWS, width);
    if (!save(tape, node, saved, sum, y) || scratch == NULL) {
        return NULL;
    }
    const mb_real *g = mb_tensor_real(gamma), *b = beta == NULL ? NULL : mb_tensor_real(beta);
    const mb_rows in = mb_rows_of(x), skip = mb_rows_of(residual), out = mb_rows_of(y);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n_rows; i++) {
        mb_real *mine = mb_tape_my_rows(scratch, SCRATCH_ROWS, width), mean;
        mb_real *z = mb_rows_place(&saved->z, i, mine), *y_row = mb_rows_place(&out, i, mine + width);
        residual_row(saved, i, &in, &skip, mine + 2 * width, z);
        mb_real rstd = row_statistics(z, width, epsilon, &mean);
        if (saved->rstd != NULL) {
            saved->rstd[i] = rstd;
        }
        if (saved->mean != NULL) {
            saved->mean[i] = mean;
        }
        /* z stays where it is an output; else xhat takes its place, to be saved */
        normalize_row(z, width, mean, rstd, g, b, sum != NULL ? y_row : z, y_row);
        if (node != NULL || sum != NULL) {
            mb_rows_put(&saved->z, i, z);
        }
        mb_rows_put(&out, i, y_row);
    }
    return mb_tape_end(tape, node, y);
}

mb_tensor *mb_add_layer_norm(mb_tape *tape, mb_tensor *x, mb_tensor *residual, mb_tensor *gamma, mb_tensor *beta,
                             double epsilon, double dropout) {
    return mb_tape_status(tape) == MB_OK ? forward(tape, (mb_tensor *[]){x, residual, gamma, beta}, epsilon, dropout, NULL)
                                         : NULL;
}

mb_tensor *mb_add_layer_norm_sum(mb_tape *tape, mb_tensor *x, mb_tensor *residual, mb_tensor *gamma, mb_tensor *beta,
                                 double epsilon, double dropout, mb_tensor **sum) {
    *sum = mb_tape_status(tape) == MB_OK ? mb_tape_real_tensor(tape, 2, x->dims) : NULL;
    return *sum == NULL ? NULL : forward(tape, (mb_tensor *[]){x, residual, gamma, beta}, epsilon, dropout, *sum);
}
