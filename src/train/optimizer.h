/* One optimizer interface over the parameter table. Every view is AdamW's (Loshchilov & Hutter 2019, Algorithm 2), except that
 * with MB_OPTIMIZER_MUON the hidden matrices of the encoder (n_matrices > 0) are Muon's (muon.h): embeddings, norms, biases and
 * heads stay AdamW's, the word embeddings with one second moment a row. Decay is decoupled in both.
 *
 * AdamW is fused: one pass over memory applies the clip factor, updates both moments, decays, steps, and zeroes the gradient
 * for the next step. */
#ifndef MB_TRAIN_OPTIMIZER_H
#define MB_TRAIN_OPTIMIZER_H

#include <stddef.h>
#include <stdint.h>

#include "minibert/status.h"
#include "model/params.h"
#include "train/muon.h"
#include "train/row_updates.h"

typedef enum mb_optimizer_kind { MB_OPTIMIZER_ADAMW, MB_OPTIMIZER_MUON } mb_optimizer_kind;
extern const char *const mb_optimizer_names[]; /* "adamw", "muon", NULL */

typedef struct mb_optimizer_options {
    mb_optimizer_kind kind;
    double beta1, beta2, epsilon; /* AdamW's */
    double weight_decay;
    double momentum;  /* Muon's; 0.95 is Jordan's */
    double muon_rate; /* Muon's learning rate over AdamW's; 1: the same */
    bool bf16;        /* Muon's products are of bf16 numbers */
} mb_optimizer_options;

/* A run of elements of one view, small enough to balance threads. Alignment gaps belong to no segment and stay zero. */
typedef struct mb_optimizer_segment {
    int64_t offset, count;
    size_t view;
} mb_optimizer_segment;

typedef struct mb_optimizer {
    mb_optimizer_options options;
    mb_real *moment1, *moment2;     /* params->count elements each; mb_optimizer_moment2_count says what moment2 has */
    int64_t step;                   /* updates made */
    mb_optimizer_segment *segments; /* of AdamW's views */
    size_t n_segments;
    mb_muon muon;         /* its matrices; none with MB_OPTIMIZER_ADAMW */
    mb_row_updates *rows; /* NULL: every view is updated whole */
} mb_optimizer;

/* Begins with moments of zero. `params` must have gradients. */
mb_status mb_optimizer_init(mb_optimizer *optimizer, const mb_params *params, const mb_optimizer_options *options,
                            mb_error *error);
void mb_optimizer_free(mb_optimizer *optimizer);
/* How many numbers a view's second moment has, which are the first of its place in moment2: as many as the view, or one a row
 * (with MB_OPTIMIZER_MUON the hidden matrices and the word embeddings). */
int64_t mb_optimizer_moment2_count(const mb_optimizer *optimizer, const mb_param *view);
/* L2 norm of all gradients; partial sums over fixed blocks in double, added in order. */
double mb_params_grad_norm(const mb_params *params);
/* The same for parameters that this optimizer updates, to the bit; it looks only where gradients can be. */
double mb_optimizer_grad_norm(const mb_optimizer *optimizer, const mb_params *params);
/* The factor that brings `norm` down to `max_norm`: min(1, max_norm / (norm + 1e-6)), PyTorch's clip_grad_norm_; max_norm 0: 1.
 */
double mb_clip_factor(double norm, double max_norm);
/* One update. `scale` multiplies the gradients first (the clip factor). Gradients are zero afterwards. Views marked `frozen`
 * are left as they are: without gradients weight decay alone would still shrink them. */
void mb_optimizer_update(mb_optimizer *optimizer, mb_params *params, double learning_rate, double scale);

/* For the matrix `view` (AdamW's, not frozen) of which a step has gradients in few rows: from now on only these are written
 * (row_updates.h). Before rows are read, or their gradients made, they must be named to mb_optimizer_touch; before all of the
 * matrix or its moments are read, mb_optimizer_catch_up is due. Without mb_optimizer_update_rows both do nothing. */
mb_status mb_optimizer_update_rows(mb_optimizer *optimizer, const mb_params *params, size_t view, mb_error *error);
void mb_optimizer_touch(mb_optimizer *optimizer, mb_params *params, const int32_t *rows, int64_t n_rows);
void mb_optimizer_catch_up(mb_optimizer *optimizer, mb_params *params);

#endif
