/* The tape: an operation appends a node as it runs forward; backward walks the nodes in reverse. It knows nothing of BERT.
 *
 *     mb_tape *tape = mb_tape_new(true);
 *     mb_tape_begin(tape, seed, step);                  // a new step: forgets the last one, keeps its memory
 *     mb_tensor *h = mb_linear(tape, x, w, b);          // ops.h
 *     mb_tensor *loss = mb_cross_entropy(tape, h, labels, 1.0 / n);
 *     mb_status s = mb_tape_backward(tape, loss);       // gradients are in w->grad, b->grad
 *
 * Errors: like ferror, the tape keeps a sticky status (only MB_ERROR_MEMORY can happen); an op on a failed tape returns NULL
 * and NULL inputs are passed through. A shape mismatch is a bug and aborts with the op's name and both shapes.
 *
 * Memory: activations and what an op saves for backward live in an arena until the next mb_tape_begin. The gradient of an
 * activation is taken from a pool when its first consumer writes it and goes back when its producer has used it, so that all
 * gradients together take a few buffers, still warm in cache. A step in steady state calls no allocator. */
#ifndef MB_AUTOGRAD_TAPE_H
#define MB_AUTOGRAD_TAPE_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "minibert/status.h"
#include "tensor/tensor.h"

typedef struct mb_tape mb_tape;
typedef struct mb_node mb_node;

enum { MB_NODE_MAX_INPUTS = 5 };

/* What an op is, apart from its forward function: a name, and the backward that adds to the inputs' gradients. */
typedef struct mb_op {
    const char *name;
    void (*backward)(mb_tape *tape, mb_node *node);
} mb_op;

struct mb_node {
    const mb_op *op;
    mb_tensor *inputs[MB_NODE_MAX_INPUTS];
    mb_tensor *output;
    mb_tensor *second_output; /* of an op that has two, else NULL; either may go unused */
    void *saved;              /* the op's own struct, in the arena */
    mb_node *previous;        /* the one appended before this: the tape is this chain */
};

/* `recording` false: inference; nothing is saved and mb_tape_backward may not be called. NULL without memory. */
mb_tape *mb_tape_new(bool recording);
void mb_tape_free(mb_tape *tape);
/* Starts a step. (seed, step) determine every dropout mask of it. */
void mb_tape_begin(mb_tape *tape, uint64_t seed, uint64_t step);
/* What the activations of this step and their gradients are kept in from here on: MB_REAL_DTYPE, as mb_tape_begin sets it, or
 * MB_BF16. Sums, statistics and the gradients of parameters are mb_real either way. */
void mb_tape_set_dtype(mb_tape *tape, mb_dtype dtype);
mb_status mb_tape_status(const mb_tape *tape);
bool mb_tape_recording(const mb_tape *tape);
size_t mb_tape_peak_bytes(const mb_tape *tape);

/* Is told of every operation that is recorded, as its forward or its backward ends: how a step is measured. */
typedef struct mb_tape_observer {
    void *context;
    void (*done)(void *context, const mb_node *node, bool backward);
} mb_tape_observer;
void mb_tape_observe(mb_tape *tape, mb_tape_observer observer); /* {0}: nobody */

/* Runs backward from a tensor of one element with cotangent 1. Parameter gradients are ADDED to what is there. */
mb_status mb_tape_backward(mb_tape *tape, mb_tensor *loss);
/* The same from any tensor with a given cotangent of its shape (gradient checks). */
mb_status mb_tape_backward_from(mb_tape *tape, mb_tensor *output, const mb_real *cotangent);

/* Inference only: between mark and release all memory is dropped but the one tensor that is kept (it is moved down). While
 * recording both do nothing. An encoder layer is one such scope, so inference needs the memory of a single layer. */
typedef struct mb_tape_scope {
    mb_arena_mark mark;
} mb_tape_scope;
mb_tape_scope mb_tape_scope_begin(mb_tape *tape);
void mb_tape_scope_end(mb_tape *tape, mb_tape_scope scope, mb_tensor **kept);
/* The same with n_kept tensors, at most MB_SCOPE_MAX_KEPT, each allocated in the scope and in this order. */
enum { MB_SCOPE_MAX_KEPT = 2 };
void mb_tape_scope_end_keeping(mb_tape *tape, mb_tape_scope scope, int n_kept, mb_tensor **const *kept);

/* A tensor over memory that the caller owns (a batch's features, say); needs no gradient. NULL without memory. */
mb_tensor *mb_tape_constant(mb_tape *tape, void *data, int n_dims, const int64_t *dims);

/* --- for the ops (src/autograd/ops/) --- */
/* New output tensor of the step's dtype, uninitialised; its needs_grad is false until a node is appended. */
mb_tensor *mb_tape_tensor(mb_tape *tape, int n_dims, const int64_t *dims);
/* The same in mb_real: a loss, or sums that rounding must not eat. */
mb_tensor *mb_tape_real_tensor(mb_tape *tape, int n_dims, const int64_t *dims);
void *mb_tape_alloc(mb_tape *tape, size_t count, size_t size_bytes); /* arena memory; NULL sets the sticky status */
/* Memory for the length of one op: what was allocated since the mark is dropped. */
mb_arena_mark mb_tape_scratch_mark(const mb_tape *tape);
void mb_tape_scratch_drop(mb_tape *tape, mb_arena_mark mark);
/* Appends a node if the tape records and any input needs a gradient; returns NULL otherwise (nothing need be saved). */
mb_node *mb_tape_append(mb_tape *tape, const mb_op *op, mb_tensor *output, mb_tensor *const *inputs, int n_inputs);
/* How every forward ends: `y`, or NULL once the tape has failed. `node`: what mb_tape_append returned. */
mb_tensor *mb_tape_end(mb_tape *tape, const mb_node *node, mb_tensor *y);
/* Where backward writes the gradient of `input`, in the input's dtype, or NULL if it needs none. *beta becomes 0 (overwrite)
 * or 1 (add): the caller honours it, as in a GEMM. */
void *mb_tape_grad(mb_tape *tape, mb_tensor *input, mb_real *beta);
/* Scratch by thread: how many there can be, and which of them is calling. */
int mb_tape_max_threads(void);
int mb_tape_thread(void);
/* `n` rows of scratch for each thread, `width` numbers long, until the step ends; mb_tape_my_rows: the calling thread's. */
mb_real *mb_tape_thread_rows(mb_tape *tape, int n, int64_t width);
mb_real *mb_tape_my_rows(mb_real *rows, int n, int64_t width);
/* Whether mb_tape_grad would return memory, without claiming it. */
bool mb_tape_wants_grad(const mb_tensor *input);
uint64_t mb_tape_seed(const mb_tape *tape);
uint64_t mb_tape_step(const mb_tape *tape);
/* A number for each draw of a step, in order: which dropout this is. */
uint32_t mb_tape_next_site(mb_tape *tape);

#endif
