#include <stdio.h>

#include "autograd/ops.h"
#include "model/layers.h"

/* One encoder layer with the LayerNorm after each residual sum (Vaswani et al. 2017, section 3.1):
 *
 *     h1 = LN(h  + dropout(W_o attention(W_qkv h)))
 *     h2 = LN(h1 + dropout(W_2 activation(W_1 h1)))
 */

static mb_linear_weights declare_qkv(mb_model *model, const char *layer) {
    static const char *const names[2][3] = {
        {"attention.self.query.weight", "attention.self.key.weight", "attention.self.value.weight"},
        {"attention.self.query.bias", "attention.self.key.bias", "attention.self.value.bias"}};
    const int64_t h = model->config.hidden_size;
    mb_tensor *weights[3], *biases[3];
    for (int i = 0; i < 3; i++) {
        weights[i] = mb_model_declare(model, h, h, MB_INIT_NORMAL, i > 0, layer, names[0][i]);
    }
    for (int i = 0; i < 3; i++) {
        biases[i] = mb_model_declare(model, 0, h, MB_INIT_ZERO, i > 0, layer, names[1][i]);
    }
    return (mb_linear_weights){weights[0], biases[0]};
}

void mb_encoder_layer_declare(mb_model *model, int32_t index) {
    mb_encoder_layer_weights *layer = &model->layers[index];
    const int64_t h = model->config.hidden_size, f = model->config.intermediate_size;
    char prefix[40], name[96];
    snprintf(prefix, sizeof prefix, "bert.encoder.layer.%d", index);
    layer->qkv = declare_qkv(model, prefix);
    snprintf(name, sizeof name, "%s.attention.output.dense", prefix);
    layer->attention_output = mb_model_declare_linear(model, h, h, name);
    snprintf(name, sizeof name, "%s.attention.output.LayerNorm", prefix);
    layer->attention_norm = mb_model_declare_norm(model, name);
    snprintf(name, sizeof name, "%s.intermediate.dense", prefix);
    layer->intermediate = mb_model_declare_linear(model, f, h, name);
    snprintf(name, sizeof name, "%s.output.dense", prefix);
    layer->output = mb_model_declare_linear(model, h, f, name);
    snprintf(name, sizeof name, "%s.output.LayerNorm", prefix);
    layer->output_norm = mb_model_declare_norm(model, name);
}

/* hidden (N,H) -> (N,H) */
mb_tensor *mb_encoder_layer_forward(mb_model *model, mb_tape *tape, int32_t index, const mb_sequences *sequences,
                                    mb_tensor *hidden) {
    const mb_encoder_layer_weights *layer = &model->layers[index];
    const mb_model_config *config = &model->config;
    const double epsilon = config->layer_norm_epsilon, dropout = config->hidden_dropout;
    mb_tensor *qkv = mb_linear(tape, hidden, layer->qkv.weight, layer->qkv.bias); /* (N,3H) */
    mb_tensor *context = mb_attention(
        tape, qkv, sequences, &(mb_attention_options){.n_heads = config->n_heads, .dropout = config->attention_dropout});
    mb_tensor *attended = mb_linear(tape, context, layer->attention_output.weight, layer->attention_output.bias);
    hidden =
        mb_add_layer_norm(tape, attended, hidden, layer->attention_norm.gamma, layer->attention_norm.beta, epsilon, dropout);
    mb_tensor *inner = mb_linear_activation(tape, hidden, layer->intermediate.weight, layer->intermediate.bias,
                                            config->activation); /* (N,F) */
    mb_tensor *outer = mb_linear(tape, inner, layer->output.weight, layer->output.bias);
    return mb_add_layer_norm(tape, outer, hidden, layer->output_norm.gamma, layer->output_norm.beta, epsilon, dropout);
}

static void check_lengths(const mb_model *model, const mb_model_input *input) {
    const mb_sequences *sequences = &input->sequences;
    const mb_tensor *position = model->embeddings.position;
    MB_SHAPE_CHECK(sequences->offsets[sequences->n] == input->n_tokens, "mb_model_encode", position, NULL);
    MB_SHAPE_CHECK(sequences->max_length <= model->config.max_positions, "mb_model_encode", position, NULL);
}

mb_tensor *mb_model_encode(mb_model *model, mb_tape *tape, const mb_model_input *input, mb_tensor **all_hidden) {
    check_lengths(model, input);
    mb_tensor *hidden = mb_embeddings_forward(model, tape, input);
    if (all_hidden) {
        all_hidden[0] = hidden;
    }
    /* One scope for all layers: the output of each takes the place of the output before it. */
    const mb_tape_scope scope = mb_tape_scope_begin(tape);
    for (int32_t i = 0; i < model->config.n_layers; i++) {
        hidden = mb_encoder_layer_forward(model, tape, i, &input->sequences, hidden);
        if (all_hidden) {
            all_hidden[i + 1] = hidden;
        } else {
            mb_tape_scope_end(tape, scope, &hidden);
        }
    }
    return hidden;
}
