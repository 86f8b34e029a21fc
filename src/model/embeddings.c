#include <string.h>

#include "autograd/ops.h"
#include "model/layers.h"

static void declare_modernbert(mb_model *model) {
    const mb_model_config *config = &model->config;
    model->embeddings.word = mb_model_declare(model, config->vocab_size, config->hidden_size, MB_INIT_NORMAL, false,
                                              "model.embeddings", "tok_embeddings.weight");
    model->embeddings.norm = mb_model_declare_norm(model, "model.embeddings.norm");
}

static void declare_bert(mb_model *model) {
    const mb_model_config *config = &model->config;
    const char *prefix = "bert.embeddings";
    const int64_t h = config->hidden_size;
    model->embeddings.word =
        mb_model_declare(model, config->vocab_size, h, MB_INIT_NORMAL, false, prefix, "word_embeddings.weight");
    model->embeddings.position =
        mb_model_declare(model, config->max_positions, h, MB_INIT_SINUSOID, false, prefix, "position_embeddings.weight");
    model->embeddings.type =
        mb_model_declare(model, config->type_vocab_size, h, MB_INIT_NORMAL, false, prefix, "token_type_embeddings.weight");
    model->embeddings.norm = mb_model_declare_norm(model, "bert.embeddings.LayerNorm");
}

void mb_embeddings_declare(mb_model *model) {
    if (model->config.layout == MB_LAYOUT_BERT) {
        declare_bert(model);
    } else {
        declare_modernbert(model);
    }
    if (model->embeddings.word) {
        mb_model_view(model, model->embeddings.word)->rows_are_pieces = true;
    }
}

/* 0, 1, 2 ... in each sequence. */
static int32_t *make_positions(mb_tape *tape, const mb_model_input *input) {
    int32_t *positions = mb_tape_alloc(tape, (size_t)input->n_tokens, sizeof *positions);
    for (int32_t b = 0; positions && b < input->sequences.n; b++) {
        const int32_t begin = input->sequences.offsets[b], end = input->sequences.offsets[b + 1];
        for (int32_t i = begin; i < end; i++) {
            positions[i] = i - begin;
        }
    }
    return positions;
}

static int32_t *make_zero_types(mb_tape *tape, const mb_model_input *input) {
    int32_t *types = mb_tape_alloc(tape, (size_t)input->n_tokens, sizeof *types);
    if (types) {
        memset(types, 0, (size_t)input->n_tokens * sizeof *types);
    }
    return types;
}

/* Sum of the tables' rows: (N,H). */
static mb_tensor *look_up(mb_model *model, mb_tape *tape, const mb_model_input *input) {
    const mb_embedding_weights *weights = &model->embeddings;
    if (model->config.rotary) { /* positions act in attention */
        return mb_embedding(tape, weights->word, NULL, NULL, input->ids, NULL, NULL, input->n_tokens);
    }
    const int32_t *positions = make_positions(tape, input);
    const int32_t *types = input->types ? input->types : make_zero_types(tape, input);
    if (!positions || !types) {
        return NULL;
    }
    return mb_embedding(tape, weights->word, weights->position, weights->type, input->ids, positions, types, input->n_tokens);
}

/* dropout(LN(word[id] + position[t] + type[type])): (N,H), Devlin et al. 2019, figure 2; ModernBERT has the words alone. */
mb_tensor *mb_embeddings_forward(mb_model *model, mb_tape *tape, const mb_model_input *input) {
    const mb_model_config *config = &model->config;
    const mb_norm_weights *norm = &model->embeddings.norm;
    const double dropout = config->layout == MB_LAYOUT_BERT ? config->hidden_dropout : config->embedding_dropout;
    mb_tensor *x = look_up(model, tape, input);
    x = mb_add_layer_norm(tape, x, NULL, norm->gamma, norm->beta, config->layer_norm_epsilon, 0);
    return mb_dropout(tape, x, dropout);
}
