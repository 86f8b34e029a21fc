#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "model/layers.h"
#include "model/layout.h"
#include "model/safetensors.h"

/* --- declaring --- */

mb_tensor *mb_model_declare(mb_model *model, int64_t rows, int64_t columns, mb_init init, bool fused, const char *prefix,
                            const char *name) {
    char full_name[sizeof((mb_param *)0)->name];
    snprintf(full_name, sizeof full_name, "%s.%s", prefix, name);
    const int64_t matrix[2] = {rows, columns}, vector[1] = {columns};
    const bool is_matrix = rows > 0; /* weight decay is for matrices; biases and LayerNorm are vectors */
    int index =
        mb_params_add(&model->params, full_name, is_matrix ? 2 : 1, is_matrix ? matrix : vector, init, is_matrix, fused);
    if (index < 0 || (size_t)index >= model->n_tensors) {
        model->out_of_memory = true;
        return NULL;
    }
    return &model->tensors[index];
}

mb_linear_weights mb_model_declare_linear(mb_model *model, int64_t n_outputs, int64_t n_inputs, bool bias, const char *prefix) {
    mb_linear_weights linear;
    linear.weight = mb_model_declare(model, n_outputs, n_inputs, MB_INIT_NORMAL, false, prefix, "weight");
    linear.bias = bias ? mb_model_declare(model, 0, n_outputs, MB_INIT_ZERO, false, prefix, "bias") : NULL;
    mb_model_mark_factor(model, linear.weight);
    return linear;
}

void mb_model_mark_factor(mb_model *model, const mb_tensor *weight) {
    if (weight) {
        mb_model_view(model, weight)->multiplies = true;
    }
}

mb_param *mb_model_view(mb_model *model, const mb_tensor *tensor) {
    return tensor ? &model->params.views[tensor - model->tensors] : NULL;
}

mb_norm_weights mb_model_declare_norm(mb_model *model, const char *prefix) {
    mb_norm_weights norm;
    norm.gamma = mb_model_declare(model, 0, model->config.hidden_size, MB_INIT_ONE, false, prefix, "weight");
    norm.beta = model->config.norm_bias
                    ? mb_model_declare(model, 0, model->config.hidden_size, MB_INIT_ZERO, false, prefix, "bias")
                    : NULL;
    return norm;
}

static mb_status no_memory(mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "out of memory building the model");
}

mb_status mb_model_declare_all(const mb_model_config *config, mb_head head, bool has_pooler, mb_model **out, mb_error *error) {
    *out = NULL;
    if (!mb_head_architecture(config->layout, head)) {
        return mb_fail(error, MB_ERROR_USAGE, "a ModernBERT has no next-sentence head: pretrain it on masked words alone");
    }
    mb_model *model = calloc(1, sizeof *model);
    if (!model) {
        return no_memory(error);
    }
    model->head = head;
    model->dtype = MB_REAL_DTYPE;
    model->has_pooler = has_pooler;
    mb_status status = mb_model_config_copy(config, &model->config, error);
    if (status == MB_OK) {
        model->n_tensors = 16 * (size_t)config->n_layers + 32; /* a layer has 16 views; the rest fewer than 32 */
        model->tensors = calloc(model->n_tensors, sizeof *model->tensors);
        model->depth = config->n_layers;
        model->layers = calloc((size_t)config->n_layers, sizeof *model->layers);
        status = model->tensors && model->layers ? MB_OK : no_memory(error);
    }
    if (status != MB_OK) {
        mb_model_free(model);
        return status;
    }
    mb_embeddings_declare(model);
    for (int32_t i = 0; i < config->n_layers; i++) {
        mb_encoder_layer_declare(model, i);
    }
    mb_heads_declare(model);
    if (model->out_of_memory) {
        mb_model_free(model);
        return no_memory(error);
    }
    *out = model;
    return MB_OK;
}

void mb_model_bind_tensors(mb_model *model) {
    const mb_params *params = &model->params;
    for (size_t i = 0; i < params->n_views; i++) {
        size_t end = i + 1;
        while (end < params->n_views && params->views[end].fused) {
            end++;
        }
        model->tensors[i] = mb_params_tensor(params, (int)i, (int)(end - i));
        model->tensors[i].packed = model->packed && params->views[i].multiplies ? &model->packed[i] : NULL;
    }
}

static mb_status make_angles(mb_model *model, mb_error *error) {
    const mb_model_config *config = &model->config;
    const int64_t head_size = config->hidden_size / config->n_heads;
    mb_rotary_free(&model->global_angles);
    mb_rotary_free(&model->local_angles);
    mb_status status = mb_rotary_new(config->max_positions, head_size, config->global_theta, &model->global_angles, error);
    return status == MB_OK ? mb_rotary_new(config->max_positions, head_size, config->local_theta, &model->local_angles, error)
                           : status;
}

mb_status mb_model_allocate(mb_model *model, bool trainable, mb_error *error) {
    mb_status status = mb_params_allocate(&model->params, trainable, error);
    if (status == MB_OK && model->config.rotary) {
        status = make_angles(model, error);
    }
    if (status == MB_OK) {
        mb_model_bind_tensors(model);
    }
    return status;
}

mb_status mb_model_extend_positions(mb_model *model, int32_t n, mb_error *error) {
    if (n <= model->config.max_positions) {
        return MB_OK;
    }
    if (!model->config.rotary) {
        return mb_fail(error, MB_ERROR_USAGE, "the model has embeddings for %d positions and cannot be extended to %d",
                       model->config.max_positions, n);
    }
    model->config.max_positions = n;
    return make_angles(model, error);
}

/* --- new and free --- */

mb_status mb_model_new(const mb_model_config *config, mb_head head, uint64_t seed, mb_model **out, mb_error *error) {
    *out = NULL;
    mb_status status = mb_model_config_check(config, "the model's configuration", error);
    if (status != MB_OK) {
        return status;
    }
    const bool classifies = head == MB_HEAD_CLASSIFIER || head == MB_HEAD_TOKEN_CLASSIFIER;
    if (classifies && config->n_labels == 0) {
        return mb_fail(error, MB_ERROR_USAGE, "a classifier needs labels, and the model's configuration has none");
    }
    const bool has_pooler =
        mb_layout_part_tensor(config->layout, MB_PART_POOLER) && head != MB_HEAD_MASKED_LM && head != MB_HEAD_TOKEN_CLASSIFIER;
    mb_model *model;
    status = mb_model_declare_all(config, head, has_pooler, &model, error);
    if (!model) {
        return status;
    }
    status = mb_model_allocate(model, true, error);
    if (status != MB_OK) {
        mb_model_free(model);
        return status;
    }
    mb_params_initialize(&model->params, seed, config->initializer_range);
    model->n_new_views = model->params.n_views;
    *out = model;
    return MB_OK;
}

void mb_model_free(mb_model *model) {
    if (model) {
        mb_params_free(&model->params);
        mb_map_close(&model->weights_map);
        mb_rotary_free(&model->global_angles);
        mb_rotary_free(&model->local_angles);
        mb_model_drop_packed(model);
        mb_model_config_free(&model->config);
        free(model->tensors);
        free(model->layers);
        free(model);
    }
}

/* --- saving --- */

static mb_status save_config(const mb_model *model, const char *dir, mb_error *error) {
    char *path = mb_path_join(dir, "config.json");
    json_t *json = mb_model_config_to_json(&model->config, mb_head_architecture(model->config.layout, model->head));
    mb_status status = path && json ? mb_json_save(path, json, error)
                                    : mb_fail(error, MB_ERROR_MEMORY, "out of memory writing the configuration to '%s'", dir);
    json_decref(json);
    free(path);
    return status;
}

/* The names of an encoder saved alone are those of the other heads without the prefix. */
static mb_status save_weights(const mb_model *model, const char *dir, mb_error *error) {
    const mb_params *params = &model->params;
    const size_t n_cut = model->head == MB_HEAD_NONE ? strlen(mb_layouts[model->config.layout].prefix) : 0;
    char *path = mb_path_join(dir, "model.safetensors");
    mb_safetensors_entry *entries = calloc(params->n_views, sizeof *entries);
    if (!path || !entries) {
        free(path);
        free(entries);
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory writing the weights to '%s'", dir);
    }
    for (size_t i = 0; i < params->n_views; i++) {
        const mb_param *view = &params->views[i];
        entries[i] =
            (mb_safetensors_entry){.name = view->name + n_cut, .n_dims = view->n_dims, .data = mb_params_weights(params, view)};
        memcpy(entries[i].dims, view->dims, sizeof view->dims);
    }
    mb_status status = mb_safetensors_save(path, entries, params->n_views, error);
    free(entries);
    free(path);
    return status;
}

mb_status mb_model_save(const mb_model *model, const char *dir, mb_error *error) {
    mb_status status = mb_dir_make(dir, error);
    if (status == MB_OK) {
        status = save_weights(model, dir, error);
    }
    if (status == MB_OK) {
        status = save_config(model, dir, error);
    }
    return status;
}

/* --- looking and setting --- */

const mb_model_config *mb_model_get_config(const mb_model *model) {
    return &model->config;
}

mb_head mb_model_get_head(const mb_model *model) {
    return model->head;
}

mb_params *mb_model_params(mb_model *model) {
    return &model->params;
}

size_t mb_model_n_new_views(const mb_model *model) {
    return model->n_new_views;
}

bool mb_model_has_pooler(const mb_model *model) {
    return model->has_pooler;
}

void mb_model_freeze_encoder(mb_model *model, bool frozen) {
    const char *const *prefixes = mb_layouts[model->config.layout].encoder;
    for (size_t i = 0; i < model->params.n_views; i++) {
        mb_param *view = &model->params.views[i];
        for (int k = 0; prefixes[k]; k++) {
            if (strncmp(view->name, prefixes[k], strlen(prefixes[k])) == 0) {
                view->frozen = frozen;
            }
        }
    }
    mb_model_bind_tensors(model);
}

void mb_model_set_rates(mb_model *model, double decay, double words) {
    const mb_layout_names *names = &mb_layouts[model->config.layout];
    for (size_t i = 0; i < model->params.n_views; i++) {
        mb_param *view = &model->params.views[i];
        double below = 0; /* the heads; a final norm belongs to them */
        if (strncmp(view->name, names->embeddings, strlen(names->embeddings)) == 0) {
            below = model->config.n_layers + 1;
        } else if (strncmp(view->name, names->layers, strlen(names->layers)) == 0) {
            below = (double)(model->config.n_layers - strtol(view->name + strlen(names->layers), NULL, 10));
        }
        view->rate = pow(decay, below);
    }
    mb_model_view(model, model->embeddings.word)->rate *= words;
}

void mb_model_set_dropout(mb_model *model, double hidden, double attention, double classifier) {
    model->config.hidden_dropout = model->config.embedding_dropout = hidden;
    model->config.attention_dropout = attention;
    model->config.classifier_dropout = classifier;
}
