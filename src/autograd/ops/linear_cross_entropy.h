/* The parts of the masked-LM output layer (private to src/autograd/ops). linear_cross_entropy.c says what is computed, and does
 * so in fp32. */
#ifndef MB_AUTOGRAD_LINEAR_CROSS_ENTROPY_H
#define MB_AUTOGRAD_LINEAR_CROSS_ENTROPY_H

#include "autograd/ops.h"

typedef struct mb_lce_row {
    double loss;
    bool correct;
} mb_lce_row;

typedef struct mb_lce_problem {
    const mb_tensor *x, *weight;      /* (M,H), (V,H) */
    const mb_real *bias;              /* (V) or NULL */
    int64_t n_rows, width, n_classes; /* M, H, V */
    const int32_t *targets;           /* (M) */
    mb_real scale;
    mb_lce_row *results;           /* (M), out */
    mb_real *dx, *dweight, *dbias; /* (M,H) out; (V,H), (V) added to; NULL: not wanted */
} mb_lce_problem;

/* On bf16 activations. Errors, as of those that follow: the tape's status. */
void mb_lce_bf16(mb_tape *tape, const mb_lce_problem *problem);

/* The problem of a sample of the classes, solved by `compute`. */
void mb_lce_sampled(mb_tape *tape, const mb_lce_problem *problem, const mb_class_sample *sample,
                    void (*compute)(mb_tape *tape, const mb_lce_problem *problem));

#endif
