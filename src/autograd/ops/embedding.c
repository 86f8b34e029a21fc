#include "autograd/ops.h"

#include <string.h>

#include "tensor/rows.h"

/* Sum of a word, a position and a token-type row for each token (Devlin et al. 2019, figure 2); or of fewer. */

typedef struct embedding_saved {
    const int32_t *ids, *positions, *types;
    int64_t n_tokens;
} embedding_saved;

/* table[rows[i]] += dy[i] for every token i. Columns are cut into fixed slices, one thread a slice, and tokens are added in
 * order inside it: rows that occur often need neither locks nor atomics, and the sum has one order at any thread count. */
enum { SLICE_COLUMNS = 32 };

static void scatter_add(mb_real *table_grad, mb_real beta, int64_t n_rows, const int32_t *rows, const mb_rows *dy,
                        int64_t n_tokens) {
    const int64_t width = dy->width;
    if (beta == 0) {
        memset(table_grad, 0, (size_t)(n_rows * width) * sizeof *table_grad);
    }
#pragma omp parallel for schedule(static)
    for (int64_t column = 0; column < width; column += SLICE_COLUMNS) {
        const int64_t n = width - column < SLICE_COLUMNS ? width - column : SLICE_COLUMNS;
        mb_real scratch[SLICE_COLUMNS];
        for (int64_t i = 0; i < n_tokens; i++) {
            mb_real *restrict to = table_grad + rows[i] * width + column;
            const mb_rows slice =
                mb_rows_over((char *)mb_rows_at(dy, i) + (size_t)column * mb_dtype_size(dy->dtype), dy->dtype, n);
            const mb_real *restrict from = mb_rows_read(&slice, 0, scratch);
#pragma omp simd
            for (int64_t j = 0; j < n; j++) {
                to[j] += from[j];
            }
        }
    }
}

static void embedding_backward(mb_tape *tape, mb_node *node) {
    const embedding_saved *saved = node->saved;
    const int32_t *rows[3] = {saved->ids, saved->positions, saved->types};
    const mb_rows dy = mb_rows_over(node->output->grad, node->output->dtype, node->output->dims[1]);
    for (int i = 0; i < 3; i++) {
        mb_real beta;
        mb_real *grad = mb_tape_grad(tape, node->inputs[i], &beta); /* NULL for a table that is not there */
        if (grad != NULL) {
            scatter_add(grad, beta, node->inputs[i]->dims[0], rows[i], &dy, saved->n_tokens);
        }
    }
}

static void add_rows(mb_real *out, const mb_tensor *table, const int32_t *rows, int64_t token, int64_t width) {
    const mb_real *restrict row = mb_tensor_real(table) + rows[token] * width;
#pragma omp simd
    for (int64_t j = 0; j < width; j++) {
        out[j] += row[j];
    }
}

static const mb_op embedding_op = {"embedding", embedding_backward};

mb_tensor *mb_embedding(mb_tape *tape, mb_tensor *word, mb_tensor *position, mb_tensor *type, const int32_t *ids,
                        const int32_t *positions, const int32_t *types, int64_t n_tokens) {
    if (mb_tape_status(tape) != MB_OK) {
        return NULL;
    }
    int64_t width = word->dims[1];
    MB_SHAPE_CHECK(position == NULL || position->dims[1] == width, "embedding", word, position);
    MB_SHAPE_CHECK(type == NULL || type->dims[1] == width, "embedding", word, type);
    mb_tensor *y = mb_tape_tensor(tape, 2, (int64_t[]){n_tokens, width});
    mb_real *scratch = mb_tape_thread_rows(tape, 1, width);
    if (y == NULL || scratch == NULL) {
        return NULL;
    }
    const mb_rows y_rows = mb_rows_of(y);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n_tokens; i++) {
        mb_real *out = mb_rows_place(&y_rows, i, mb_tape_my_rows(scratch, 1, width));
        memcpy(out, mb_tensor_real(word) + ids[i] * width, (size_t)width * sizeof *out);
        if (position != NULL) {
            add_rows(out, position, positions, i, width);
        }
        if (type != NULL) {
            add_rows(out, type, types, i, width);
        }
        mb_rows_put(&y_rows, i, out);
    }
    mb_node *node = mb_tape_append(tape, &embedding_op, y, (mb_tensor *[]){word, position, type}, 3);
    if (node != NULL) {
        embedding_saved *saved = mb_tape_alloc(tape, 1, sizeof *saved);
        if (saved == NULL) {
            return NULL;
        }
        *saved = (embedding_saved){ids, positions, types, n_tokens};
        node->saved = saved;
    }
    return mb_tape_end(tape, node, y);
}
