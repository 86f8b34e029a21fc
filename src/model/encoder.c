#include <math.h>
#include <stdio.h>

#include "autograd/ops.h"
#include "model/layers.h"

/* One encoder, out of parts that the configuration names. With LayerNorm after each sum (Vaswani et al. 2017, section 3.1):
 *
 *     h1 = LN(h  + dropout(W_o attention(W_qkv h)))
 *     h2 = LN(h1 + dropout(W_2 activation(W_1 h1)))
 *
 * and with LayerNorm before each sub-layer (Xiong et al. 2020), where the sums go on as they are:
 *
 *     h1 = h  + dropout(W_o attention(W_qkv LN(h)))
 *     h2 = h1 + dropout(W_2 activation(W_1 LN(h1)))         and behind the last layer LN(h2)
 *
 * Either way a sum is made and normalised in one operation; what differs is which of the two the next sum adds to. */

/* --- declaring --- */

static mb_tensor *declare_matrix(mb_model *model, int64_t rows, int64_t columns, bool fused, const char *layer,
                                 const char *name) {
    mb_tensor *matrix = mb_model_declare(model, rows, columns, MB_INIT_NORMAL, fused, layer, name);
    if (matrix) {
        mb_model_view(model, matrix)->n_matrices = 1;
    }
    return matrix;
}

static mb_linear_weights declare_linear(mb_model *model, int64_t n_outputs, int64_t n_inputs, bool bias, const char *layer,
                                        const char *name) {
    char prefix[sizeof((mb_param *)0)->name];
    snprintf(prefix, sizeof prefix, "%s.%s", layer, name);
    const mb_linear_weights linear = mb_model_declare_linear(model, n_outputs, n_inputs, bias, prefix);
    if (linear.weight) {
        mb_model_view(model, linear.weight)->n_matrices = 1;
    }
    return linear;
}

static mb_norm_weights declare_norm(mb_model *model, const char *layer, const char *name) {
    char prefix[sizeof((mb_param *)0)->name];
    snprintf(prefix, sizeof prefix, "%s.%s", layer, name);
    return mb_model_declare_norm(model, prefix);
}

static mb_linear_weights declare_bert_qkv(mb_model *model, const char *layer) {
    static const char *const names[2][3] = {
        {"attention.self.query.weight", "attention.self.key.weight", "attention.self.value.weight"},
        {"attention.self.query.bias", "attention.self.key.bias", "attention.self.value.bias"}};
    const int64_t h = model->config.hidden_size;
    mb_tensor *weights[3], *biases[3];
    for (int i = 0; i < 3; i++) {
        weights[i] = declare_matrix(model, h, h, i > 0, layer, names[0][i]);
    }
    mb_model_mark_factor(model, weights[0]); /* with the two behind it */
    for (int i = 0; i < 3; i++) {
        biases[i] = mb_model_declare(model, 0, h, MB_INIT_ZERO, i > 0, layer, names[1][i]);
    }
    return (mb_linear_weights){weights[0], biases[0]};
}

static void declare_bert(mb_model *model, int32_t index) {
    mb_encoder_layer_weights *layer = &model->layers[index];
    const int64_t h = model->config.hidden_size, f = model->config.intermediate_size;
    char prefix[40];
    snprintf(prefix, sizeof prefix, "bert.encoder.layer.%d", index);
    layer->qkv = declare_bert_qkv(model, prefix);
    layer->attention_output = declare_linear(model, h, h, true, prefix, "attention.output.dense");
    layer->attention_norm = declare_norm(model, prefix, "attention.output.LayerNorm");
    layer->intermediate = declare_linear(model, f, h, true, prefix, "intermediate.dense");
    layer->output = declare_linear(model, h, f, true, prefix, "output.dense");
    layer->output_norm = declare_norm(model, prefix, "output.LayerNorm");
}

/* A matrix whose `n` parts begin side by side, and one that adds to the residual stream: there, each of the 2L additions gets
 * 1 / sqrt(2L) of the deviation (Radford et al. 2019, section 2.3), as in transformers' ModernBERT. */
static void mark_stacked(mb_model *model, const mb_tensor *matrix, int32_t n) {
    if (matrix) {
        mb_model_view(model, matrix)->n_matrices = n;
    }
}
static void mark_residual(mb_model *model, const mb_tensor *matrix) {
    if (matrix) {
        mb_model_view(model, matrix)->init_scale = 1 / sqrt(2.0 * model->config.n_layers);
    }
}

static void declare_modernbert(mb_model *model, int32_t index) {
    mb_encoder_layer_weights *layer = &model->layers[index];
    const mb_model_config *config = &model->config;
    const int64_t h = config->hidden_size, f = config->intermediate_size;
    const bool is_last = index + 1 == config->n_layers;
    char prefix[40], next[40];
    snprintf(prefix, sizeof prefix, "model.layers.%d", index);
    snprintf(next, sizeof next, "model.layers.%d", index + 1);
    layer->qkv = declare_linear(model, 3 * h, h, config->attention_bias, prefix, "attn.Wqkv");
    mark_stacked(model, layer->qkv.weight, 3);
    layer->attention_output = declare_linear(model, h, h, config->attention_bias, prefix, "attn.Wo");
    mark_residual(model, layer->attention_output.weight);
    layer->attention_norm = declare_norm(model, prefix, "mlp_norm");
    layer->intermediate = declare_linear(model, 2 * f, h, config->feed_forward_bias, prefix, "mlp.Wi");
    mark_stacked(model, layer->intermediate.weight, 2);
    layer->output = declare_linear(model, h, f, config->feed_forward_bias, prefix, "mlp.Wo");
    mark_residual(model, layer->output.weight);
    layer->output_norm = is_last ? declare_norm(model, "model", "final_norm") : declare_norm(model, next, "attn_norm");
}

void mb_encoder_layer_declare(mb_model *model, int32_t index) {
    if (model->config.layout == MB_LAYOUT_BERT) {
        declare_bert(model, index);
    } else {
        declare_modernbert(model, index);
    }
}

/* --- forward --- */

/* What passes from sub-layer to sub-layer, (N,H) each: what the next one reads, and what its result is added to. */
typedef struct stream {
    mb_tensor *normed, *residual;
} stream;

/* Adds a sub-layer's result to the stream. `ends`: nothing is added any more. */
static void add_to_stream(const mb_model_config *config, mb_tape *tape, stream *s, mb_tensor *x, const mb_norm_weights *norm,
                          double dropout, bool ends) {
    const double epsilon = config->layer_norm_epsilon;
    if (config->pre_norm && !ends) {
        s->normed = mb_add_layer_norm_sum(tape, x, s->residual, norm->gamma, norm->beta, epsilon, dropout, &s->residual);
    } else {
        s->normed = mb_add_layer_norm(tape, x, s->residual, norm->gamma, norm->beta, epsilon, dropout);
        s->residual = s->normed;
    }
}

/* Of the rows behind the last attention those that are read: n of them, or all. */
typedef struct wanted_rows {
    const int32_t *rows; /* NULL: all */
    int64_t n;
} wanted_rows;

static mb_tensor *gather_wanted(mb_tape *tape, mb_tensor *x, wanted_rows wanted) {
    return wanted.rows != NULL ? mb_gather_rows(tape, x, wanted.rows, wanted.n) : x;
}

static mb_tensor *attend(const mb_model *model, mb_tape *tape, int32_t index, const mb_sequences *sequences, mb_tensor *x,
                         wanted_rows wanted) {
    const mb_encoder_layer_weights *layer = &model->layers[index];
    const mb_model_config *config = &model->config;
    const bool is_local = config->is_local[index];
    mb_tensor *qkv = mb_linear(tape, x, layer->qkv.weight, layer->qkv.bias); /* (N,3H) */
    mb_tensor *context = mb_attention(tape, qkv, sequences,
                                      &(mb_attention_options){.n_heads = config->n_heads,
                                                              .dropout = config->attention_dropout,
                                                              .is_local = is_local,
                                                              .reach = config->local_attention / 2,
                                                              .rotary = !config->rotary ? NULL
                                                                        : is_local      ? &model->local_angles
                                                                                        : &model->global_angles});
    return mb_linear(tape, gather_wanted(tape, context, wanted), layer->attention_output.weight, layer->attention_output.bias);
}

static mb_tensor *feed_forward(const mb_model *model, mb_tape *tape, int32_t index, mb_tensor *x) {
    const mb_encoder_layer_weights *layer = &model->layers[index];
    const mb_model_config *config = &model->config;
    const mb_linear_weights *in = &layer->intermediate;
    mb_tensor *inner = config->gated ? mb_gated_activation(tape, mb_linear(tape, x, in->weight, in->bias), config->activation,
                                                           config->hidden_dropout)
                                     : mb_linear_activation(tape, x, in->weight, in->bias, config->activation); /* (N,F) */
    return mb_linear(tape, inner, layer->output.weight, layer->output.bias);
}

static void encode_layer(const mb_model *model, mb_tape *tape, int32_t index, const mb_sequences *sequences, wanted_rows wanted,
                         stream *s) {
    const mb_encoder_layer_weights *layer = &model->layers[index];
    const mb_model_config *config = &model->config;
    const bool is_bert = config->layout == MB_LAYOUT_BERT, is_last = index + 1 == model->depth;
    const mb_norm_weights *output_norm = &model->layers[is_last ? config->n_layers - 1 : index].output_norm;
    const double of_attention = is_bert ? config->hidden_dropout : config->attention_dropout;
    const double of_feed_forward = is_bert ? config->hidden_dropout : 0;
    mb_tensor *attended = attend(model, tape, index, sequences, s->normed, wanted);
    s->residual = gather_wanted(tape, s->residual, wanted);
    add_to_stream(config, tape, s, attended, &layer->attention_norm, of_attention, false);
    add_to_stream(config, tape, s, feed_forward(model, tape, index, s->normed), output_norm, of_feed_forward, is_last);
}

static void check_lengths(const mb_model *model, const mb_model_input *input) {
    const mb_sequences *sequences = &input->sequences;
    const mb_tensor *word = model->embeddings.word;
    MB_SHAPE_CHECK(sequences->offsets[sequences->n] == input->n_tokens, "mb_model_encode", word, NULL);
    MB_SHAPE_CHECK(sequences->max_length <= model->config.max_positions, "mb_model_encode", word, NULL);
}

static mb_tensor *encode(mb_model *model, mb_tape *tape, const mb_model_input *input, mb_tensor **all_hidden,
                         wanted_rows wanted) {
    check_lengths(model, input);
    mb_tape_set_dtype(tape, model->dtype);
    mb_tensor *embedded = mb_embeddings_forward(model, tape, input);
    stream s = {embedded, embedded};
    if (all_hidden) {
        all_hidden[0] = embedded;
    }
    /* One scope for all layers: the stream behind each takes the place of the one before it. */
    const mb_tape_scope scope = mb_tape_scope_begin(tape);
    for (int32_t i = 0; i < model->depth; i++) {
        const bool is_last = i + 1 == model->depth;
        encode_layer(model, tape, i, &input->sequences, is_last ? wanted : (wanted_rows){0}, &s);
        if (all_hidden) {
            all_hidden[i + 1] = s.residual;
        } else if (s.residual == s.normed) {
            mb_tape_scope_end(tape, scope, &s.normed);
            s.residual = s.normed;
        } else {
            mb_tape_scope_end_keeping(tape, scope, 2, (mb_tensor * *const[]){&s.residual, &s.normed});
        }
    }
    return s.normed;
}

mb_tensor *mb_model_encode(mb_model *model, mb_tape *tape, const mb_model_input *input, mb_tensor **all_hidden) {
    return encode(model, tape, input, all_hidden, (wanted_rows){0});
}

mb_tensor *mb_model_encode_rows(mb_model *model, mb_tape *tape, const mb_model_input *input, const int32_t *rows,
                                int64_t n_rows) {
    return encode(model, tape, input, NULL, (wanted_rows){rows, n_rows});
}
