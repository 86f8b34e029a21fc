/* A model directory as transformers lays it out: config.json and model.safetensors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "model/config_keys.h"
#include "model/layers.h"
#include "model/layout.h"
#include "model/model.h"
#include "model/safetensors.h"

/* The open files of a directory. */
typedef struct source {
    const char *config_path, *weights_path;
    char *owned_paths[2]; /* behind the two, where they were made here */
    mb_layout layout;
    char architecture[64]; /* what config.json says; "" where it says nothing */
    mb_safetensors file;
    bool is_bare; /* the encoder's names without the layout's prefix, as an encoder is saved alone */
} source;

static void source_close(source *from) {
    mb_safetensors_close(&from->file);
    free(from->owned_paths[0]);
    free(from->owned_paths[1]);
}

/* The tensor a view is read from, under any of the names it goes by; NULL when the file has none. */
static const mb_safetensor *find_tensor(const source *from, const char *view_name) {
    static const char *const aliases[][2] = {
        {"LayerNorm.weight", "LayerNorm.gamma"}, /* checkpoints converted from TensorFlow */
        {"LayerNorm.bias", "LayerNorm.beta"},
        {"cls.predictions.bias", "cls.predictions.decoder.bias"}, /* tied in transformers; either may be the one written */
    };
    const char *prefix = mb_layouts[from->layout].prefix;
    const bool strip = from->is_bare && strncmp(view_name, prefix, strlen(prefix)) == 0;
    const char *name = strip ? view_name + strlen(prefix) : view_name;
    const mb_safetensor *tensor = mb_safetensors_find(&from->file, name);
    for (size_t i = 0; !tensor && i < sizeof aliases / sizeof *aliases; i++) {
        const size_t name_bytes = strlen(name), suffix_bytes = strlen(aliases[i][0]);
        if (name_bytes >= suffix_bytes && strcmp(name + name_bytes - suffix_bytes, aliases[i][0]) == 0) {
            char alias[sizeof((mb_param *)0)->name + 16];
            snprintf(alias, sizeof alias, "%.*s%s", (int)(name_bytes - suffix_bytes), name, aliases[i][1]);
            tensor = mb_safetensors_find(&from->file, alias);
        }
    }
    return tensor;
}

static mb_status open_weights(source *from, mb_error *error) {
    mb_status status = mb_safetensors_open(from->weights_path, &from->file, error);
    if (status != MB_OK) {
        return status;
    }
    const char *word_embeddings = mb_layouts[from->layout].word_embeddings;
    from->is_bare = false;
    if (!find_tensor(from, word_embeddings)) {
        from->is_bare = true;
        if (!find_tensor(from, word_embeddings)) {
            return mb_fail(error, MB_ERROR_MISMATCH, "cannot read '%s': it has no tensor '%s'; is it a %s's?",
                           from->weights_path, word_embeddings, from->layout == MB_LAYOUT_BERT ? "BERT" : "ModernBERT");
        }
    }
    return MB_OK;
}

static bool has_part(const source *from, mb_part part) {
    const char *tensor = mb_layout_part_tensor(from->layout, part);
    return tensor && find_tensor(from, tensor);
}

static mb_status check_weights_exist(const source *from, const char *dir, mb_error *error) {
    if (mb_path_exists(from->weights_path)) {
        return MB_OK;
    }
    char *pickled = mb_path_join(dir, "pytorch_model.bin");
    const bool is_pickled = pickled && mb_path_exists(pickled);
    free(pickled);
    return mb_fail(error, MB_ERROR_IO, "cannot read '%s': no such file%s", from->weights_path,
                   is_pickled ? "; the directory has a pytorch_model.bin, save it again with transformers as safetensors" : "");
}

/* Layout and architecture, before anything else of config.json: they say under which names the tensors are to be found. */
static mb_status read_kind(source *from, mb_error *error) {
    json_t *json = NULL;
    mb_status status = mb_json_load(from->config_path, &json, error);
    if (status != MB_OK) {
        return status;
    }
    status = mb_config_layout(json, from->config_path, &from->layout, error);
    const char *architecture = json_string_value(json_array_get(json_object_get(json, "architectures"), 0));
    snprintf(from->architecture, sizeof from->architecture, "%s", architecture ? architecture : "");
    json_decref(json);
    return status;
}

static mb_status source_open(source *from, const char *dir, mb_error *error) {
    *from = (source){.owned_paths = {mb_path_join(dir, "config.json"), mb_path_join(dir, "model.safetensors")}};
    from->config_path = from->owned_paths[0];
    from->weights_path = from->owned_paths[1];
    mb_status status;
    if (!from->config_path || !from->weights_path) {
        status = mb_fail(error, MB_ERROR_MEMORY, "out of memory reading '%s'", dir);
    } else if (!mb_path_is_dir(dir)) {
        status = mb_fail(error, MB_ERROR_IO, "cannot read the model '%s': no such directory", dir);
    } else {
        status = check_weights_exist(from, dir, error);
    }
    if (status == MB_OK) {
        status = read_kind(from, error);
    }
    if (status == MB_OK) {
        status = open_weights(from, error);
    }
    if (status != MB_OK) {
        source_close(from);
    }
    return status;
}

/* --- loading --- */

static void shape_text(int n_dims, const int64_t *dims, char text[64]) {
    int n = snprintf(text, 64, "(");
    for (int i = 0; i < n_dims && n < 40; i++) {
        n += snprintf(text + n, 64 - (size_t)n, i ? ",%lld" : "%lld", (long long)dims[i]);
    }
    snprintf(text + n, 64 - (size_t)n, ")");
}

static mb_status check_shape(const source *from, const mb_param *view, const mb_safetensor *tensor, mb_error *error) {
    bool same = tensor->n_dims == view->n_dims;
    for (int i = 0; same && i < view->n_dims; i++) {
        same = tensor->dims[i] == view->dims[i];
    }
    if (same) {
        return MB_OK;
    }
    if (strcmp(view->name, mb_layouts[from->layout].word_embeddings) == 0 && tensor->n_dims == 2 &&
        tensor->dims[1] == view->dims[1]) {
        return mb_fail(error, MB_ERROR_MISMATCH,
                       "'%s' and its config.json do not match: vocab_size is %lld but '%s' has %lld rows", from->weights_path,
                       (long long)view->dims[0], tensor->name, (long long)tensor->dims[0]);
    }
    char found[64], expected[64];
    shape_text(tensor->n_dims, tensor->dims, found);
    shape_text(view->n_dims, view->dims, expected);
    return mb_fail(error, MB_ERROR_MISMATCH, "'%s' and its config.json do not match: '%s' has shape %s, expected %s",
                   from->weights_path, tensor->name, found, expected);
}

/* Fills tensors[i] for view i; NULL for the views of a part that the file lacks. `left_aside` parts count as lacking. */
static mb_status match_views(const source *from, const mb_params *params, const bool left_aside[MB_N_PARTS],
                             const mb_safetensor **tensors, mb_error *error) {
    const char *found[MB_N_PARTS] = {NULL}, *lacking[MB_N_PARTS] = {NULL};
    for (size_t i = 0; i < params->n_views; i++) {
        const mb_param *view = &params->views[i];
        const mb_part of = mb_layout_part(from->layout, view->name);
        tensors[i] = left_aside[of] ? NULL : find_tensor(from, view->name);
        if (tensors[i]) {
            found[of] = found[of] ? found[of] : view->name;
            mb_status status = check_shape(from, view, tensors[i], error);
            if (status != MB_OK) {
                return status;
            }
        } else {
            lacking[of] = lacking[of] ? lacking[of] : view->name;
        }
    }
    for (int of = 0; of < MB_N_PARTS; of++) {
        if (lacking[of] && (found[of] || of == MB_PART_ENCODER)) {
            return mb_fail(error, MB_ERROR_MISMATCH, "cannot read '%s': the tensor '%s' is missing", from->weights_path,
                           lacking[of]);
        }
    }
    return MB_OK;
}

static void layer_name(mb_layout layout, int32_t index, char name[96]) {
    const char *format = mb_layouts[layout].layer_format, *number = strstr(format, "%d");
    snprintf(name, 96, "%.*s%d%s", (int)(number - format), format, index, number + 2);
}

/* config.json with fewer layers than the file would give a model that nobody trained. */
static mb_status check_no_more_layers(const source *from, const mb_model_config *config, mb_error *error) {
    char name[96];
    layer_name(from->layout, config->n_layers, name);
    if (find_tensor(from, name)) {
        return mb_fail(error, MB_ERROR_MISMATCH,
                       "'%s' and its config.json do not match: num_hidden_layers is %d but the file has '%s'",
                       from->weights_path, config->n_layers, name);
    }
    return MB_OK;
}

/* Old files repeat the tied decoder; one that differs from the word embeddings is another architecture. */
static mb_status check_tied(const source *from, mb_error *error) {
    const mb_safetensor *decoder = mb_safetensors_find(&from->file, mb_layouts[from->layout].decoder);
    const mb_safetensor *word = find_tensor(from, mb_layouts[from->layout].word_embeddings);
    if (decoder && (decoder->n_bytes != word->n_bytes || strcmp(decoder->dtype, word->dtype) != 0 ||
                    memcmp(decoder->data, word->data, word->n_bytes) != 0)) {
        return mb_fail(
            error, MB_ERROR_MISMATCH,
            "cannot read '%s': '%s' differs from the word embeddings; minibert reads models whose decoder is tied to them",
            from->weights_path, decoder->name);
    }
    return MB_OK;
}

/* Whether a view is a tensor by itself, not a part of a joined one: only then may it lie apart from the flat buffer. */
static bool stands_alone(const mb_params *params, size_t i) {
    return !params->views[i].fused && (i + 1 == params->n_views || !params->views[i + 1].fused);
}

/* For inference a view stays in the map of the file if it can; the rest is read into the flat buffer. */
static mb_status read_views(mb_model *model, const source *from, const mb_safetensor *const *tensors, uint64_t seed,
                            mb_error *error) {
    mb_params *params = &model->params;
    for (size_t i = 0; i < params->n_views; i++) {
        mb_param *view = &params->views[i];
        if (!tensors[i]) {
            mb_params_initialize_view(params, (int)i, seed, model->config.initializer_range);
            model->n_new_views++;
            continue;
        }
        mb_status status = MB_OK;
        if (!params->grads && stands_alone(params, i)) {
            status = mb_safetensors_view(&from->file, tensors[i], view->count, &view->mapped, error);
        }
        if (status == MB_OK && !view->mapped) {
            status = mb_safetensors_read(&from->file, tensors[i], params->weights + view->offset, view->count, error);
        }
        if (status != MB_OK) {
            return status;
        }
    }
    return MB_OK;
}

static bool has_masked_lm(mb_head head) {
    return head == MB_HEAD_MASKED_LM || head == MB_HEAD_PRETRAINING;
}

static bool has_classifier(mb_head head) {
    return head == MB_HEAD_CLASSIFIER || head == MB_HEAD_TOKEN_CLASSIFIER;
}

/* Everything that can be refused is refused before the weights take memory. */
static mb_status fill_model(mb_model *model, source *from, const bool left_aside[MB_N_PARTS], uint64_t seed, bool trainable,
                            mb_error *error) {
    const mb_safetensor **tensors = calloc(model->params.n_views, sizeof *tensors);
    if (!tensors) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory reading '%s'", from->weights_path);
    }
    mb_status status = match_views(from, &model->params, left_aside, tensors, error);
    if (status == MB_OK) {
        status = check_no_more_layers(from, &model->config, error);
    }
    if (status == MB_OK && has_masked_lm(model->head)) {
        status = check_tied(from, error);
    }
    if (status == MB_OK) {
        status = mb_model_allocate(model, trainable, error);
    }
    if (status == MB_OK) {
        status = read_views(model, from, tensors, seed, error);
    }
    free(tensors);
    if (status == MB_OK && !trainable) {
        model->weights_map = mb_safetensors_take_map(&from->file);
        mb_model_bind_tensors(model);
    }
    return status;
}

static bool same_labels(const mb_model_config *a, const mb_model_config *b) {
    bool same = a->n_labels == b->n_labels;
    for (int32_t i = 0; same && i < a->n_labels; i++) {
        same = strcmp(a->labels[i], b->labels[i]) == 0;
    }
    return same;
}

/* Puts the override's labels into the config; *renew says that the classifier on disk is for other labels. */
static mb_status override_labels(mb_model_config *config, const mb_model_config *override, bool *renew, mb_error *error) {
    *renew = !same_labels(config, override);
    memcpy(config->problem_type, override->problem_type, sizeof config->problem_type);
    return mb_model_config_set_labels(config, (const char *const *) override->labels, override->n_labels, error);
}

static mb_status check_classifier(const source *from, const mb_model_config *config, const mb_model_config *override,
                                  mb_error *error) {
    if (!override && !find_tensor(from, "classifier.weight")) {
        return mb_fail(error, MB_ERROR_MISMATCH, "'%s' has no classifier: fine-tune the model first", from->weights_path);
    }
    if (config->n_labels == 0) {
        return mb_fail(error, MB_ERROR_MISMATCH, "'%s' names no labels for the classifier", from->config_path);
    }
    return MB_OK;
}

static mb_status load_with_config(source *from, mb_head head, mb_model_config *config, const mb_model_config *config_override,
                                  uint64_t seed, bool trainable, mb_model **out, mb_error *error) {
    bool left_aside[MB_N_PARTS] = {false};
    mb_status status = MB_OK;
    if (config_override) {
        status = override_labels(config, config_override, &left_aside[MB_PART_CLASSIFIER], error);
    }
    if (status == MB_OK && has_classifier(head)) {
        status = check_classifier(from, config, config_override, error);
    }
    if (status != MB_OK) {
        return status;
    }
    const bool has_pooler =
        mb_layout_part_tensor(from->layout, MB_PART_POOLER) &&
        (head == MB_HEAD_PRETRAINING || head == MB_HEAD_CLASSIFIER || (head == MB_HEAD_NONE && has_part(from, MB_PART_POOLER)));
    mb_model *model;
    status = mb_model_declare_all(config, head, has_pooler, &model, error);
    if (model) {
        status = fill_model(model, from, left_aside, seed, trainable, error);
    }
    if (status != MB_OK) {
        mb_model_free(model);
        return status;
    }
    *out = model;
    return MB_OK;
}

mb_status mb_model_load(const char *dir, mb_head head, const mb_model_config *config_override, uint64_t seed, bool trainable,
                        mb_model **out, mb_error *error) {
    *out = NULL;
    source from;
    mb_status status = source_open(&from, dir, error);
    if (status != MB_OK) {
        return status;
    }
    mb_model_config config;
    status = mb_model_config_load(from.config_path, &config, error);
    if (status == MB_OK) {
        status = load_with_config(&from, head, &config, config_override, seed, trainable, out, error);
        mb_model_config_free(&config);
    }
    source_close(&from);
    return status;
}

static mb_status replace_weights(mb_params *params, const source *from, const mb_safetensor **tensors, mb_error *error) {
    mb_status status = match_views(from, params, (const bool[MB_N_PARTS]){false}, tensors, error);
    for (size_t i = 0; status == MB_OK && i < params->n_views; i++) {
        const mb_param *view = &params->views[i];
        if (!tensors[i]) {
            return mb_fail(error, MB_ERROR_MISMATCH, "cannot read '%s': the tensor '%s' is missing", from->weights_path,
                           view->name);
        }
        status = mb_safetensors_read(&from->file, tensors[i], params->weights + view->offset, view->count, error);
    }
    return status;
}

mb_status mb_model_load_weights(mb_model *model, const char *path, mb_error *error) {
    source from = {.weights_path = path, .layout = model->config.layout};
    mb_status status = open_weights(&from, error);
    if (status != MB_OK) {
        source_close(&from);
        return status;
    }
    const mb_safetensor **tensors = calloc(model->params.n_views, sizeof *tensors);
    status = tensors ? replace_weights(&model->params, &from, tensors, error)
                     : mb_fail(error, MB_ERROR_MEMORY, "out of memory reading '%s'", path);
    free(tensors);
    source_close(&from);
    return status;
}

/* --- which head --- */

static bool holds_head(const source *from, mb_head head) {
    const bool shares = mb_layout_part_tensor(from->layout, MB_PART_TRANSFORM); /* heads share a part */
    const bool pooler = has_part(from, MB_PART_POOLER), classifier = has_part(from, MB_PART_CLASSIFIER);
    /* A decoder without bias leaves no trace where it is tied: then the shared part without a classifier is a masked LM. */
    const bool masked_lm = has_part(from, MB_PART_MASKED_LM) || (shares && has_part(from, MB_PART_TRANSFORM) && !classifier);
    switch (head) {
    case MB_HEAD_PRETRAINING:
        return masked_lm && pooler && has_part(from, MB_PART_NEXT_SENTENCE);
    case MB_HEAD_MASKED_LM:
        return masked_lm;
    case MB_HEAD_CLASSIFIER:
        return classifier && (pooler || shares);
    case MB_HEAD_TOKEN_CLASSIFIER:
        return classifier;
    case MB_HEAD_NONE:
    default:
        return true;
    }
}

static mb_head detect_head(const source *from) {
    /* In this order, the first that the tensors allow is what they are. */
    static const mb_head heads[] = {MB_HEAD_CLASSIFIER, MB_HEAD_TOKEN_CLASSIFIER, MB_HEAD_PRETRAINING, MB_HEAD_MASKED_LM,
                                    MB_HEAD_NONE};
    enum { N_HEADS = sizeof heads / sizeof *heads };
    for (int i = 0; i < N_HEADS; i++) {
        const char *name = mb_head_architecture(from->layout, heads[i]);
        if (name && strcmp(from->architecture, name) == 0 && holds_head(from, heads[i])) {
            return heads[i];
        }
    }
    int i = 0;
    while (!holds_head(from, heads[i])) {
        i++;
    }
    return heads[i];
}

mb_status mb_model_detect_head(const char *dir, mb_head *out, mb_error *error) {
    source from;
    mb_status status = source_open(&from, dir, error);
    if (status != MB_OK) {
        return status;
    }
    *out = detect_head(&from);
    source_close(&from);
    return status;
}
