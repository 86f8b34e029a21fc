#include "model/config.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

/* The sizes: the field, its key, and what is allowed. One table for reading, checking and writing. The upper bounds keep every
 * product of sizes far inside 64 bits. */
static const struct {
    const char *key;
    size_t offset;
    int32_t min, max;
    bool required; /* transformers always writes these; a file without one is not a BERT's */
} sizes[] = {
    {"vocab_size", offsetof(mb_model_config, vocab_size), 1, 1 << 24, true},
    {"hidden_size", offsetof(mb_model_config, hidden_size), 1, 1 << 16, true},
    {"num_hidden_layers", offsetof(mb_model_config, n_layers), 1, MB_MAX_LAYERS, true},
    {"num_attention_heads", offsetof(mb_model_config, n_heads), 1, 1 << 12, true},
    {"intermediate_size", offsetof(mb_model_config, intermediate_size), 1, 1 << 18, true},
    {"max_position_embeddings", offsetof(mb_model_config, max_positions), 1, 1 << 20, true},
    {"type_vocab_size", offsetof(mb_model_config, type_vocab_size), 1, 1 << 16, false},
    {"pad_token_id", offsetof(mb_model_config, pad_token_id), 0, (1 << 24) - 1, false},
};
enum { N_SIZES = sizeof sizes / sizeof *sizes };

static int32_t *size_field(const mb_model_config *config, int i) {
    return (int32_t *)(void *)((char *)(uintptr_t)config + sizes[i].offset);
}

/* The first name of an activation is the one we write. */
static const struct {
    const char *name;
    mb_activation activation;
} activations[] = {
    {"gelu", MB_ACTIVATION_GELU},        {"gelu_new", MB_ACTIVATION_GELU_TANH},          {"relu", MB_ACTIVATION_RELU},
    {"gelu_python", MB_ACTIVATION_GELU}, {"gelu_pytorch_tanh", MB_ACTIVATION_GELU_TANH}, {"tanh", MB_ACTIVATION_TANH}};
enum { N_ACTIVATIONS = sizeof activations / sizeof *activations };

static const char *const problem_types[] = {"", "regression", "single_label_classification", "multi_label_classification"};
enum { N_PROBLEM_TYPES = sizeof problem_types / sizeof *problem_types };

/* What BertConfig has where a file says nothing. */
static const mb_model_config defaults = {.max_positions = 512,
                                         .type_vocab_size = 2,
                                         .activation = MB_ACTIVATION_GELU,
                                         .layer_norm_epsilon = 1e-12, /* BERT's; PyTorch's own default is 1e-5 */
                                         .hidden_dropout = 0.1,
                                         .attention_dropout = 0.1,
                                         .classifier_dropout = 0.1,
                                         .initializer_range = 0.02};

mb_status mb_model_config_preset(const char *size, mb_model_config *out, mb_error *error) {
    static const struct {
        const char *name;
        int32_t n_layers, hidden_size;
    } presets[] = {{"tiny", 2, 128}, {"mini", 4, 256}, {"small", 4, 512}, {"medium", 8, 512}, {"base", 12, 768}};
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        if (strcmp(size, presets[i].name) == 0) {
            *out = defaults;
            out->n_layers = presets[i].n_layers;
            out->hidden_size = presets[i].hidden_size;
            out->n_heads = presets[i].hidden_size / 64; /* every released BERT has heads of size 64 and F = 4H */
            out->intermediate_size = 4 * presets[i].hidden_size;
            return MB_OK;
        }
    }
    return mb_fail(error, MB_ERROR_USAGE, "unknown model size '%s': expected tiny, mini, small, medium or base", size);
}

static mb_status check_fraction(double value, const char *key, const char *source, mb_error *error) {
    if (value >= 0 && value < 1) {
        return MB_OK;
    }
    return mb_fail(error, MB_ERROR_USAGE, "%s: %s is %g, expected a number from 0 to less than 1", source, key, value);
}

mb_status mb_model_config_check(const mb_model_config *config, const char *source, mb_error *error) {
    for (int i = 0; i < N_SIZES; i++) {
        const int32_t value = *size_field(config, i);
        if (value < sizes[i].min || value > sizes[i].max) {
            return mb_fail(error, MB_ERROR_USAGE, "%s: %s is %d, expected %d to %d", source, sizes[i].key, value, sizes[i].min,
                           sizes[i].max);
        }
    }
    if (config->hidden_size % config->n_heads != 0) {
        return mb_fail(error, MB_ERROR_USAGE, "%s: hidden_size %d is not a multiple of num_attention_heads %d", source,
                       config->hidden_size, config->n_heads);
    }
    if (config->pad_token_id >= config->vocab_size) {
        return mb_fail(error, MB_ERROR_USAGE, "%s: pad_token_id %d is not below vocab_size %d", source, config->pad_token_id,
                       config->vocab_size);
    }
    if (!(config->layer_norm_epsilon > 0 && config->layer_norm_epsilon < 1)) {
        return mb_fail(error, MB_ERROR_USAGE, "%s: layer_norm_eps is %g, expected a small number above 0 (BERT: 1e-12)", source,
                       config->layer_norm_epsilon);
    }
    if (!(config->initializer_range > 0 && config->initializer_range < 100)) {
        return mb_fail(error, MB_ERROR_USAGE, "%s: initializer_range is %g, expected a number above 0 (BERT: 0.02)", source,
                       config->initializer_range);
    }
    if (config->n_labels < 0 || config->n_labels > MB_MAX_LABELS) {
        return mb_fail(error, MB_ERROR_USAGE, "%s: there are %d labels, expected at most %d", source, config->n_labels,
                       MB_MAX_LABELS);
    }
    mb_status status = check_fraction(config->hidden_dropout, "hidden_dropout_prob", source, error);
    if (status == MB_OK) {
        status = check_fraction(config->attention_dropout, "attention_probs_dropout_prob", source, error);
    }
    if (status == MB_OK) {
        status = check_fraction(config->classifier_dropout, "classifier_dropout", source, error);
    }
    return status;
}

/* --- labels --- */

/* LABEL_0, LABEL_1 ...: the names transformers gives where a file has none. */
static mb_status set_numbered_labels(mb_model_config *config, int32_t n_labels, mb_error *error) {
    char(*names)[24] = malloc((size_t)n_labels * sizeof *names);
    const char **labels = malloc((size_t)n_labels * sizeof *labels);
    mb_status status;
    if (!names || !labels) {
        status = mb_fail(error, MB_ERROR_MEMORY, "out of memory naming %d labels", n_labels);
    } else {
        for (int32_t i = 0; i < n_labels; i++) {
            snprintf(names[i], sizeof names[i], "LABEL_%d", i);
            labels[i] = names[i];
        }
        status = mb_model_config_set_labels(config, labels, n_labels, error);
    }
    free(names);
    free(labels);
    return status;
}

/* {"0": "name", ...}: every id from 0 to n-1 once. */
static mb_status read_id2label(const json_t *id2label, const char *path, mb_model_config *config, mb_error *error) {
    const size_t n = json_object_size(id2label);
    if (n == 0 || n > MB_MAX_LABELS) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': id2label should be an object of 1 to %d names", path,
                       MB_MAX_LABELS);
    }
    const char **labels = calloc(n, sizeof *labels);
    if (!labels) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory reading '%s'", path);
    }
    mb_status status = MB_OK;
    for (size_t i = 0; status == MB_OK && i < n; i++) {
        char key[24];
        snprintf(key, sizeof key, "%zu", i);
        labels[i] = json_string_value(json_object_get(id2label, key));
        if (!labels[i]) {
            status = mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': id2label has %zu entries but no name for \"%s\"", path,
                             n, key);
        }
    }
    if (status == MB_OK) {
        status = mb_model_config_set_labels(config, labels, (int32_t)n, error);
    }
    free(labels);
    return status;
}

static bool is_classifier(const json_t *json) {
    const char *architecture = json_string_value(json_array_get(json_object_get(json, "architectures"), 0));
    return architecture && (strcmp(architecture, "BertForSequenceClassification") == 0 ||
                            strcmp(architecture, "BertForTokenClassification") == 0);
}

static mb_status read_labels(const json_t *json, const char *path, mb_model_config *config, mb_error *error) {
    int64_t n = 0;
    mb_status status = mb_json_get_int(json, path, "num_labels", 1, MB_MAX_LABELS, &n, error);
    if (status != MB_OK) {
        return status;
    }
    const json_t *id2label = json_object_get(json, "id2label");
    if (id2label && !json_is_null(id2label)) {
        status = read_id2label(id2label, path, config, error);
        if (status == MB_OK && n != 0 && n != config->n_labels) {
            status = mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': num_labels is %lld but id2label has %d names", path,
                             (long long)n, config->n_labels);
        }
        return status;
    }
    if (n == 0 && is_classifier(json)) {
        n = 2; /* transformers leaves id2label out where it is the default: two numbered labels */
    }
    return n ? set_numbered_labels(config, (int32_t)n, error) : MB_OK;
}

/* --- reading --- */

/* What we cannot compute is refused, never approximated. */
static mb_status check_kind(const json_t *json, const char *path, mb_error *error) {
    const char *model_type = "bert", *position = "absolute";
    bool is_decoder = false, cross_attention = false;
    mb_status status = mb_json_get_text(json, path, "model_type", &model_type, error);
    if (status == MB_OK) {
        status = mb_json_get_text(json, path, "position_embedding_type", &position, error);
    }
    if (status == MB_OK) {
        status = mb_json_get_bool(json, path, "is_decoder", &is_decoder, error);
    }
    if (status == MB_OK) {
        status = mb_json_get_bool(json, path, "add_cross_attention", &cross_attention, error);
    }
    if (status != MB_OK) {
        return status;
    }
    if (strcmp(model_type, "bert") != 0) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': model_type is '%.60s'; minibert reads 'bert' models", path,
                       model_type);
    }
    if (strcmp(position, "absolute") != 0) {
        return mb_fail(error, MB_ERROR_FORMAT,
                       "cannot read '%s': position_embedding_type is '%.60s'; minibert reads models with 'absolute' positions",
                       path, position);
    }
    if (is_decoder || cross_attention) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': it describes a decoder; minibert reads encoders", path);
    }
    return MB_OK;
}

static mb_status read_sizes(const json_t *json, const char *path, mb_model_config *config, mb_error *error) {
    for (int i = 0; i < N_SIZES; i++) {
        const json_t *member = json_object_get(json, sizes[i].key);
        if (sizes[i].required && (!member || json_is_null(member))) {
            return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': it has no '%s'; is it a BERT's config.json?", path,
                           sizes[i].key);
        }
        int64_t value = *size_field(config, i);
        mb_status status = mb_json_get_int(json, path, sizes[i].key, sizes[i].min, sizes[i].max, &value, error);
        if (status != MB_OK) {
            return status;
        }
        *size_field(config, i) = (int32_t)value;
    }
    return MB_OK;
}

static mb_status read_reals(const json_t *json, const char *path, mb_model_config *config, mb_error *error) {
    mb_status status = mb_json_get_real(json, path, "layer_norm_eps", &config->layer_norm_epsilon, error);
    if (status == MB_OK) {
        status = mb_json_get_real(json, path, "hidden_dropout_prob", &config->hidden_dropout, error);
    }
    if (status == MB_OK) {
        status = mb_json_get_real(json, path, "attention_probs_dropout_prob", &config->attention_dropout, error);
    }
    config->classifier_dropout = config->hidden_dropout; /* what null means */
    if (status == MB_OK) {
        status = mb_json_get_real(json, path, "classifier_dropout", &config->classifier_dropout, error);
    }
    if (status == MB_OK) {
        status = mb_json_get_real(json, path, "initializer_range", &config->initializer_range, error);
    }
    return status;
}

static mb_status read_activation(const json_t *json, const char *path, mb_model_config *config, mb_error *error) {
    const char *name = "gelu";
    mb_status status = mb_json_get_text(json, path, "hidden_act", &name, error);
    if (status != MB_OK) {
        return status;
    }
    for (int i = 0; i < N_ACTIVATIONS; i++) {
        if (strcmp(name, activations[i].name) == 0) {
            config->activation = activations[i].activation;
            return MB_OK;
        }
    }
    return mb_fail(error, MB_ERROR_FORMAT,
                   "cannot read '%s': hidden_act is '%.60s'; minibert has gelu, gelu_new, gelu_pytorch_tanh, relu and tanh",
                   path, name);
}

static mb_status read_problem_type(const json_t *json, const char *path, mb_model_config *config, mb_error *error) {
    const char *name = "";
    mb_status status = mb_json_get_text(json, path, "problem_type", &name, error);
    if (status != MB_OK) {
        return status;
    }
    for (int i = 0; i < N_PROBLEM_TYPES; i++) {
        if (strcmp(name, problem_types[i]) == 0) {
            snprintf(config->problem_type, sizeof config->problem_type, "%s", name);
            return MB_OK;
        }
    }
    return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': problem_type is '%.60s', expected %s, %s or %s", path, name,
                   problem_types[1], problem_types[2], problem_types[3]);
}

static mb_status read_all(const json_t *json, const char *path, mb_model_config *config, mb_error *error) {
    mb_status (*const readers[])(const json_t *, const char *, mb_model_config *,
                                 mb_error *) = {read_sizes, read_reals, read_activation, read_problem_type, read_labels};
    mb_status status = check_kind(json, path, error);
    for (size_t i = 0; status == MB_OK && i < sizeof readers / sizeof *readers; i++) {
        status = readers[i](json, path, config, error);
    }
    if (status != MB_OK) {
        return status;
    }
    mb_error cause;
    if (mb_model_config_check(config, "it is inconsistent", &cause) != MB_OK) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': %s", path, cause.message);
    }
    return MB_OK;
}

mb_status mb_model_config_load(const char *path, mb_model_config *out, mb_error *error) {
    json_t *json = NULL;
    *out = defaults;
    mb_status status = mb_json_load(path, &json, error);
    if (status == MB_OK) {
        status = read_all(json, path, out, error);
        json_decref(json);
    }
    if (status != MB_OK) {
        mb_model_config_free(out);
    }
    return status;
}

/* --- writing --- */

static bool set(json_t *json, const char *key, json_t *value) {
    return json_object_set_new(json, key, value) == 0; /* a NULL value (no memory) fails too */
}

static bool write_labels(json_t *json, const mb_model_config *config) {
    json_t *id2label = json_object(), *label2id = json_object();
    bool ok = id2label && label2id;
    for (int32_t i = 0; ok && i < config->n_labels; i++) {
        char key[24];
        snprintf(key, sizeof key, "%d", i);
        ok = set(id2label, key, json_string(config->labels[i])) && set(label2id, config->labels[i], json_integer(i));
    }
    ok = ok && json_object_set(json, "id2label", id2label) == 0 && json_object_set(json, "label2id", label2id) == 0;
    json_decref(id2label);
    json_decref(label2id);
    return ok;
}

static bool write_all(json_t *json, const mb_model_config *config, const char *architecture) {
    bool ok = set(json, "architectures", json_pack("[s]", architecture)) && set(json, "model_type", json_string("bert"));
    for (int i = 0; ok && i < N_SIZES; i++) {
        ok = set(json, sizes[i].key, json_integer(*size_field(config, i)));
    }
    const char *activation = NULL;
    for (int i = N_ACTIVATIONS - 1; i >= 0; i--) { /* the first name wins */
        activation = activations[i].activation == config->activation ? activations[i].name : activation;
    }
    ok = ok && set(json, "hidden_act", json_string(activation)) &&
         set(json, "position_embedding_type", json_string("absolute")) &&
         set(json, "layer_norm_eps", json_real(config->layer_norm_epsilon)) &&
         set(json, "hidden_dropout_prob", json_real(config->hidden_dropout)) &&
         set(json, "attention_probs_dropout_prob", json_real(config->attention_dropout)) &&
         set(json, "classifier_dropout", json_real(config->classifier_dropout)) &&
         set(json, "initializer_range", json_real(config->initializer_range)) && set(json, "use_cache", json_true()) &&
         set(json, "tie_word_embeddings", json_true()) && set(json, "torch_dtype", json_string("float32"));
    if (ok && config->problem_type[0]) {
        ok = set(json, "problem_type", json_string(config->problem_type));
    }
    return ok && (config->n_labels == 0 || write_labels(json, config));
}

json_t *mb_model_config_to_json(const mb_model_config *config, const char *architecture) {
    json_t *json = json_object();
    if (json && !write_all(json, config, architecture)) {
        json_decref(json);
        return NULL;
    }
    return json;
}
