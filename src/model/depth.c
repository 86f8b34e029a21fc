/* A model that begins with some of its layers (model.h, mb_model_begin_shallow). */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "model/layers.h"
#include "model/layout.h"

static void fill_zero(mb_model *model, const mb_tensor *tensor) {
    if (tensor) {
        const mb_param *view = mb_model_view(model, tensor);
        memset(model->params.weights + view->offset, 0, (size_t)view->count * sizeof *model->params.weights);
    }
}

void mb_model_begin_shallow(mb_model *model, int32_t depth) {
    assert(model->config.pre_norm);
    for (int32_t l = depth; l < model->config.n_layers; l++) {
        const mb_encoder_layer_weights *layer = &model->layers[l];
        fill_zero(model, layer->attention_output.weight);
        fill_zero(model, layer->attention_output.bias);
        fill_zero(model, layer->output.weight);
        fill_zero(model, layer->output.bias);
    }
    mb_model_set_depth(model, depth);
}

void mb_model_set_depth(mb_model *model, int32_t depth) {
    const mb_model_config *config = &model->config;
    assert(depth >= 1 && depth <= config->n_layers && (depth == config->n_layers || config->pre_norm));
    if (model->depth == depth) {
        return;
    }
    const char *layers = mb_layouts[config->layout].layers;
    for (size_t i = 0; i < model->params.n_views; i++) {
        mb_param *view = &model->params.views[i];
        if (strncmp(view->name, layers, strlen(layers)) == 0) {
            view->frozen = strtol(view->name + strlen(layers), NULL, 10) >= depth;
        }
    }
    model->depth = depth;
    mb_model_bind_tensors(model);
}

int32_t mb_model_depth(const mb_model *model) {
    return model->depth;
}
