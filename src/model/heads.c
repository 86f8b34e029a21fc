#include <math.h>

#include "autograd/ops.h"
#include "model/layers.h"

static bool is_classifier(const mb_model *model) {
    return model->head == MB_HEAD_CLASSIFIER || model->head == MB_HEAD_TOKEN_CLASSIFIER;
}

static void declare_bert(mb_model *model) {
    mb_head_weights *heads = &model->heads;
    const mb_model_config *config = &model->config;
    const int64_t h = config->hidden_size;
    if (model->has_pooler) {
        heads->pooler = mb_model_declare_linear(model, h, h, true, "bert.pooler.dense");
    }
    if (model->head == MB_HEAD_MASKED_LM || model->head == MB_HEAD_PRETRAINING) {
        heads->transform = mb_model_declare_linear(model, h, h, true, "cls.predictions.transform.dense");
        heads->transform_norm = mb_model_declare_norm(model, "cls.predictions.transform.LayerNorm");
        heads->decoder_bias = mb_model_declare(model, 0, config->vocab_size, MB_INIT_ZERO, false, "cls.predictions", "bias");
    }
    if (model->head == MB_HEAD_PRETRAINING) {
        heads->seq_relationship = mb_model_declare_linear(model, 2, h, true, "cls.seq_relationship");
    }
    if (is_classifier(model)) {
        heads->classifier = mb_model_declare_linear(model, config->n_labels, h, true, "classifier");
    }
}

/* The same dense, activation and norm stand before every output layer. The deviations are those of transformers' ModernBERT. */
static void declare_modernbert(mb_model *model) {
    mb_head_weights *heads = &model->heads;
    const mb_model_config *config = &model->config;
    const int64_t h = config->hidden_size;
    if (model->head == MB_HEAD_NONE) {
        return;
    }
    heads->transform = mb_model_declare_linear(model, h, h, config->head_bias, "head.dense");
    heads->transform_norm = mb_model_declare_norm(model, "head.norm");
    if (heads->transform.weight) {
        mb_model_view(model, heads->transform.weight)->init_scale = 1 / sqrt(2.0 * config->n_layers);
    }
    if (model->head == MB_HEAD_MASKED_LM && config->decoder_bias) {
        heads->decoder_bias = mb_model_declare(model, 0, config->vocab_size, MB_INIT_ZERO, false, "decoder", "bias");
    }
    if (is_classifier(model)) {
        heads->classifier = mb_model_declare_linear(model, config->n_labels, h, true, "classifier");
        if (heads->classifier.weight) {
            mb_model_view(model, heads->classifier.weight)->init_scale = 1 / (sqrt((double)h) * config->initializer_range);
        }
    }
}

void mb_heads_declare(mb_model *model) {
    if (model->head == MB_HEAD_MASKED_LM || model->head == MB_HEAD_PRETRAINING) {
        mb_model_mark_factor(model, model->embeddings.word); /* the decoder's weight */
    }
    if (model->config.layout == MB_LAYOUT_BERT) {
        declare_bert(model);
    } else {
        declare_modernbert(model);
    }
}

static mb_tensor *pool_rows(const mb_model *model, mb_tape *tape, mb_tensor *first) {
    return mb_linear_activation(tape, first, model->heads.pooler.weight, model->heads.pooler.bias, MB_ACTIVATION_TANH);
}

mb_tensor *mb_model_pool(mb_model *model, mb_tape *tape, const mb_model_input *input, mb_tensor *hidden) {
    MB_SHAPE_CHECK(model->has_pooler, "mb_model_pool", hidden, hidden);
    return pool_rows(model, tape, mb_gather_rows(tape, hidden, input->sequences.offsets, input->sequences.n)); /* of [CLS] */
}

/* LN(activation(W x + b)): (M,H). */
static mb_tensor *transform(const mb_model *model, mb_tape *tape, mb_tensor *x) {
    const mb_head_weights *heads = &model->heads;
    const mb_model_config *config = &model->config;
    const mb_activation activation = config->layout == MB_LAYOUT_BERT ? config->activation : config->head_activation;
    x = mb_linear_activation(tape, x, heads->transform.weight, heads->transform.bias, activation);
    return mb_add_layer_norm(tape, x, NULL, heads->transform_norm.gamma, heads->transform_norm.beta, config->layer_norm_epsilon,
                             0);
}

/* On the chosen rows alone. */
static mb_tensor *transform_rows(const mb_model *model, mb_tape *tape, mb_tensor *hidden, const int32_t *rows, int64_t n_rows) {
    MB_SHAPE_CHECK(model->head == MB_HEAD_MASKED_LM || model->head == MB_HEAD_PRETRAINING, "the masked-LM head", hidden,
                   hidden);
    return transform(model, tape, mb_gather_rows(tape, hidden, rows, n_rows));
}

mb_tensor *mb_model_masked_lm_loss(mb_model *model, mb_tape *tape, mb_tensor *hidden, const mb_masked_tokens *masked,
                                   double scale, int64_t *n_correct) {
    mb_tensor *x = transform_rows(model, tape, hidden, masked->rows, masked->n);
    return mb_linear_cross_entropy(tape, x, model->embeddings.word, model->heads.decoder_bias, masked->sample, masked->targets,
                                   scale, n_correct);
}

mb_tensor *mb_model_masked_lm(mb_model *model, mb_tape *tape, const mb_model_input *input, const mb_masked_tokens *masked,
                              double scale, int64_t *n_correct) {
    mb_tensor *x = transform(model, tape, mb_model_encode_rows(model, tape, input, masked->rows, masked->n));
    return mb_linear_cross_entropy(tape, x, model->embeddings.word, model->heads.decoder_bias, masked->sample, masked->targets,
                                   scale, n_correct);
}

mb_tensor *mb_model_masked_lm_logits(mb_model *model, mb_tape *tape, mb_tensor *hidden, const int32_t *rows, int64_t n_rows) {
    mb_tensor *x = transform_rows(model, tape, hidden, rows, n_rows);
    return mb_to_real(tape, mb_linear(tape, x, model->embeddings.word, model->heads.decoder_bias));
}

mb_tensor *mb_model_next_sentence_logits(mb_model *model, mb_tape *tape, const mb_model_input *input, mb_tensor *hidden) {
    MB_SHAPE_CHECK(model->heads.seq_relationship.weight != NULL, "the next-sentence head", hidden, hidden);
    mb_tensor *pooled = mb_model_pool(model, tape, input, hidden);
    return mb_to_real(tape, mb_linear(tape, pooled, model->heads.seq_relationship.weight, model->heads.seq_relationship.bias));
}

/* What a classifier of sequences reads, (B,H). */
static mb_tensor *summarize(mb_model *model, mb_tape *tape, const mb_model_input *input, mb_tensor *hidden) {
    if (model->has_pooler) {
        return mb_model_pool(model, tape, input, hidden);
    }
    return model->config.mean_pooling ? mb_mean_rows(tape, hidden, &input->sequences)
                                      : mb_gather_rows(tape, hidden, input->sequences.offsets, input->sequences.n);
}

/* Logits from what the classifier reads. */
static mb_tensor *classifier_output(mb_model *model, mb_tape *tape, mb_tensor *x) {
    if (model->config.layout == MB_LAYOUT_MODERNBERT) {
        x = transform(model, tape, x);
    }
    x = mb_dropout(tape, x, model->config.classifier_dropout);
    return mb_to_real(tape, mb_linear(tape, x, model->heads.classifier.weight, model->heads.classifier.bias));
}

mb_tensor *mb_model_classifier_logits(mb_model *model, mb_tape *tape, const mb_model_input *input, mb_tensor *hidden) {
    MB_SHAPE_CHECK(model->heads.classifier.weight != NULL, "the classifier", hidden, hidden);
    return classifier_output(model, tape, model->head == MB_HEAD_CLASSIFIER ? summarize(model, tape, input, hidden) : hidden);
}

mb_tensor *mb_model_classify(mb_model *model, mb_tape *tape, const mb_model_input *input) {
    MB_SHAPE_CHECK(model->heads.classifier.weight != NULL, "the classifier", model->embeddings.word, model->embeddings.word);
    if (model->head != MB_HEAD_CLASSIFIER || (!model->has_pooler && model->config.mean_pooling)) {
        return mb_model_classifier_logits(model, tape, input, mb_model_encode(model, tape, input, NULL));
    }
    mb_tensor *first = mb_model_encode_rows(model, tape, input, input->sequences.offsets, input->sequences.n);
    return classifier_output(model, tape, model->has_pooler ? pool_rows(model, tape, first) : first);
}

void mb_model_begin_output_bias(mb_model *model, const uint64_t *counts) {
    const int64_t n = model->config.vocab_size;
    if (model->heads.decoder_bias == NULL) {
        return;
    }
    mb_real *bias = model->params.weights + mb_model_view(model, model->heads.decoder_bias)->offset;
    double total = 0;
    for (int64_t i = 0; i < n; i++) {
        total += (double)counts[i] + 1;
    }
    for (int64_t i = 0; i < n; i++) {
        bias[i] = (mb_real)log(((double)counts[i] + 1) * (double)n / total);
    }
}
