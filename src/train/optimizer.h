/* AdamW (Loshchilov & Hutter 2019, Algorithm 2) over the parameter table, fused: one pass over memory applies the clip factor,
 * updates both moments, decays, steps, and zeroes the gradient for the next step. */
#ifndef MB_TRAIN_OPTIMIZER_H
#define MB_TRAIN_OPTIMIZER_H

#include <stddef.h>
#include <stdint.h>

#include "minibert/status.h"
#include "model/params.h"

typedef struct mb_adamw_options {
    double beta1, beta2, epsilon, weight_decay;
} mb_adamw_options;

/* A run of elements of one view, small enough to balance threads. Alignment gaps belong to no segment and stay zero. */
typedef struct mb_optimizer_segment {
    int64_t offset, count;
    size_t view;
} mb_optimizer_segment;

typedef struct mb_optimizer {
    mb_adamw_options options;
    mb_real *moment1, *moment2; /* params->count elements each */
    int64_t step;               /* updates made */
    mb_optimizer_segment *segments;
    size_t n_segments;
} mb_optimizer;

/* Begins with moments of zero. `params` must have gradients. */
mb_status mb_optimizer_init(mb_optimizer *optimizer, const mb_params *params, const mb_adamw_options *options, mb_error *error);
void mb_optimizer_free(mb_optimizer *optimizer);
/* L2 norm of all gradients; partial sums over fixed blocks in double, added in order. */
double mb_params_grad_norm(const mb_params *params);
/* The factor that brings `norm` down to `max_norm`: min(1, max_norm / (norm + 1e-6)), PyTorch's clip_grad_norm_; max_norm 0: 1.
 */
double mb_clip_factor(double norm, double max_norm);
/* One update. `scale` multiplies the gradients first (the clip factor). Gradients are zero afterwards. Views marked `frozen`
 * are left as they are: without gradients weight decay alone would still shrink them. */
void mb_optimizer_update(mb_optimizer *optimizer, mb_params *params, double learning_rate, double scale);

#endif
