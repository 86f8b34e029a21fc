#include "autograd/ops.h"

#include "tensor/dropout_mask.h"
#include "tensor/vmath.h"

/* Residual, dropout and LayerNorm (Ba et al. 2016) in one pass over each row:
 *
 *   z = residual + dropout(x)       xhat = (z - mean) / sqrt(var + epsilon)       y = gamma xhat + beta
 *
 *   g = dy gamma                    dz = rstd (g - mean(g) - xhat mean(g xhat))
 *   dgamma = sum dy xhat            dbeta = sum dy        dresidual = dz          dx = dropout mask * dz
 */

typedef struct layer_norm_saved {
    mb_real *xhat; /* (N,H) */
    mb_real *rstd; /* (N) */
    mb_dropout_site site;
    bool drops;
} layer_norm_saved;

enum { ROW_BLOCK = 64 };

/* xhat holds z on entry; returns 1 / sqrt(var + epsilon). */
static mb_real normalize_row(mb_real *restrict xhat, int64_t width, double epsilon) {
    mb_real sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < width; j++) {
        sum += xhat[j];
    }
    mb_real mean = sum / (mb_real)width;
#pragma omp simd reduction(+ : squares)
    for (int64_t j = 0; j < width; j++) {
        mb_real centred = xhat[j] - mean;
        squares += centred * centred;
    }
    mb_real rstd = 1 / mb_sqrt(squares / (mb_real)width + (mb_real)epsilon);
#pragma omp simd
    for (int64_t j = 0; j < width; j++) {
        xhat[j] = (xhat[j] - mean) * rstd;
    }
    return rstd;
}

static void residual_row(const layer_norm_saved *saved, int64_t i, int64_t width, const mb_real *x, const mb_real *residual,
                         mb_real *z) {
    if (saved->drops) {
        mb_dropout_row(&saved->site, (uint32_t)i, width, x, z);
        x = z;
    }
    if (residual == NULL) {
        for (int64_t j = 0; j < width; j++) {
            z[j] = x[j];
        }
    } else {
#pragma omp simd
        for (int64_t j = 0; j < width; j++) {
            z[j] = x[j] + residual[j];
        }
    }
}

/* Turns dy of one row into dz; adds the row's share of dgamma and dbeta. */
static void backward_row(mb_real *restrict dy, const mb_real *restrict xhat, const mb_real *restrict gamma, mb_real rstd,
                         int64_t width, mb_real *restrict dgamma, mb_real *restrict dbeta) {
    mb_real mean_g = 0, mean_gx = 0;
#pragma omp simd reduction(+ : mean_g, mean_gx)
    for (int64_t j = 0; j < width; j++) {
        mb_real g = dy[j] * gamma[j];
        mean_g += g;
        mean_gx += g * xhat[j];
        dgamma[j] += dy[j] * xhat[j];
        dbeta[j] += dy[j];
    }
    mean_g /= (mb_real)width;
    mean_gx /= (mb_real)width;
#pragma omp simd
    for (int64_t j = 0; j < width; j++) {
        dy[j] = rstd * (dy[j] * gamma[j] - mean_g - xhat[j] * mean_gx);
    }
}

static void accumulate(mb_real *restrict to, mb_real beta, const mb_real *restrict from, int64_t n) {
    if (beta == 0) {
        for (int64_t j = 0; j < n; j++) {
            to[j] = from[j];
        }
    } else {
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            to[j] += from[j];
        }
    }
}

static void add_layer_norm_backward(mb_tape *tape, mb_node *node) {
    const layer_norm_saved *saved = node->saved;
    mb_tensor *gamma = node->inputs[2];
    int64_t n_rows = node->output->dims[0], width = node->output->dims[1];
    int64_t n_blocks = (n_rows + ROW_BLOCK - 1) / ROW_BLOCK;
    mb_real x_beta = 0, residual_beta = 0, gamma_beta = 0, beta_beta = 0;
    mb_real *dx = mb_tape_grad(tape, node->inputs[0], &x_beta);
    mb_real *dresidual = mb_tape_grad(tape, node->inputs[1], &residual_beta);
    mb_real *dgamma = mb_tape_grad(tape, gamma, &gamma_beta), *dbeta = mb_tape_grad(tape, node->inputs[3], &beta_beta);
    mb_real *block_sums = mb_tape_alloc(tape, (size_t)(n_blocks * 2 * width), sizeof *block_sums);
    if (mb_tape_status(tape) != MB_OK) {
        return;
    }
    mb_real *dy = node->output->grad; /* ours alone: each row becomes dz in place */
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < n_blocks; block++) {
        mb_real *sums = block_sums + block * 2 * width;
        for (int64_t j = 0; j < 2 * width; j++) {
            sums[j] = 0;
        }
        int64_t end = (block + 1) * ROW_BLOCK < n_rows ? (block + 1) * ROW_BLOCK : n_rows;
        for (int64_t i = block * ROW_BLOCK; i < end; i++) {
            mb_real *row = dy + i * width;
            backward_row(row, saved->xhat + i * width, mb_tensor_real(gamma), saved->rstd[i], width, sums, sums + width);
            if (dresidual != NULL) { /* z = residual + ... */
                accumulate(dresidual + i * width, residual_beta, row, width);
            }
            if (dx != NULL) { /* z = ... + dropout(x) */
                if (saved->drops) {
                    mb_dropout_row(&saved->site, (uint32_t)i, width, row, row);
                }
                accumulate(dx + i * width, x_beta, row, width);
            }
        }
    }
    for (int64_t j = 0; j < width; j++) {
        mb_real sum_gamma = 0, sum_beta = 0;
        for (int64_t block = 0; block < n_blocks; block++) {
            sum_gamma += block_sums[block * 2 * width + j];
            sum_beta += block_sums[block * 2 * width + width + j];
        }
        if (dgamma != NULL) {
            dgamma[j] = (gamma_beta == 0 ? 0 : dgamma[j]) + sum_gamma;
        }
        if (dbeta != NULL) {
            dbeta[j] = (beta_beta == 0 ? 0 : dbeta[j]) + sum_beta;
        }
    }
}

static const mb_op add_layer_norm_op = {"add_layer_norm", add_layer_norm_backward};

mb_tensor *mb_add_layer_norm(mb_tape *tape, mb_tensor *x, mb_tensor *residual, mb_tensor *gamma, mb_tensor *beta,
                             double epsilon, double dropout) {
    if (mb_tape_status(tape) != MB_OK) {
        return NULL;
    }
    int64_t n_rows = x->dims[0], width = x->dims[1];
    MB_SHAPE_CHECK(gamma->dims[0] == width && beta->dims[0] == width, "add_layer_norm", x, gamma);
    MB_SHAPE_CHECK(residual == NULL || mb_tensor_count(residual) == mb_tensor_count(x), "add_layer_norm", x, residual);
    mb_tensor *y = mb_tape_tensor(tape, 2, x->dims);
    layer_norm_saved *saved = mb_tape_alloc(tape, 1, sizeof *saved);
    if (y == NULL || saved == NULL) {
        return NULL;
    }
    mb_node *node = mb_tape_append(tape, &add_layer_norm_op, y, (mb_tensor *[]){x, residual, gamma, beta}, 4);
    *saved = (layer_norm_saved){.xhat = mb_tensor_real(y), .drops = dropout > 0 && mb_tape_recording(tape)};
    if (saved->drops) {
        saved->site = mb_dropout_site_make(mb_tape_seed(tape), mb_tape_step(tape), mb_tape_next_site(tape), dropout);
    }
    if (node != NULL) {
        node->saved = saved;
        saved->xhat = mb_tape_alloc(tape, (size_t)(n_rows * width), sizeof(mb_real));
        saved->rstd = mb_tape_alloc(tape, (size_t)n_rows, sizeof(mb_real));
        if (mb_tape_status(tape) != MB_OK) {
            return NULL;
        }
    }
    const mb_real *g = mb_tensor_real(gamma), *b = mb_tensor_real(beta), *in = mb_tensor_real(x);
    const mb_real *skip = residual == NULL ? NULL : mb_tensor_real(residual);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n_rows; i++) {
        mb_real *xhat = saved->xhat + i * width, *out = mb_tensor_real(y) + i * width;
        residual_row(saved, i, width, in + i * width, skip == NULL ? NULL : skip + i * width, xhat);
        mb_real rstd = normalize_row(xhat, width, epsilon);
        if (saved->rstd != NULL) {
            saved->rstd[i] = rstd;
        }
#pragma omp simd
        for (int64_t j = 0; j < width; j++) {
            out[j] = xhat[j] * g[j] + b[j];
        }
    }
    return y;
}
