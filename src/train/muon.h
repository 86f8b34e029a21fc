/* Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/): momentum whose update is made orthogonal, for the
 * hidden matrices of the encoder; and whose rows, each of which is a neuron's, are brought to one length over time (Li et al.
 * 2025, "NorMuon", algorithm 1). Private to src/train; optimizer.h is the interface. */
#ifndef MB_TRAIN_MUON_H
#define MB_TRAIN_MUON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "minibert/status.h"
#include "model/params.h"

/* One matrix of a view: query, key and value are three, however they are stored. */
typedef struct mb_muon_matrix {
    int64_t offset, rows, columns;
    size_t view;
} mb_muon_matrix;

typedef struct mb_muon {
    mb_muon_matrix *matrices;
    size_t n;
    bool bf16;        /* its products */
    mb_real *scratch; /* n_slots times slot_elements: one slot a thread */
    int n_slots;
    int64_t slot_elements;
} mb_muon;

/* Quintics p(s) = a s + b s^3 + c s^5, one a step: each takes its interval of singular values as near to 1 as one of its kind
 * can (Amsel et al. 2025, "The Polar Express"), the first one [0.01, 1.02], which is 2% wider than what there is, as bf16
 * rounds. Together they do in three steps what Jordan's one quintic does in five (scripts/golden/muon.py computes them,
 * scripts/ablate/RESULTS.md compares). */
enum { MB_MUON_STEPS = 3 };
typedef struct mb_muon_quintic {
    mb_real a, b, c;
} mb_muon_quintic;
static const mb_muon_quintic mb_muon_steps[MB_MUON_STEPS] = {
    {(mb_real)7.9424, (mb_real)-22.2873, (mb_real)15.8239},
    {(mb_real)3.5875, (mb_real)-2.5845, (mb_real)0.4893},
    {(mb_real)2.6604, (mb_real)-1.9134, (mb_real)0.4194},
};

/* Decay of the mean square of a row's updates. */
#define MB_MUON_ROW_DECAY 0.95

/* Elements of scratch that a matrix needs, which begins at a multiple of 64 bytes. */
int64_t mb_muon_scratch_elements(int64_t rows, int64_t columns);
int64_t mb_muon_bf16_scratch_elements(int64_t rows, int64_t columns);
/* out = NS(x), on the calling thread. NS: Newton-Schulz steps by the quintics above, which bring every singular value that is
 * not tiny to about 1 (from 0.01 of the length of x on to between 0.71 and 1.29). x and out: (rows, columns), apart. */
void mb_muon_orthogonalize(int64_t rows, int64_t columns, const mb_real *x, mb_real *out, mb_real *scratch);
/* The same with products of bf16 numbers (muon_bf16.c). */
void mb_muon_orthogonalize_bf16(int64_t rows, int64_t columns, const mb_real *x, mb_real *out, mb_real *scratch);
/* sqrt of the sum of squares, in double; at least Jordan's 1e-7, so that a matrix of zeros stays one. */
double mb_muon_norm(const mb_real *x, int64_t n);

/* Lists the matrices of `params` (those with n_matrices > 0). */
mb_status mb_muon_init(mb_muon *muon, const mb_params *params, bool bf16, mb_error *error);
void mb_muon_free(mb_muon *muon);

/* One update of every matrix that is not frozen; the gradients are zero afterwards.
 *   m += (1 - momentum) (g - m);   u = (1 - momentum) g + momentum m          (Nesterov)
 *   o = NS(u);   v = d v + (1 - d) mean of the row's o^2;   r = o / sqrt(v) |o| / |o / sqrt(v)|          (d: MB_MUON_ROW_DECAY)
 *   w = decay w - learning_rate 0.2 sqrt(max(rows, columns)) r
 * The factor gives the update AdamW's usual size, so that its learning rates and decay carry over (Liu et al. 2025,
 * arXiv 2502.16982, section 2.2). `gradient_scale` multiplies g first. m: as many elements as the parameters. v: the same, of
 * which a view uses the first, one a row. */
void mb_muon_update(const mb_muon *muon, mb_params *params, mb_real *m, mb_real *v, double momentum, double learning_rate,
                    double decay, double gradient_scale);

#endif
