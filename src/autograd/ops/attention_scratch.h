/* What one thread of attention works in, and its products; private to attention.c, where the letters are explained. */
#ifndef MB_AUTOGRAD_OPS_ATTENTION_SCRATCH_H
#define MB_AUTOGRAD_OPS_ATTENTION_SCRATCH_H

#include "autograd/ops.h"
#include "tensor/dropout_mask.h"
#include "tensor/rows.h"

/* P = exp(S - max) inverse_sum, of a row. */
typedef struct mb_softmax_row {
    mb_real max, inverse_sum;
} mb_softmax_row;

typedef struct mb_attention_saved {
    mb_sequences sequences;
    mb_attention_options options;
    int64_t width, block;    /* queries go in blocks */
    mb_softmax_row *softmax; /* (A,N) */
    mb_dropout_site site;
    bool drops;
    mb_dtype dtype; /* of qkv, the context and their gradients */
} mb_attention_saved;

/* A part of a matrix: its rows are `stride` numbers apart. `is_padded`: as a product's factor is (tensor/gemm_bf16.h). */
typedef struct mb_part {
    void *data;
    int64_t stride;
    mb_dtype dtype;
    bool is_padded;
} mb_part;

static inline mb_part mb_part_at(mb_part p, int64_t row, int64_t column) {
    return (mb_part){.data = (char *)p.data + (size_t)(row * p.stride + column) * mb_dtype_size(p.dtype),
                     .stride = p.stride,
                     .dtype = p.dtype};
}
static inline mb_part mb_real_part(mb_real *data, int64_t stride) {
    return (mb_part){.data = data, .stride = stride, .dtype = MB_REAL_DTYPE};
}
static inline mb_rows mb_part_row(mb_part p, int64_t row, int64_t n) {
    return mb_rows_over(mb_part_at(p, row, 0).data, p.dtype, n);
}

typedef struct mb_attention_scratch {
    mb_real *p;           /* a block's rows of S, then P */
    mb_part r;            /* its rows of R as a product takes them, and on a bf16 tape at last of dS */
    mb_real *d;           /* of dR, then dS: in backward alone */
    void *q, *k;          /* (T,D) turned, as qkv is: with rotary positions alone */
    mb_real *dq;          /* a block's gradient of q, and in backward where it is turned back, or bf16 of several blocks: */
    mb_real *dk, *dvalue; /* the gradients of all k and v */
    mb_real *row;         /* (D) */
    void *packed;         /* the second factor of a product */
    bool apart;           /* dk and dvalue are used */
} mb_attention_scratch;

/* The scratch of all threads, in one piece; `share` is what each gets. In numbers; 0: a part that is not needed. */
typedef struct mb_attention_plan {
    int64_t scores, kept, turned, block, apart, packed, share; /* kept: R where it is not P itself */
    mb_real *memory;
} mb_attention_plan;

/* Takes memory of the tape; false: it has none, and its status says so. */
bool mb_attention_plan_scratch(mb_tape *tape, const mb_attention_saved *saved, bool backward, mb_attention_plan *plan);
/* The calling thread's. */
mb_attention_scratch mb_attention_my_scratch(const mb_attention_saved *saved, const mb_attention_plan *plan, bool backward);

/* c[m,n] = alpha op(a)[m,k] op(b)[k,n], or with `add` c += . On a bf16 tape the product is one of bf16 numbers, whatever scores
 * are kept in. */
void mb_attention_multiply(const mb_attention_scratch *mine, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k,
                           mb_real alpha, mb_part a, mb_part b, bool add, mb_part c);

#endif
