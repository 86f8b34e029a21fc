/* Tensors: contiguous, row-major, outermost dimension first.
 *
 * Dimension letters, the same everywhere in minibert:
 *   B batch (sequences)   T positions of a sequence   N packed tokens (sum of the sequence lengths: no padding exists)
 *   H hidden size         A attention heads           D head size (H / A)       F feed-forward (intermediate) size
 *   V vocabulary          M masked positions          C classes                 P position embeddings
 */
#ifndef MB_TENSOR_TENSOR_H
#define MB_TENSOR_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The number that kernels compute in. The layers tensor, autograd and model are compiled a second time with
 * MB_REAL_IS_DOUBLE for the gradient checks, where central differences need 1e-6. */
#ifdef MB_REAL_IS_DOUBLE
typedef double mb_real;
#else
typedef float mb_real;
#endif

typedef enum mb_dtype { MB_F32, MB_F64, MB_BF16 } mb_dtype;
#ifdef MB_REAL_IS_DOUBLE
#define MB_REAL_DTYPE MB_F64
#else
#define MB_REAL_DTYPE MB_F32
#endif

enum { MB_MAX_DIMS = 3 };

typedef struct mb_tensor {
    mb_dtype dtype;
    int n_dims;
    int64_t dims[MB_MAX_DIMS];
    void *data; /* dims[0] * dims[1] * ... elements of dtype; not owned */
    void *grad; /* same shape and dtype; NULL: not wanted (a constant) or not yet reached by backward */
    bool needs_grad;
    bool grad_is_set;                      /* false: grad holds nothing yet and the first contribution overwrites it */
    bool is_parameter;                     /* grad belongs to the parameter table: always accumulate, never recycle */
    bool is_padded;                        /* memory goes on to a multiple of 32 rows, as a factor of a bf16 product's may */
    const struct mb_packed_weight *packed; /* a weight (O,I) as products take it; NULL: pack it where it is used */
} mb_tensor;

/* gemm_bf16.h says how: of x W^T the factor W^T (I,O), and of dy W the factor W (O,I), which inference does without (NULL). Or
 * W^T alone, as gemm_packed.h has it. */
typedef struct mb_packed_weight {
    const uint16_t *forward, *backward;
    const mb_real *forward_real;
} mb_packed_weight;

static inline int64_t mb_tensor_count(const mb_tensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->n_dims; i++) {
        n *= t->dims[i];
    }
    return n;
}
static inline size_t mb_dtype_size(mb_dtype dtype) {
    return dtype == MB_BF16 ? 2 : dtype == MB_F32 ? 4 : 8;
}
static inline size_t mb_tensor_bytes(const mb_tensor *t) {
    return (size_t)mb_tensor_count(t) * mb_dtype_size(t->dtype);
}
/* Elements of an mb_real tensor. */
static inline mb_real *mb_tensor_real(const mb_tensor *t) {
    return (mb_real *)t->data;
}

/* The packed batch: sequence b is rows offsets[b] .. offsets[b+1]-1 of every (N, ...) tensor. */
typedef struct mb_sequences {
    int32_t n;              /* B */
    const int32_t *offsets; /* B + 1 entries, offsets[0] == 0, offsets[B] == N */
    int32_t max_length;     /* of one sequence */
} mb_sequences;

/* A shape mismatch is a bug of the caller, not an input error: prints the op, what it expects and both shapes, and aborts. */
_Noreturn void mb_shape_abort(const char *op, const char *expected, const mb_tensor *a, const mb_tensor *b);
#define MB_SHAPE_CHECK(condition, op, a, b) ((condition) ? (void)0 : mb_shape_abort(op, #condition, a, b))

#endif
