/* The masked-LM output layer on bf16 activations; linear_cross_entropy.c is its fp32 form and says what is computed. */
#ifndef MB_AUTOGRAD_LINEAR_CROSS_ENTROPY_BF16_H
#define MB_AUTOGRAD_LINEAR_CROSS_ENTROPY_BF16_H

#include "autograd/tape.h"

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

/* Errors: the tape's status. */
void mb_lce_bf16(mb_tape *tape, const mb_lce_problem *problem);

#endif
