#include "autograd/tape.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/gemm_bf16.h"
#include "tensor/rows.h"

/* Gradients of activations that are free for the next one of the same size. Backward holds few at a time. */
enum { POOL_ENTRIES = 32 };

typedef struct pool_entry {
    void *memory;
    size_t n_bytes;
} pool_entry;

struct mb_tape {
    mb_arena arena;
    mb_node *last;
    mb_status status;
    bool recording;
    mb_dtype dtype;
    uint64_t seed, step;
    uint32_t n_sites;
    pool_entry pool[POOL_ENTRIES];
    int n_pooled;
    mb_tape_observer observer;
};

mb_tape *mb_tape_new(bool recording) {
    mb_tape *tape = calloc(1, sizeof *tape);
    if (tape != NULL) {
        tape->recording = recording;
        tape->dtype = MB_REAL_DTYPE;
    }
    return tape;
}

void mb_tape_free(mb_tape *tape) {
    if (tape != NULL) {
        mb_arena_free(&tape->arena);
        free(tape);
    }
}

void mb_tape_begin(mb_tape *tape, uint64_t seed, uint64_t step) {
    mb_arena_reset(&tape->arena);
    tape->last = NULL;
    tape->status = MB_OK;
    tape->dtype = MB_REAL_DTYPE;
    tape->seed = seed;
    tape->step = step;
    tape->n_sites = 0;
    tape->n_pooled = 0;
}

void mb_tape_set_dtype(mb_tape *tape, mb_dtype dtype) {
    tape->dtype = dtype;
}

mb_status mb_tape_status(const mb_tape *tape) {
    return tape->status;
}
bool mb_tape_recording(const mb_tape *tape) {
    return tape->recording;
}
size_t mb_tape_peak_bytes(const mb_tape *tape) {
    return tape->arena.peak_bytes;
}
uint64_t mb_tape_seed(const mb_tape *tape) {
    return tape->seed;
}
uint64_t mb_tape_step(const mb_tape *tape) {
    return tape->step;
}
uint32_t mb_tape_next_site(mb_tape *tape) {
    return tape->n_sites++;
}

void *mb_tape_alloc(mb_tape *tape, size_t count, size_t size_bytes) {
    void *memory = tape->status == MB_OK ? mb_arena_alloc_array(&tape->arena, count, size_bytes) : NULL;
    if (memory == NULL) {
        tape->status = MB_ERROR_MEMORY;
    }
    return memory;
}

static mb_tensor *tensor_over(mb_tape *tape, void *data, mb_dtype dtype, int n_dims, const int64_t *dims) {
    mb_tensor *t = mb_tape_alloc(tape, 1, sizeof *t);
    if (t != NULL) {
        *t = (mb_tensor){.dtype = dtype, .n_dims = n_dims, .data = data};
        memcpy(t->dims, dims, (size_t)n_dims * sizeof *dims);
    }
    return t;
}

mb_tensor *mb_tape_constant(mb_tape *tape, void *data, int n_dims, const int64_t *dims) {
    return tensor_over(tape, data, MB_REAL_DTYPE, n_dims, dims);
}

static mb_tensor *new_tensor(mb_tape *tape, mb_dtype dtype, int n_dims, const int64_t *dims) {
    mb_tensor *t = tensor_over(tape, NULL, dtype, n_dims, dims);
    if (t != NULL) {
        const size_t row_bytes = (size_t)(dims[0] > 0 ? mb_tensor_count(t) / dims[0] : 0) * mb_dtype_size(dtype);
        t->is_padded = dtype == MB_BF16;
        t->data = mb_tape_alloc(tape, (size_t)(t->is_padded ? mb_bf16_padded(dims[0]) : dims[0]), row_bytes);
    }
    return t == NULL || t->data == NULL ? NULL : t;
}

mb_tensor *mb_tape_tensor(mb_tape *tape, int n_dims, const int64_t *dims) {
    return new_tensor(tape, tape->dtype, n_dims, dims);
}

mb_tensor *mb_tape_real_tensor(mb_tape *tape, int n_dims, const int64_t *dims) {
    return new_tensor(tape, MB_REAL_DTYPE, n_dims, dims);
}

int mb_tape_max_threads(void) {
    return omp_get_max_threads();
}

int mb_tape_thread(void) {
    return omp_get_thread_num();
}

mb_real *mb_tape_thread_rows(mb_tape *tape, int n, int64_t width) {
    return mb_tape_alloc(tape, (size_t)(omp_get_max_threads() * n * width), sizeof(mb_real));
}

mb_real *mb_tape_my_rows(mb_real *rows, int n, int64_t width) {
    return rows + omp_get_thread_num() * n * width;
}

mb_node *mb_tape_append(mb_tape *tape, const mb_op *op, mb_tensor *output, mb_tensor *const *inputs, int n_inputs) {
    bool needs_grad = false;
    for (int i = 0; i < n_inputs; i++) {
        needs_grad |= mb_tape_wants_grad(inputs[i]);
    }
    if (!tape->recording || !needs_grad || output == NULL) {
        return NULL;
    }
    mb_node *node = mb_tape_alloc(tape, 1, sizeof *node);
    if (node == NULL) {
        return NULL;
    }
    *node = (mb_node){.op = op, .output = output, .previous = tape->last};
    for (int i = 0; i < n_inputs; i++) {
        node->inputs[i] = inputs[i];
    }
    output->needs_grad = true;
    tape->last = node;
    return node;
}

mb_tensor *mb_tape_end(mb_tape *tape, const mb_node *node, mb_tensor *y) {
    if (node != NULL && tape->observer.done != NULL) {
        tape->observer.done(tape->observer.context, node, false);
    }
    return tape->status == MB_OK ? y : NULL;
}

void mb_tape_observe(mb_tape *tape, mb_tape_observer observer) {
    tape->observer = observer;
}

bool mb_tape_wants_grad(const mb_tensor *input) {
    return input != NULL && input->needs_grad;
}

static void *pool_take(mb_tape *tape, size_t n_bytes) {
    for (int i = 0; i < tape->n_pooled; i++) {
        if (tape->pool[i].n_bytes == n_bytes) {
            void *memory = tape->pool[i].memory;
            tape->pool[i] = tape->pool[--tape->n_pooled];
            return memory;
        }
    }
    return mb_tape_alloc(tape, n_bytes, 1);
}

static void pool_give(mb_tape *tape, void *memory, size_t n_bytes) {
    if (tape->n_pooled < POOL_ENTRIES) { /* a full pool only means that the arena gives new memory */
        tape->pool[tape->n_pooled++] = (pool_entry){memory, n_bytes};
    }
}

void *mb_tape_grad(mb_tape *tape, mb_tensor *input, mb_real *beta) {
    if (!mb_tape_wants_grad(input)) {
        return NULL;
    }
    *beta = input->is_parameter || input->grad_is_set ? 1 : 0;
    if (input->grad == NULL) {
        input->grad = pool_take(tape, mb_tensor_bytes(input));
    }
    input->grad_is_set = input->grad != NULL;
    return input->grad;
}

static void drop_grad(mb_tape *tape, mb_tensor *t) {
    if (t != NULL && t->grad != NULL) {
        pool_give(tape, t->grad, mb_tensor_bytes(t));
        t->grad = NULL;
        t->grad_is_set = false;
    }
}

mb_status mb_tape_backward_from(mb_tape *tape, mb_tensor *output, const mb_real *cotangent) {
    if (output == NULL || tape->status != MB_OK) {
        return tape->status;
    }
    mb_real beta;
    void *grad = mb_tape_grad(tape, output, &beta);
    if (grad == NULL) {
        return tape->status; /* the loss depends on nothing that is trained */
    }
    const mb_rows rows = mb_rows_over(grad, output->dtype, mb_tensor_count(output));
    mb_rows_add(&rows, 0, 0, cotangent);
    for (mb_node *node = tape->last; node != NULL && tape->status == MB_OK; node = node->previous) {
        mb_tensor *first = node->output, *second = node->second_output;
        if (first->grad_is_set || (second != NULL && second->grad_is_set)) { /* else nothing of the loss depends on it */
            node->op->backward(tape, node);
            if (tape->observer.done != NULL) {
                tape->observer.done(tape->observer.context, node, true);
            }
            drop_grad(tape, first);
            drop_grad(tape, second);
        }
    }
    return tape->status;
}

mb_status mb_tape_backward(mb_tape *tape, mb_tensor *loss) {
    const mb_real one = 1;
    MB_SHAPE_CHECK(loss == NULL || mb_tensor_count(loss) == 1, "mb_tape_backward", loss, loss);
    return mb_tape_backward_from(tape, loss, &one);
}

mb_tape_scope mb_tape_scope_begin(mb_tape *tape) {
    return (mb_tape_scope){mb_arena_get_mark(&tape->arena)};
}

void mb_tape_scope_end_keeping(mb_tape *tape, mb_tape_scope scope, int n_kept, mb_tensor **const *kept) {
    mb_tensor headers[MB_SCOPE_MAX_KEPT];
    void *copies[MB_SCOPE_MAX_KEPT] = {NULL};
    if (tape->recording) {
        return;
    }
    for (int i = 0; i < n_kept; i++) {
        if (tape->status != MB_OK || *kept[i] == NULL) {
            return;
        }
        headers[i] = **kept[i];
    }
    /* Blocks that are newer than the mark are used again after rewinding, and a kept tensor may lie in one: it takes the way
     * over a copy. That happens until the arena's next reset has joined its blocks. */
    if (tape->arena.block != scope.mark.block) {
        for (int i = 0; i < n_kept; i++) {
            const size_t n_bytes = mb_tensor_bytes(&headers[i]);
            copies[i] = malloc(n_bytes);
            if (copies[i] == NULL) {
                tape->status = MB_ERROR_MEMORY;
            } else {
                memcpy(copies[i], headers[i].data, n_bytes);
            }
        }
    }
    const bool whole = tape->status == MB_OK;
    if (whole) {
        mb_arena_rewind(&tape->arena, scope.mark);
    }
    for (int i = 0; i < n_kept; i++) {
        /* Moved down in the order of allocation, a tensor never lands on one that is still to be moved. */
        mb_tensor *moved = whole ? new_tensor(tape, headers[i].dtype, headers[i].n_dims, headers[i].dims) : NULL;
        if (moved != NULL) {
            memmove(moved->data, copies[i] != NULL ? copies[i] : headers[i].data, mb_tensor_bytes(&headers[i]));
        }
        free(copies[i]);
        *kept[i] = moved;
    }
}

void mb_tape_scope_end(mb_tape *tape, mb_tape_scope scope, mb_tensor **kept) {
    mb_tape_scope_end_keeping(tape, scope, 1, &kept);
}

mb_arena_mark mb_tape_scratch_mark(const mb_tape *tape) {
    return mb_arena_get_mark(&tape->arena);
}

void mb_tape_scratch_drop(mb_tape *tape, mb_arena_mark mark) {
    mb_arena_rewind(&tape->arena, mark);
}
