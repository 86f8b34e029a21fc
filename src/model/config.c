#include "model/config.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "model/config_keys.h"

/* The sizes: the field, its key, and what is allowed. One table for reading, checking and writing. The upper bounds keep every
 * product of sizes far inside 64 bits. */
static const struct {
    const char *key;
    size_t offset;
    int32_t min, max;
    bool required; /* transformers always writes these; a file without one is not a BERT's */
    bool of_bert;  /* not in ModernBERT's layout */
} sizes[] = {
    {"vocab_size", offsetof(mb_model_config, vocab_size), 1, 1 << 24, true, false},
    {"hidden_size", offsetof(mb_model_config, hidden_size), 1, 1 << 16, true, false},
    {"num_hidden_layers", offsetof(mb_model_config, n_layers), 1, MB_MAX_LAYERS, true, false},
    {"num_attention_heads", offsetof(mb_model_config, n_heads), 1, 1 << 12, true, false},
    {"intermediate_size", offsetof(mb_model_config, intermediate_size), 1, 1 << 18, true, false},
    {"max_position_embeddings", offsetof(mb_model_config, max_positions), 1, 1 << 20, true, false},
    {"type_vocab_size", offsetof(mb_model_config, type_vocab_size), 1, 1 << 16, false, true},
    {"pad_token_id", offsetof(mb_model_config, pad_token_id), 0, (1 << 24) - 1, false, false},
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

/* The sizes that a layout's file has. */
static bool has_size(mb_layout layout, int i) {
    return layout == MB_LAYOUT_BERT || !sizes[i].of_bert;
}

/* What BertConfig has where a file says nothing. */
static const mb_model_config defaults = {.max_positions = 512,
                                         .attention_bias = true,
                                         .feed_forward_bias = true,
                                         .norm_bias = true,
                                         .head_bias = true,
                                         .decoder_bias = true,
                                         .cls_token_id = -1,
                                         .sep_token_id = -1,
                                         .type_vocab_size = 2,
                                         .activation = MB_ACTIVATION_GELU,
                                         .layer_norm_epsilon = 1e-12, /* BERT's; PyTorch's own default is 1e-5 */
                                         .hidden_dropout = 0.1,
                                         .embedding_dropout = 0.1,
                                         .attention_dropout = 0.1,
                                         .classifier_dropout = 0.1,
                                         .initializer_range = 0.02};

const char *const mb_model_size_names[] = {"tiny", "mini", "small", "medium", "base", NULL};
const char *const mb_model_arch_names[] = {"bert", "modern", NULL};

mb_status mb_model_config_preset(const char *size, mb_model_config *out, mb_error *error) {
    static const struct { int32_t n_layers, hidden_size; } presets[] = {{2, 128}, {4, 256}, {4, 512}, {8, 512}, {12, 768}};
    for (size_t i = 0; mb_model_size_names[i] != NULL; i++) {
        if (strcmp(size, mb_model_size_names[i]) == 0) {
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

mb_status mb_config_check_fraction(double value, const char *key, const char *source, mb_error *error) {
    if (value >= 0 && value < 1) {
        return MB_OK;
    }
    return mb_fail(error, MB_ERROR_USAGE, "%s: %s is %g, expected a number from 0 to less than 1", source, key, value);
}

static mb_status check_bert(const mb_model_config *config, const char *source, mb_error *error) {
    mb_status status = mb_config_check_fraction(config->hidden_dropout, "hidden_dropout_prob", source, error);
    if (status == MB_OK) {
        status = mb_config_check_fraction(config->attention_dropout, "attention_probs_dropout_prob", source, error);
    }
    if (status == MB_OK) {
        status = mb_config_check_fraction(config->classifier_dropout, "classifier_dropout", source, error);
    }
    return status;
}

mb_status mb_model_config_check(const mb_model_config *config, const char *source, mb_error *error) {
    for (int i = 0; i < N_SIZES; i++) {
        const int32_t value = *size_field(config, i);
        if (!has_size(config->layout, i)) {
            continue;
        }
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
        return mb_fail(error, MB_ERROR_USAGE, "%s: %s is %g, expected a small number above 0", source,
                       config->layout == MB_LAYOUT_BERT ? "layer_norm_eps" : "norm_eps", config->layer_norm_epsilon);
    }
    if (!(config->initializer_range > 0 && config->initializer_range < 100)) {
        return mb_fail(error, MB_ERROR_USAGE, "%s: initializer_range is %g, expected a number above 0 (BERT: 0.02)", source,
                       config->initializer_range);
    }
    if (config->n_labels < 0 || config->n_labels > MB_MAX_LABELS) {
        return mb_fail(error, MB_ERROR_USAGE, "%s: there are %d labels, expected at most %d", source, config->n_labels,
                       MB_MAX_LABELS);
    }
    return config->layout == MB_LAYOUT_BERT ? check_bert(config, source, error) : mb_config_check_modern(config, source, error);
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
    return architecture && (strstr(architecture, "BertForSequenceClassification") != NULL ||
                            strstr(architecture, "BertForTokenClassification") != NULL);
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

mb_status mb_config_layout(const json_t *json, const char *path, mb_layout *out, mb_error *error) {
    const char *model_type = "bert";
    mb_status status = mb_json_get_text(json, path, "model_type", &model_type, error);
    if (status != MB_OK) {
        return status;
    }
    *out = strcmp(model_type, "modernbert") == 0 ? MB_LAYOUT_MODERNBERT : MB_LAYOUT_BERT;
    if (*out == MB_LAYOUT_BERT && strcmp(model_type, "bert") != 0) {
        return mb_fail(error, MB_ERROR_FORMAT,
                       "cannot read '%s': model_type is '%.60s'; minibert reads 'bert' and 'modernbert' models", path,
                       model_type);
    }
    return MB_OK;
}

/* What we cannot compute is refused, never approximated. */
static mb_status check_kind(const json_t *json, const char *path, mb_error *error) {
    const char *position = "absolute";
    bool is_decoder = false, cross_attention = false;
    mb_status status = mb_json_get_text(json, path, "position_embedding_type", &position, error);
    if (status == MB_OK) {
        status = mb_json_get_bool(json, path, "is_decoder", &is_decoder, error);
    }
    if (status == MB_OK) {
        status = mb_json_get_bool(json, path, "add_cross_attention", &cross_attention, error);
    }
    if (status != MB_OK) {
        return status;
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
        if (!has_size(config->layout, i)) {
            continue;
        }
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

static mb_status read_bert_reals(const json_t *json, const char *path, mb_model_config *config, mb_error *error) {
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
    return status;
}

mb_status mb_config_read_activation(const json_t *json, const char *path, const char *key, mb_activation *out,
                                    mb_error *error) {
    const char *name = "gelu";
    mb_status status = mb_json_get_text(json, path, key, &name, error);
    if (status != MB_OK) {
        return status;
    }
    for (int i = 0; i < N_ACTIVATIONS; i++) {
        if (strcmp(name, activations[i].name) == 0) {
            *out = activations[i].activation;
            return MB_OK;
        }
    }
    return mb_fail(error, MB_ERROR_FORMAT,
                   "cannot read '%s': %s is '%.60s'; minibert has gelu, gelu_new, gelu_pytorch_tanh, relu and tanh", path, key,
                   name);
}

const char *mb_config_activation_name(mb_activation activation) {
    int i = 0;
    while (i < N_ACTIVATIONS - 1 && activations[i].activation != activation) {
        i++;
    }
    return activations[i].name;
}

/* What only a BERT's file has. */
static mb_status read_bert(const json_t *json, const char *path, mb_model_config *config, mb_error *error) {
    mb_status status = read_bert_reals(json, path, config, error);
    return status == MB_OK ? mb_config_read_activation(json, path, "hidden_act", &config->activation, error) : status;
}

static mb_status read_initializer(const json_t *json, const char *path, mb_model_config *config, mb_error *error) {
    return mb_json_get_real(json, path, "initializer_range", &config->initializer_range, error);
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
    typedef mb_status reader(const json_t *, const char *, mb_model_config *, mb_error *);
    mb_status status = mb_config_layout(json, path, &config->layout, error);
    if (status == MB_OK && config->layout == MB_LAYOUT_MODERNBERT) {
        mb_config_modern_defaults(config);
    }
    reader *const readers[] = {config->layout == MB_LAYOUT_BERT ? read_bert : mb_config_read_modern, read_initializer,
                               read_problem_type, read_labels};
    /* The kind comes before the sizes, and the number of layers before the pattern of the layers. */
    status = status == MB_OK && config->layout == MB_LAYOUT_BERT ? check_kind(json, path, error) : status;
    status = status == MB_OK ? read_sizes(json, path, config, error) : status;
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

bool mb_config_set(json_t *json, const char *key, json_t *value) {
    return json_object_set_new(json, key, value) == 0; /* a NULL value (no memory) fails too */
}

static bool write_labels(json_t *json, const mb_model_config *config) {
    json_t *id2label = json_object(), *label2id = json_object();
    bool ok = id2label && label2id;
    for (int32_t i = 0; ok && i < config->n_labels; i++) {
        char key[24];
        snprintf(key, sizeof key, "%d", i);
        ok = mb_config_set(id2label, key, json_string(config->labels[i])) &&
             mb_config_set(label2id, config->labels[i], json_integer(i));
    }
    ok = ok && json_object_set(json, "id2label", id2label) == 0 && json_object_set(json, "label2id", label2id) == 0;
    json_decref(id2label);
    json_decref(label2id);
    return ok;
}

static bool write_bert(json_t *json, const mb_model_config *config) {
    return mb_config_set(json, "hidden_act", json_string(mb_config_activation_name(config->activation))) &&
           mb_config_set(json, "position_embedding_type", json_string("absolute")) &&
           mb_config_set(json, "layer_norm_eps", json_real(config->layer_norm_epsilon)) &&
           mb_config_set(json, "hidden_dropout_prob", json_real(config->hidden_dropout)) &&
           mb_config_set(json, "attention_probs_dropout_prob", json_real(config->attention_dropout)) &&
           mb_config_set(json, "classifier_dropout", json_real(config->classifier_dropout)) &&
           mb_config_set(json, "initializer_range", json_real(config->initializer_range)) &&
           mb_config_set(json, "use_cache", json_true());
}

static bool write_all(json_t *json, const mb_model_config *config, const char *architecture) {
    const bool is_bert = config->layout == MB_LAYOUT_BERT;
    bool ok = mb_config_set(json, "architectures", json_pack("[s]", architecture)) &&
              mb_config_set(json, "model_type", json_string(is_bert ? "bert" : "modernbert"));
    for (int i = 0; ok && i < N_SIZES; i++) {
        ok = !has_size(config->layout, i) || mb_config_set(json, sizes[i].key, json_integer(*size_field(config, i)));
    }
    ok = ok && (is_bert ? write_bert(json, config) : mb_config_write_modern(json, config)) &&
         mb_config_set(json, "tie_word_embeddings", json_true()) && mb_config_set(json, "torch_dtype", json_string("float32"));
    if (ok && config->problem_type[0]) {
        ok = mb_config_set(json, "problem_type", json_string(config->problem_type));
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
