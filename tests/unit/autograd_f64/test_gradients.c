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
#include "base/threads.h"

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
static mb_tensor *build_embedding_word_alone(mb_tape *t, mb_tensor **in) {
    return mb_embedding(t, in[0], NULL, NULL, ids, NULL, NULL, 5);
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
static mb_tensor *build_norm_no_bias(mb_tape *t, mb_tensor **in) {
    return mb_add_layer_norm(t, in[0], in[1], in[2], NULL, 1e-5, 0.2);
}
/* Both outputs, each with a consumer of its own: the sum is the next residual. */
static mb_tensor *build_norm_sum(mb_tape *t, mb_tensor **in) {
    mb_tensor *sum, *y = mb_add_layer_norm_sum(t, in[0], in[1], in[2], NULL, 1e-5, 0.3, &sum);
    return mb_add_layer_norm(t, y, sum, in[3], in[4], 1e-5, 0);
}
static mb_tensor *build_norm_sum_alone(mb_tape *t, mb_tensor **in) {
    mb_tensor *sum;
    cr_assert_not_null(mb_add_layer_norm_sum(t, in[0], in[1], in[2], in[2], 1e-5, 0.3, &sum));
    return mb_add(t, sum, mb_add_layer_norm(t, in[1], NULL, in[2], NULL, 1e-5, 0));
}
static mb_tensor *build_geglu(mb_tape *t, mb_tensor **in) {
    return mb_gated_activation(t, in[0], MB_ACTIVATION_GELU, 0);
}
static mb_tensor *build_geglu_dropout(mb_tape *t, mb_tensor **in) {
    return mb_gated_activation(t, in[0], MB_ACTIVATION_GELU, 0.3);
}
static mb_tensor *build_gated_tanh_gelu(mb_tape *t, mb_tensor **in) {
    return mb_gated_activation(t, in[0], MB_ACTIVATION_GELU_TANH, 0);
}
static mb_tensor *build_gated_relu(mb_tape *t, mb_tensor **in) {
    return mb_gated_activation(t, in[0], MB_ACTIVATION_RELU, 0);
}
static mb_tensor *build_gated_tanh(mb_tape *t, mb_tensor **in) {
    return mb_gated_activation(t, in[0], MB_ACTIVATION_TANH, 0);
}
static mb_tensor *build_gated_identity_twice(mb_tape *t, mb_tensor **in) {
    return mb_add(t, mb_gated_activation(t, in[0], MB_ACTIVATION_IDENTITY, 0),
                  mb_gated_activation(t, in[0], MB_ACTIVATION_GELU, 0));
}
static mb_tensor *build_dropout(mb_tape *t, mb_tensor **in) {
    return mb_dropout(t, in[0], 0.4);
}
/* Sequences of 5, 1, 3 and 4 tokens; two heads of 3. */
static const int32_t offsets[] = {0, 5, 6, 9, 13};
static const mb_sequences sequences = {4, offsets, 5};
static mb_tensor *build_attention(mb_tape *t, mb_tensor **in) {
    return mb_attention(t, in[0], &sequences, &(mb_attention_options){.n_heads = 2});
}
static mb_tensor *build_attention_dropout(mb_tape *t, mb_tensor **in) {
    return mb_attention(t, in[0], &sequences, &(mb_attention_options){.n_heads = 2, .dropout = 0.25});
}
/* Longer than one block of queries (128). */
static const int32_t long_offsets[] = {0, 131, 133};
static const mb_sequences long_sequences = {2, long_offsets, 131};
static mb_tensor *build_attention_long(mb_tape *t, mb_tensor **in) {
    return mb_attention(t, in[0], &long_sequences, &(mb_attention_options){.n_heads = 1, .dropout = 0.1});
}
/* For heads of 2 * half. */
enum { N_POSITIONS = 150, MAX_HALF = 2 };
static const mb_rotary_table *rotary_table(int half) {
    static mb_real cosines[N_POSITIONS * MAX_HALF], sines[N_POSITIONS * MAX_HALF];
    static mb_rotary_table table;
    table = (mb_rotary_table){N_POSITIONS, half, cosines, sines};
    for (int p = 0; p < N_POSITIONS; p++) {
        for (int j = 0; j < half; j++) {
            const double angle = p * (j == 0 ? 0.9 : 0.07);
            cosines[half * p + j] = cos(angle);
            sines[half * p + j] = sin(angle);
        }
    }
    return &table;
}
static mb_tensor *build_attention_rotary(mb_tape *t, mb_tensor **in) {
    return mb_attention(t, in[0], &sequences, &(mb_attention_options){.n_heads = 2, .rotary = rotary_table(2)});
}
/* The gradient of qkv has two sources: the second must add. */
static mb_tensor *build_attention_rotary_twice(mb_tape *t, mb_tensor **in) {
    mb_tensor *turned = mb_attention(
        t, in[0], &sequences, &(mb_attention_options){.n_heads = 2, .is_local = true, .reach = 1, .rotary = rotary_table(2)});
    return mb_add(t, turned, mb_attention(t, in[0], &sequences, &(mb_attention_options){.n_heads = 2, .dropout = 0.2}));
}
static mb_tensor *build_attention_local(mb_tape *t, mb_tensor **in) {
    return mb_attention(t, in[0], &sequences, &(mb_attention_options){.n_heads = 2, .is_local = true, .reach = 2});
}
static mb_tensor *build_attention_local_twice(mb_tape *t, mb_tensor **in) {
    mb_tensor *near = mb_attention(t, in[0], &sequences, &(mb_attention_options){.n_heads = 2, .is_local = true, .reach = 1});
    return mb_add(t, near, mb_attention(t, in[0], &sequences, &(mb_attention_options){.n_heads = 2, .is_local = true}));
}
/* Three blocks of queries, the middle one with keys on both sides that it does not see. */
static mb_tensor *build_attention_local_long(mb_tape *t, mb_tensor **in) {
    return mb_attention(
        t, in[0], &long_sequences,
        &(mb_attention_options){.n_heads = 1, .dropout = 0.1, .is_local = true, .reach = 20, .rotary = rotary_table(1)});
}
/* A reach for which blocks are of the larger size. */
static mb_tensor *build_attention_local_wide(mb_tape *t, mb_tensor **in) {
    return mb_attention(t, in[0], &long_sequences,
                        &(mb_attention_options){.n_heads = 1, .is_local = true, .reach = 70, .rotary = rotary_table(1)});
}
static mb_tensor *build_mean_rows(mb_tape *t, mb_tensor **in) {
    return mb_mean_rows(t, in[0], &sequences);
}
static mb_tensor *build_mean_rows_twice(mb_tape *t, mb_tensor **in) {
    mb_tensor *mean = mb_mean_rows(t, in[0], &sequences);
    return mb_add(t, mean, mb_mean_rows(t, mb_dropout(t, in[0], 0.3), &sequences));
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
    return mb_linear_cross_entropy(t, in[0], in[1], in[2], NULL, targets, 0.37, NULL);
}
/* Four of five classes, of which one that is no target weighs three times as much. */
static const int32_t sampled_targets[] = {1, 0, 4, 4, 1, 0, 1};
static mb_tensor *build_sampled_cross_entropy(mb_tape *t, mb_tensor **in) {
    static const int32_t classes[] = {0, 1, 3, 4}, places[] = {0, 1, -1, 2, 3};
    static const mb_real log_weights[] = {0, 0, (mb_real)1.0986122886681098, 0};
    return mb_linear_cross_entropy(t, in[0], in[1], in[2], &(mb_class_sample){4, classes, log_weights, places}, sampled_targets,
                                   0.37, NULL);
}
static mb_tensor *build_add(mb_tape *t, mb_tensor **in) {
    return mb_add(t, in[0], in[1]);
}

static const gradient_case cases[] = {
    {"embedding", "sum of three tables", 3, {{7, 5}, {4, 5}, {2, 5}}, build_embedding},
    {"embedding", "wider than a slice", 3, {{7, 67}, {4, 67}, {2, 67}}, build_embedding},
    {"embedding", "words alone", 1, {{7, 5}}, build_embedding_word_alone},
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
    {"add_layer_norm", "no bias", 3, {{5, 7}, {5, 7}, {7}}, build_norm_no_bias},
    {"add_layer_norm", "the sum as well", 5, {{5, 7}, {5, 7}, {7}, {7}, {7}}, build_norm_sum},
    {"add_layer_norm", "the sum alone", 3, {{5, 7}, {5, 7}, {7}}, build_norm_sum_alone},
    {"add_layer_norm", "the sum as well, many rows", 5, {{67, 5}, {67, 5}, {5}, {5}, {5}}, build_norm_sum},
    {"gated_activation", "gelu", 1, {{6, 10}}, build_geglu},
    {"gated_activation", "gelu, dropout", 1, {{6, 14}}, build_geglu_dropout},
    {"gated_activation", "gelu by tanh", 1, {{6, 10}}, build_gated_tanh_gelu},
    {"gated_activation", "relu", 1, {{6, 10}}, build_gated_relu},
    {"gated_activation", "tanh", 1, {{6, 10}}, build_gated_tanh},
    {"gated_activation", "identity and gelu of one input", 1, {{6, 10}}, build_gated_identity_twice},
    {"dropout", "p 0.4", 1, {{5, 9}}, build_dropout},
    {"attention", "two heads, four sequences", 1, {{13, 18}}, build_attention},
    {"attention", "dropout", 1, {{13, 18}}, build_attention_dropout},
    {"attention", "longer than a query block", 1, {{133, 9}}, build_attention_long},
    {"attention", "rotary", 1, {{13, 24}}, build_attention_rotary},
    {"attention", "local", 1, {{13, 18}}, build_attention_local},
    {"attention", "local, input used twice", 1, {{13, 18}}, build_attention_local_twice},
    {"attention", "rotary and local, input used twice", 1, {{13, 24}}, build_attention_rotary_twice},
    {"attention", "rotary, local and dropout, three query blocks", 1, {{133, 6}}, build_attention_local_long},
    {"attention", "rotary and local, a wide reach", 1, {{133, 6}}, build_attention_local_wide},
    {"mean_rows", "four sequences", 1, {{13, 5}}, build_mean_rows},
    {"mean_rows", "input used twice", 1, {{13, 5}}, build_mean_rows_twice},
    {"gather_rows", "a row twice", 1, {{5, 3}}, build_gather},
    {"cross_entropy", "five classes", 1, {{7, 5}}, build_cross_entropy},
    {"linear_cross_entropy", "tied output", 3, {{7, 4}, {5, 4}, {5}}, build_linear_cross_entropy},
    {"linear_cross_entropy", "a sample of the classes", 3, {{7, 4}, {5, 4}, {5}}, build_sampled_cross_entropy},
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
        t->grad = calloc(n, sizeof(mb_real));
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

/* Largest relative errors over all elements: of backward's gradient, and of the same with a wrong sign planted. */
typedef struct errors {
    double right, wrong;
} errors;

static double relative_error(double exact, double numeric, double typical) {
    return fabs(exact - numeric) / fmax(fmax(fabs(exact), fabs(numeric)), typical);
}

static errors largest_errors(const gradient_case *c) {
    mb_tape *tape = mb_tape_new(true);
    inputs in;
    inputs_make(c, &in);
    errors worst = {0, 0};
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
            double numeric = (above - below) / (2 * step_size);
            worst.right = fmax(worst.right, relative_error(analytic_grads[i][j], numeric, typical));
            worst.wrong = fmax(worst.wrong, relative_error(-analytic_grads[i][j], numeric, typical));
        }
        free(analytic_grads[i]);
    }
    inputs_free(c, &in);
    mb_tape_free(tape);
    return worst;
}

Test(gradients, every_op_agrees_with_central_differences) {
    mb_threads_set(1); /* tiny work: threads would only wait for each other */
    for (int i = 0; i < N_CASES; i++) {
        const errors worst = largest_errors(&cases[i]);
        cr_expect(worst.right < tolerance, "%s (%s): relative error %.3g", cases[i].op, cases[i].name, worst.right);
        cr_expect(worst.wrong > 0.5, "%s (%s): a wrong sign would go unnoticed", cases[i].op, cases[i].name);
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
