/* Every op's backward against central differences in double: every element of every input, odd shapes, a random cotangent
 * (a sum of the outputs would be blind to a softmax, whose outputs always sum to 1).
 *
 * Relative error: |analytic - numeric| / max(|analytic|, |numeric|, typical), where `typical` is the root mean square of that
 * input's analytic gradient, so that elements which happen to be near zero are not judged by rounding noise alone. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/ops.h"
#include "base/rng.h"

enum { MAX_INPUTS = 5 };
static const double tolerance = 1e-6, step_size = 1e-5;

typedef struct gradient_case {
    const char *op, *name;
    int n_inputs;
    int64_t dims[MAX_INPUTS][MB_MAX_DIMS]; /* trailing zeros: fewer dimensions */
    mb_tensor *(*build)(mb_tape *tape, mb_tensor **in);
} gradient_case;

/* --- the cases --- */

static const int32_t ids[] = {3, 0, 6, 3, 2}, positions[] = {0, 1, 2, 0, 1}, types[] = {0, 0, 1, 1, 0};
static mb_tensor *build_embedding(mb_tape *t, mb_tensor **in) {
    return mb_embedding(t, in[0], in[1], in[2], ids, positions, types, 5);
}
static mb_tensor *build_linear(mb_tape *t, mb_tensor **in) {
    return mb_linear(t, in[0], in[1], in[2]);
}
static mb_tensor *build_linear_no_bias(mb_tape *t, mb_tensor **in) {
    return mb_linear(t, in[0], in[1], NULL);
}
static mb_tensor *build_gelu(mb_tape *t, mb_tensor **in) {
    return mb_linear_activation(t, in[0], in[1], in[2], MB_ACTIVATION_GELU);
}
static mb_tensor *build_gelu_tanh(mb_tape *t, mb_tensor **in) {
    return mb_linear_activation(t, in[0], in[1], in[2], MB_ACTIVATION_GELU_TANH);
}
static mb_tensor *build_relu(mb_tape *t, mb_tensor **in) {
    return mb_linear_activation(t, in[0], in[1], in[2], MB_ACTIVATION_RELU);
}
static mb_tensor *build_tanh(mb_tape *t, mb_tensor **in) {
    return mb_linear_activation(t, in[0], in[1], in[2], MB_ACTIVATION_TANH);
}
/* x feeds two consumers: gradients must add, not overwrite. */
static mb_tensor *build_linear_twice(mb_tape *t, mb_tensor **in) {
    return mb_add(t, mb_linear(t, in[0], in[1], in[2]), mb_linear_activation(t, in[0], in[1], in[2], MB_ACTIVATION_TANH));
}
static mb_tensor *build_norm(mb_tape *t, mb_tensor **in) {
    return mb_add_layer_norm(t, in[0], in[1], in[2], in[3], 1e-12, 0);
}
static mb_tensor *build_norm_dropout(mb_tape *t, mb_tensor **in) {
    return mb_add_layer_norm(t, in[0], in[1], in[2], in[3], 1e-12, 0.3);
}
static mb_tensor *build_norm_plain(mb_tape *t, mb_tensor **in) {
    return mb_add_layer_norm(t, in[0], NULL, in[1], in[2], 1e-5, 0);
}
static mb_tensor *build_dropout(mb_tape *t, mb_tensor **in) {
    return mb_dropout(t, in[0], 0.4);
}
/* Sequences of 5, 1, 3 and 4 tokens; two heads of 3. */
static const int32_t offsets[] = {0, 5, 6, 9, 13};
static const mb_sequences sequences = {4, offsets, 5};
static mb_tensor *build_attention(mb_tape *t, mb_tensor **in) {
    return mb_attention(t, in[0], &sequences, 2, 0);
}
static mb_tensor *build_attention_dropout(mb_tape *t, mb_tensor **in) {
    return mb_attention(t, in[0], &sequences, 2, 0.25);
}
/* Longer than one block of queries (128). */
static const int32_t long_offsets[] = {0, 131, 133};
static const mb_sequences long_sequences = {2, long_offsets, 131};
static mb_tensor *build_attention_long(mb_tape *t, mb_tensor **in) {
    return mb_attention(t, in[0], &long_sequences, 1, 0.1);
}
static const int32_t rows[] = {2, 0, 2, 4};
static mb_tensor *build_gather(mb_tape *t, mb_tensor **in) {
    return mb_gather_rows(t, in[0], rows, 4);
}
static const int32_t targets[] = {1, 0, 4, 2, 2, 0, 3};
static mb_tensor *build_cross_entropy(mb_tape *t, mb_tensor **in) {
    return mb_cross_entropy(t, in[0], targets, 0.37);
}
static mb_tensor *build_linear_cross_entropy(mb_tape *t, mb_tensor **in) {
    return mb_linear_cross_entropy(t, in[0], in[1], in[2], targets, 0.37, NULL);
}
static mb_tensor *build_add(mb_tape *t, mb_tensor **in) {
    return mb_add(t, in[0], in[1]);
}

static const gradient_case cases[] = {
    {"embedding", "sum of three tables", 3, {{7, 5}, {4, 5}, {2, 5}}, build_embedding},
    {"embedding", "wider than a slice", 3, {{7, 67}, {4, 67}, {2, 67}}, build_embedding},
    {"linear", "bias", 3, {{7, 5}, {3, 5}, {3}}, build_linear},
    {"linear", "no bias", 2, {{7, 5}, {3, 5}}, build_linear_no_bias},
    {"linear", "more rows than a block", 3, {{131, 3}, {5, 3}, {5}}, build_linear},
    {"linear", "gelu", 3, {{6, 5}, {9, 5}, {9}}, build_gelu},
    {"linear", "gelu by tanh", 3, {{6, 5}, {9, 5}, {9}}, build_gelu_tanh},
    {"linear", "relu", 3, {{6, 5}, {9, 5}, {9}}, build_relu},
    {"linear", "tanh", 3, {{6, 5}, {9, 5}, {9}}, build_tanh},
    {"linear", "input used twice", 3, {{6, 5}, {9, 5}, {9}}, build_linear_twice},
    {"add_layer_norm", "residual", 4, {{5, 7}, {5, 7}, {7}, {7}}, build_norm},
    {"add_layer_norm", "residual and dropout", 4, {{5, 7}, {5, 7}, {7}, {7}}, build_norm_dropout},
    {"add_layer_norm", "no residual, many rows", 3, {{67, 9}, {9}, {9}}, build_norm_plain},
    {"dropout", "p 0.4", 1, {{5, 9}}, build_dropout},
    {"attention", "two heads, four sequences", 1, {{13, 18}}, build_attention},
    {"attention", "dropout", 1, {{13, 18}}, build_attention_dropout},
    {"attention", "longer than a query block", 1, {{133, 9}}, build_attention_long},
    {"gather_rows", "a row twice", 1, {{5, 3}}, build_gather},
    {"cross_entropy", "five classes", 1, {{7, 5}}, build_cross_entropy},
    {"linear_cross_entropy", "tied output", 3, {{7, 4}, {5, 4}, {5}}, build_linear_cross_entropy},
    {"add", "two inputs", 2, {{3, 4}, {3, 4}}, build_add},
};
enum { N_CASES = sizeof cases / sizeof *cases };

/* --- the check --- */

static double random_at(uint32_t a, uint32_t b) {
    mb_rng_block block = mb_rng_at(42, MB_STREAM_TEST, a, b, 0);
    float normal[2];
    mb_rng_normal2(block.v[0], block.v[1], normal);
    return (double)normal[0];
}

typedef struct inputs {
    mb_tensor tensors[MAX_INPUTS];
    mb_tensor *pointers[MAX_INPUTS];
} inputs;

static void inputs_make(const gradient_case *c, inputs *in) {
    for (int i = 0; i < c->n_inputs; i++) {
        mb_tensor *t = &in->tensors[i];
        *t = (mb_tensor){.dtype = MB_REAL_DTYPE, .needs_grad = true, .is_parameter = true};
        while (t->n_dims < MB_MAX_DIMS && c->dims[i][t->n_dims] > 0) {
            t->dims[t->n_dims] = c->dims[i][t->n_dims];
            t->n_dims++;
        }
        size_t n = (size_t)mb_tensor_count(t);
        mb_real *data = calloc(n, sizeof *data);
        t->data = data;
        t->grad = calloc(n, sizeof *t->grad);
        for (size_t j = 0; j < n; j++) {
            data[j] = random_at((uint32_t)i, (uint32_t)j);
        }
        in->pointers[i] = t;
    }
}

static void inputs_free(const gradient_case *c, inputs *in) {
    for (int i = 0; i < c->n_inputs; i++) {
        free(in->tensors[i].data);
        free(in->tensors[i].grad);
    }
}

/* A loss is differentiated with cotangent 1, as its contract demands; other outputs with random numbers. */
static double cotangent_at(const mb_tensor *y, int64_t i) {
    return mb_tensor_count(y) == 1 ? 1 : random_at(99, (uint32_t)i);
}

static double project(mb_tape *tape, const gradient_case *c, inputs *in) {
    mb_tape_begin(tape, 7, 3);
    mb_tensor *y = c->build(tape, in->pointers);
    cr_assert_not_null(y);
    double sum = 0;
    for (int64_t i = 0; i < mb_tensor_count(y); i++) {
        sum += cotangent_at(y, i) * mb_tensor_real(y)[i];
    }
    return sum;
}

static void analytic(mb_tape *tape, const gradient_case *c, inputs *in) {
    for (int i = 0; i < c->n_inputs; i++) {
        memset(in->tensors[i].grad, 0, (size_t)mb_tensor_count(&in->tensors[i]) * sizeof(mb_real));
    }
    mb_tape_begin(tape, 7, 3);
    mb_tensor *y = c->build(tape, in->pointers);
    cr_assert_not_null(y);
    mb_real *cotangent = calloc((size_t)mb_tensor_count(y), sizeof *cotangent);
    for (int64_t i = 0; i < mb_tensor_count(y); i++) {
        cotangent[i] = cotangent_at(y, i);
    }
    cr_assert_eq(mb_tape_backward_from(tape, y, cotangent), MB_OK);
    free(cotangent);
}

/* Largest relative error over all elements; `sign` -1 plants a wrong sign in the analytic gradient. */
static double largest_error(const gradient_case *c, double sign) {
    mb_tape *tape = mb_tape_new(true);
    inputs in;
    inputs_make(c, &in);
    double worst = 0;
    analytic(tape, c, &in);
    mb_real *analytic_grads[MAX_INPUTS];
    for (int i = 0; i < c->n_inputs; i++) {
        size_t n_bytes = (size_t)mb_tensor_count(&in.tensors[i]) * sizeof(mb_real);
        analytic_grads[i] = malloc(n_bytes);
        memcpy(analytic_grads[i], in.tensors[i].grad, n_bytes);
    }
    for (int i = 0; i < c->n_inputs; i++) {
        mb_tensor *t = &in.tensors[i];
        int64_t n = mb_tensor_count(t);
        double squares = 0;
        for (int64_t j = 0; j < n; j++) {
            squares += analytic_grads[i][j] * analytic_grads[i][j];
        }
        double typical = sqrt(squares / (double)n);
        cr_assert(typical > 1e-6, "%s (%s): the gradient of input %d is zero; the case tests nothing", c->op, c->name, i);
        for (int64_t j = 0; j < n; j++) {
            mb_real *x = &mb_tensor_real(t)[j], kept = *x;
            *x = kept + step_size;
            double above = project(tape, c, &in);
            *x = kept - step_size;
            double below = project(tape, c, &in);
            *x = kept;
            double numeric = (above - below) / (2 * step_size), exact = sign * analytic_grads[i][j];
            double error = fabs(exact - numeric) / fmax(fmax(fabs(exact), fabs(numeric)), typical);
            worst = fmax(worst, error);
        }
        free(analytic_grads[i]);
    }
    inputs_free(c, &in);
    mb_tape_free(tape);
    return worst;
}

Test(gradients, every_op_agrees_with_central_differences) {
    for (int i = 0; i < N_CASES; i++) {
        double error = largest_error(&cases[i], 1);
        cr_expect(error < tolerance, "%s (%s): relative error %.3g", cases[i].op, cases[i].name, error);
    }
}

Test(gradients, a_wrong_sign_is_seen) {
    for (int i = 0; i < N_CASES; i++) {
        cr_expect(largest_error(&cases[i], -1) > 0.5, "%s (%s)", cases[i].op, cases[i].name);
    }
}

Test(gradients, every_op_has_a_case) {
    static const char *const names[] = {
#define X(name) #name,
#include "autograd/ops.def"
#undef X
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        bool found = false;
        for (int j = 0; j < N_CASES; j++) {
            found |= strcmp(names[i], cases[j].op) == 0;
        }
        cr_expect(found, "ops.def names '%s', and no gradient check does", names[i]);
    }
}
