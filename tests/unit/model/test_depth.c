/* A model that begins with some of its layers. */
#include <string.h>

#include "autograd/tape.h"
#include "support.h"

enum { LENGTH = 24, HIDDEN = 32, LAYERS = 3, VOCABULARY = 60, N_MASKED = 5 };
static const int32_t masked[N_MASKED] = {1, 4, 9, 15, 22}, targets[N_MASKED] = {7, 50, 31, 12, 8};

static mb_model *new_modern(mb_dtype dtype) {
    mb_model_config config = tiny_config();
    mb_error error;
    config.vocab_size = VOCABULARY;
    config.n_layers = LAYERS;
    config.hidden_size = HIDDEN;
    config.n_heads = 2;
    config.max_positions = LENGTH;
    mb_model *model = new_modern_masked_lm(&config, 0.2); /* so that a layer counts */
    ASSERT_OK(mb_model_set_dtype(model, dtype, true, &error), error);
    const mb_params *params = mb_model_params(model);
    const mb_param *norm = &params->views[mb_params_find(params, "model.final_norm.weight")];
    for (int64_t i = 0; i < norm->count; i++) { /* unlike the other norms */
        params->weights[norm->offset + i] = (mb_real)(1 + 0.1 * (double)(i % 7));
    }
    return model;
}

/* The loss; the gradients are added to. */
static double run(mb_model *model, mb_tape *tape) {
    static const int32_t offsets[] = {0, LENGTH};
    int32_t ids[LENGTH];
    int64_t n_correct;
    for (int32_t i = 0; i < LENGTH; i++) {
        ids[i] = 5 + (7 * i + i * i) % (VOCABULARY - 5);
    }
    const mb_model_input input = {
        .n_tokens = LENGTH, .ids = ids, .sequences = {.n = 1, .offsets = offsets, .max_length = LENGTH}};
    mb_tape_begin(tape, 0, 0);
    mb_tensor *loss = mb_model_masked_lm(model, tape, &input, &(mb_masked_tokens){N_MASKED, masked, targets, NULL},
                                         1.0 / N_MASKED, &n_correct);
    const double value = (double)mb_tensor_real(loss)[0];
    cr_assert_eq(mb_tape_backward(tape, loss), MB_OK);
    return value;
}

static double grad_square(mb_model *model, const char *name) {
    const mb_params *params = mb_model_params(model);
    const int index = mb_params_find(params, name);
    cr_assert_geq(index, 0, "%s", name);
    const mb_param *view = &params->views[index];
    double sum = 0;
    for (int64_t i = 0; i < view->count; i++) {
        sum += (double)params->grads[view->offset + i] * (double)params->grads[view->offset + i];
    }
    return sum;
}

static void check(mb_dtype dtype) {
    mb_model *model = new_modern(dtype);
    mb_tape *tape = mb_tape_new(true);
    const double of_random_layers = run(model, tape);
    mb_model_begin_shallow(model, 1);
    mb_model_pack_weights(model);
    cr_expect_eq(mb_model_depth(model), 1);
    const double shallow = run(model, tape);
    cr_expect_neq(shallow, of_random_layers, "the upper layers did nothing before");

    memset(mb_model_params(model)->grads, 0, (size_t)mb_model_params(model)->count * sizeof(mb_real));
    run(model, tape);
    cr_expect_gt(grad_square(model, "model.layers.0.mlp.Wo.weight"), 0);
    cr_expect_gt(grad_square(model, "model.final_norm.weight"), 0);
    for (int layer = 1; layer < LAYERS; layer++) {
        static const char *const names[] = {"attn_norm.weight", "attn.Wqkv.weight", "attn.Wo.weight",
                                            "mlp_norm.weight",  "mlp.Wi.weight",    "mlp.Wo.weight"};
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            char name[64];
            snprintf(name, sizeof name, "model.layers.%d.%s", layer, names[i]);
            cr_expect_eq(grad_square(model, name), 0, "%s learns while it is left out", name);
            cr_expect(mb_model_params(model)->views[mb_params_find(mb_model_params(model), name)].frozen, "%s", name);
        }
    }

    mb_model_set_depth(model, LAYERS);
    cr_expect_eq(run(model, tape), shallow, "layers that add nothing change the loss");
    cr_expect_gt(grad_square(model, "model.layers.1.attn.Wo.weight"), 0, "layer 1 does not learn when it has joined");
    cr_expect_gt(grad_square(model, "model.layers.2.mlp.Wo.weight"), 0, "layer 2 does not learn when it has joined");
    for (size_t i = 0; i < mb_model_params(model)->n_views; i++) {
        cr_expect(!mb_model_params(model)->views[i].frozen, "%s", mb_model_params(model)->views[i].name);
    }
    mb_tape_free(tape);
    mb_model_free(model);
}

Test(depth, layers_that_join_change_nothing_at_first) {
    check((mb_dtype)MB_REAL_DTYPE);
}

Test(depth, nor_in_bf16) {
    check(MB_BF16);
}
