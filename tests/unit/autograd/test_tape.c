/* What the tape promises beyond gradients: memory, errors, inference, independence of threads. */
#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/ops.h"
#include "base/rng.h"

enum { N = 300, H = 24, F = 40, HEADS = 3, V = 500 };

static const int32_t offsets[] = {0, 7, 8, 150, 300};
static const mb_sequences sequences = {4, offsets, 150};

/* One small encoder layer and a masked-LM output: every op that runs in parallel. */
typedef struct network {
    mb_tensor parameters[9];
    int32_t targets[N];
} network;

static const int64_t shapes[9][2] = {{N, H}, {3 * H, H}, {3 * H, 0}, {F, H}, {F, 0}, {H, F}, {H, 0}, {H, 0}, {V, H}};

static void network_make(network *net) {
    for (int p = 0; p < 9; p++) {
        mb_tensor *t = &net->parameters[p];
        *t = (mb_tensor){.dtype = MB_REAL_DTYPE, .n_dims = shapes[p][1] == 0 ? 1 : 2, .needs_grad = true, .is_parameter = true};
        memcpy(t->dims, shapes[p], sizeof shapes[p]);
        int64_t count = mb_tensor_count(t);
        t->data = calloc((size_t)count, sizeof(mb_real));
        t->grad = calloc((size_t)count, sizeof(mb_real));
        for (int64_t i = 0; i < count; i++) {
            mb_tensor_real(t)[i] = mb_rng_uniform(mb_rng_at(4, MB_STREAM_TEST, (uint32_t)p, (uint32_t)i, 0).v[0]) - 0.5f;
        }
    }
    for (int i = 0; i < N; i++) {
        net->targets[i] = (i * 31) % V;
    }
}

static void network_free(network *net) {
    for (int p = 0; p < 9; p++) {
        free(net->parameters[p].data);
        free(net->parameters[p].grad);
    }
}

static mb_tensor *forward(network *net, mb_tape *tape, double dropout) {
    mb_tensor *p = net->parameters;
    mb_tape_begin(tape, 3, 17);
    mb_tape_scope scope = mb_tape_scope_begin(tape);
    mb_tensor *h = mb_linear(tape, &p[0], &p[1], &p[2]);
    h = mb_attention(tape, h, &sequences, &(mb_attention_options){.n_heads = HEADS, .dropout = dropout});
    mb_tensor *inner = mb_linear_activation(tape, h, &p[3], &p[4], MB_ACTIVATION_GELU);
    h = mb_add_layer_norm(tape, mb_linear(tape, inner, &p[5], &p[6]), h, &p[7], &p[6], 1e-12, dropout);
    mb_tape_scope_end(tape, scope, &h);
    return h;
}

static mb_tensor *loss_of(network *net, mb_tape *tape, double dropout) {
    mb_tensor *h = forward(net, tape, dropout);
    static mb_tensor bias = {.dtype = MB_REAL_DTYPE, .n_dims = 1, .dims = {V}};
    static mb_real zeros[V], bias_grad[V];
    bias.data = zeros;
    bias.grad = bias_grad;
    bias.is_parameter = true;
    return mb_linear_cross_entropy(tape, h, &net->parameters[8], &bias, NULL, net->targets, 1.0 / N, NULL);
}

Test(tape, loss_and_gradients_do_not_depend_on_the_number_of_threads) {
    network net;
    network_make(&net);
    mb_tape *tape = mb_tape_new(true);
    mb_real loss[4], *grads[4][9];
    for (int threads = 1; threads <= 4; threads++) {
        omp_set_num_threads(threads);
        for (int p = 0; p < 9; p++) {
            memset(net.parameters[p].grad, 0, (size_t)mb_tensor_count(&net.parameters[p]) * sizeof(mb_real));
        }
        mb_tensor *l = loss_of(&net, tape, 0.1);
        cr_assert_not_null(l);
        cr_assert_eq(mb_tape_backward(tape, l), MB_OK);
        loss[threads - 1] = mb_tensor_real(l)[0];
        for (int p = 0; p < 9; p++) {
            size_t n_bytes = (size_t)mb_tensor_count(&net.parameters[p]) * sizeof(mb_real);
            grads[threads - 1][p] = malloc(n_bytes);
            memcpy(grads[threads - 1][p], net.parameters[p].grad, n_bytes);
        }
    }
    for (int threads = 2; threads <= 4; threads++) {
        cr_expect_eq(loss[threads - 1], loss[0]);
        for (int p = 0; p < 9; p++) {
            cr_expect_arr_eq(grads[threads - 1][p], grads[0][p], (size_t)mb_tensor_count(&net.parameters[p]) * sizeof(mb_real),
                             "parameter %d, %d threads", p, threads);
        }
    }
    for (int i = 0; i < 36; i++) {
        free(grads[i / 9][i % 9]);
    }
    mb_tape_free(tape);
    network_free(&net);
}

Test(tape, inference_gives_the_values_of_recording_in_less_memory) {
    network net;
    network_make(&net);
    mb_tape *recording = mb_tape_new(true), *inference = mb_tape_new(false);
    for (int again = 0; again < 3; again++) { /* the first pass grows the arena, the later ones rewind inside one block */
        mb_tensor *a = forward(&net, recording, 0), *b = forward(&net, inference, 0.5);
        cr_assert(a != NULL && b != NULL);
        cr_expect_arr_eq(a->data, b->data, N * H * sizeof(mb_real), "pass %d", again);
    }
    cr_expect(mb_tape_peak_bytes(inference) < mb_tape_peak_bytes(recording));
    mb_tape_free(recording);
    mb_tape_free(inference);
    network_free(&net);
}

Test(tape, a_step_draws_the_same_dropout_again_and_another_step_another) {
    network net;
    network_make(&net);
    mb_tape *tape = mb_tape_new(true);
    mb_real with = mb_tensor_real(loss_of(&net, tape, 0.2))[0], again = mb_tensor_real(loss_of(&net, tape, 0.2))[0];
    mb_real without = mb_tensor_real(loss_of(&net, tape, 0))[0];
    cr_expect_eq(with, again);
    cr_expect_neq(with, without);
    mb_tape_begin(tape, 3, 18);
    mb_tensor *dropped = mb_dropout(tape, &net.parameters[0], 0.5);
    mb_real *kept = malloc(N * H * sizeof *kept);
    memcpy(kept, dropped->data, N * H * sizeof *kept);
    mb_tape_begin(tape, 3, 19);
    dropped = mb_dropout(tape, &net.parameters[0], 0.5);
    cr_expect(memcmp(kept, dropped->data, N * H * sizeof *kept) != 0);
    free(kept);
    mb_tape_free(tape);
    network_free(&net);
}

Test(tape, running_out_of_memory_is_a_sticky_status) {
    mb_tape *tape = mb_tape_new(true);
    mb_tape_begin(tape, 0, 0);
    cr_expect_null(mb_tape_alloc(tape, SIZE_MAX / 2, 4));
    cr_expect_eq(mb_tape_status(tape), MB_ERROR_MEMORY);
    network net;
    network_make(&net);
    cr_expect_null(mb_linear(tape, &net.parameters[0], &net.parameters[1], NULL), "an op on a failed tape does nothing");
    cr_expect_eq(mb_tape_backward(tape, NULL), MB_ERROR_MEMORY);
    mb_tape_begin(tape, 0, 1);
    cr_expect_eq(mb_tape_status(tape), MB_OK, "the next step starts afresh");
    network_free(&net);
    mb_tape_free(tape);
}

/* A frozen input: nothing is recorded below it, and what is above still learns. */
Test(tape, constants_get_no_gradient) {
    network net;
    network_make(&net);
    mb_tape *tape = mb_tape_new(true);
    net.parameters[0].needs_grad = false;
    mb_tensor *l = loss_of(&net, tape, 0.1);
    cr_assert_eq(mb_tape_backward(tape, l), MB_OK);
    double frozen = 0, trained = 0;
    for (int64_t i = 0; i < N * H; i++) {
        frozen += fabs((double)((const mb_real *)net.parameters[0].grad)[i]);
    }
    for (int64_t i = 0; i < 3 * H * H; i++) {
        trained += fabs((double)((const mb_real *)net.parameters[1].grad)[i]);
    }
    cr_expect_eq(frozen, 0);
    cr_expect(trained > 0);
    mb_tape_free(tape);
    network_free(&net);
}
