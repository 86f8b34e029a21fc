/* config.json of model_type modernbert (Warner et al. 2024), in the words of transformers 4 and 5. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/json.h"
#include "model/config.h"
#include "model/config_keys.h"

static const char full_attention[] = "full_attention", sliding_attention[] = "sliding_attention";

/* --- tables: a field and its key --- */

typedef struct member {
    const char *key;
    size_t offset;
} member;

#define FIELD(name) offsetof(mb_model_config, name)
static const member biases[] = {{"attention_bias", FIELD(attention_bias)},
                                {"mlp_bias", FIELD(feed_forward_bias)},
                                {"norm_bias", FIELD(norm_bias)},
                                {"classifier_bias", FIELD(head_bias)},
                                {"decoder_bias", FIELD(decoder_bias)}};
static const member dropouts[] = {{"embedding_dropout", FIELD(embedding_dropout)},
                                  {"mlp_dropout", FIELD(hidden_dropout)},
                                  {"attention_dropout", FIELD(attention_dropout)},
                                  {"classifier_dropout", FIELD(classifier_dropout)}};
/* bos and eos are other names of cls and sep; the four go by pairs. */
static const member tokens[] = {{"cls_token_id", FIELD(cls_token_id)},
                                {"sep_token_id", FIELD(sep_token_id)},
                                {"bos_token_id", FIELD(cls_token_id)},
                                {"eos_token_id", FIELD(sep_token_id)}};
enum {
    N_BIASES = sizeof biases / sizeof *biases,
    N_DROPOUTS = sizeof dropouts / sizeof *dropouts,
    N_TOKENS = sizeof tokens / sizeof *tokens,
    N_OWN_TOKENS = 2
};

static void *field(const mb_model_config *config, const member *of) {
    return (char *)(uintptr_t)config + of->offset;
}

/* --- parts --- */

static void set_parts(mb_model_config *config) {
    config->layout = MB_LAYOUT_MODERNBERT;
    config->pre_norm = config->rotary = config->gated = true;
    config->attention_bias = config->feed_forward_bias = config->norm_bias = config->head_bias = false;
    config->decoder_bias = true;
    config->head_activation = MB_ACTIVATION_GELU;
    config->mean_pooling = false;
    config->layer_norm_epsilon = 1e-5;
    config->type_vocab_size = 0;
    config->local_attention = 128;
    config->global_theta = 160000;
    config->local_theta = 10000;
    mb_model_config_set_global_every(config, 3);
}

void mb_config_modern_defaults(mb_model_config *config) {
    set_parts(config);
    config->hidden_dropout = config->embedding_dropout = config->attention_dropout = config->classifier_dropout = 0;
    config->max_positions = 8192;
}

void mb_model_config_set_global_every(mb_model_config *config, int32_t n) {
    for (int32_t i = 0; i < MB_MAX_LAYERS; i++) {
        config->is_local[i] = i % n != 0;
    }
}

void mb_model_config_make_modern(mb_model_config *config) {
    enum { MULTIPLE = 32 };
    set_parts(config);
    config->embedding_dropout = config->hidden_dropout;
    config->mean_pooling = true; /* as answerdotai/ModernBERT-base; masked LM alone teaches [CLS] nothing */
    config->intermediate_size = (8 * config->hidden_size / 3 + MULTIPLE - 1) / MULTIPLE * MULTIPLE;
    /* Warner et al. 2024, section 2.1.2: 10,000 while sequences are of 1,024 tokens, 160,000 when they grow to 8,192. */
    config->global_theta = config->max_positions <= 1024 ? 10000 : 160000;
}

/* --- reading --- */

/* The base of one kind of layer: rope_parameters (transformers 5), else the older key, else what is there. */
static mb_status read_theta(const json_t *json, const char *path, const char *kind, const char *older, double *theta,
                            mb_error *error) {
    const json_t *parameters = json_object_get(json_object_get(json, "rope_parameters"), kind);
    const char *type = "default";
    mb_status status = mb_json_get_real(json, path, older, theta, error);
    if (status == MB_OK && json_is_object(parameters)) {
        status = mb_json_get_text(parameters, path, "rope_type", &type, error);
        status = status == MB_OK ? mb_json_get_real(parameters, path, "rope_theta", theta, error) : status;
    }
    if (status == MB_OK && strcmp(type, "default") != 0) {
        status = mb_fail(error, MB_ERROR_FORMAT,
                         "cannot read '%s': the rope_type of %s is '%.60s'; minibert has 'default' rotary positions", path,
                         kind, type);
    }
    return status;
}

static mb_status read_rotary(const json_t *json, const char *path, mb_model_config *config, mb_error *error) {
    const json_t *scaling = json_object_get(json, "rope_scaling"), *local = json_object_get(json, "local_rope_theta");
    if (scaling && !json_is_null(scaling)) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': it has rope_scaling; minibert has unscaled rotary positions",
                       path);
    }
    mb_status status = read_theta(json, path, full_attention, "global_rope_theta", &config->global_theta, error);
    if (json_is_null(local)) {
        config->local_theta = config->global_theta; /* what null meant in transformers 4 */
    }
    return status == MB_OK ? read_theta(json, path, sliding_attention, "local_rope_theta", &config->local_theta, error)
                           : status;
}

/* layer_types (transformers 5), else global_attn_every_n_layers. */
static mb_status read_pattern(const json_t *json, const char *path, mb_model_config *config, mb_error *error) {
    int64_t every = 3, window = config->local_attention;
    mb_status status = mb_json_get_int(json, path, "global_attn_every_n_layers", 1, INT32_MAX, &every, error);
    status = status == MB_OK ? mb_json_get_int(json, path, "local_attention", 1, 1 << 20, &window, error) : status;
    if (status != MB_OK) {
        return status;
    }
    config->local_attention = (int32_t)window;
    mb_model_config_set_global_every(config, (int32_t)every);
    const json_t *types = json_object_get(json, "layer_types");
    if (!types || json_is_null(types)) {
        return MB_OK;
    }
    if (json_array_size(types) != (size_t)config->n_layers) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': layer_types should be a list of %d, one for each layer", path,
                       config->n_layers);
    }
    for (int32_t i = 0; i < config->n_layers; i++) {
        const char *type = json_string_value(json_array_get(types, (size_t)i));
        config->is_local[i] = type && strcmp(type, sliding_attention) == 0;
        if (!type || (!config->is_local[i] && strcmp(type, full_attention) != 0)) {
            return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': layer_types[%d] is '%.60s', expected %s or %s", path, i,
                           type ? type : "no text", full_attention, sliding_attention);
        }
    }
    return MB_OK;
}

static mb_status read_pooling(const json_t *json, const char *path, mb_model_config *config, mb_error *error) {
    const char *name = "cls";
    mb_status status = mb_json_get_text(json, path, "classifier_pooling", &name, error);
    if (status != MB_OK) {
        return status;
    }
    config->mean_pooling = strcmp(name, "mean") == 0;
    return config->mean_pooling || strcmp(name, "cls") == 0
               ? MB_OK
               : mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': classifier_pooling is '%.60s', expected cls or mean", path,
                         name);
}

mb_status mb_config_read_modern(const json_t *json, const char *path, mb_model_config *config, mb_error *error) {
    mb_status status = mb_json_get_real(json, path, "norm_eps", &config->layer_norm_epsilon, error);
    for (int i = 0; status == MB_OK && i < N_BIASES; i++) {
        status = mb_json_get_bool(json, path, biases[i].key, field(config, &biases[i]), error);
    }
    for (int i = 0; status == MB_OK && i < N_DROPOUTS; i++) {
        status = mb_json_get_real(json, path, dropouts[i].key, field(config, &dropouts[i]), error);
    }
    for (int i = 0; status == MB_OK && i < N_OWN_TOKENS; i++) {
        int32_t *id = field(config, &tokens[i]);
        int64_t value = *id;
        status = mb_json_get_int(json, path, tokens[i].key, 0, (1 << 24) - 1, &value, error);
        *id = (int32_t)value;
    }
    if (status == MB_OK) {
        status = mb_config_read_activation(json, path, "hidden_activation", &config->activation, error);
    }
    if (status == MB_OK) {
        status = mb_config_read_activation(json, path, "classifier_activation", &config->head_activation, error);
    }
    status = status == MB_OK ? read_pooling(json, path, config, error) : status;
    status = status == MB_OK ? read_rotary(json, path, config, error) : status;
    return status == MB_OK ? read_pattern(json, path, config, error) : status;
}

/* --- checking --- */

mb_status mb_config_check_modern(const mb_model_config *config, const char *source, mb_error *error) {
    if (config->hidden_size / config->n_heads % 2 != 0) {
        return mb_fail(error, MB_ERROR_USAGE, "%s: hidden_size %d / num_attention_heads %d is odd; rotary positions turn pairs",
                       source, config->hidden_size, config->n_heads);
    }
    if (!(config->global_theta >= 1 && isfinite(config->global_theta) && config->local_theta >= 1 &&
          isfinite(config->local_theta))) {
        return mb_fail(error, MB_ERROR_USAGE,
                       "%s: the rotary bases are %g and %g, expected numbers from 1 up (ModernBERT: 10000)", source,
                       config->global_theta, config->local_theta);
    }
    if (config->local_attention < 1) {
        return mb_fail(error, MB_ERROR_USAGE, "%s: local_attention is %d, expected 1 or more tokens", source,
                       config->local_attention);
    }
    mb_status status = MB_OK;
    for (int i = 0; status == MB_OK && i < N_DROPOUTS; i++) {
        status = mb_config_check_fraction(*(const double *)field(config, &dropouts[i]), dropouts[i].key, source, error);
    }
    return status;
}

/* --- writing --- */

/* The n for which layers 0, n, 2n ... are the global ones; 0: there is none. */
static int32_t global_every(const mb_model_config *config) {
    for (int32_t n = 1; n <= config->n_layers; n++) {
        int32_t i = 0;
        while (i < config->n_layers && config->is_local[i] == (i % n != 0)) {
            i++;
        }
        if (i == config->n_layers) {
            return n;
        }
    }
    return 0;
}

static bool write_pattern(json_t *json, const mb_model_config *config) {
    json_t *types = json_array();
    bool ok = mb_config_set(json, "layer_types", types) &&
              mb_config_set(json, "local_attention", json_integer(config->local_attention));
    for (int32_t i = 0; ok && i < config->n_layers; i++) {
        ok = json_array_append_new(types, json_string(config->is_local[i] ? sliding_attention : full_attention)) == 0;
    }
    const int32_t every = global_every(config);
    return ok && (every == 0 || mb_config_set(json, "global_attn_every_n_layers", json_integer(every)));
}

/* Twice, in the words of transformers 5 and of transformers 4. */
static bool write_rotary(json_t *json, const mb_model_config *config) {
    return mb_config_set(json, "rope_parameters",
                         json_pack("{s:{s:f, s:s}, s:{s:f, s:s}}", full_attention, "rope_theta", config->global_theta,
                                   "rope_type", "default", sliding_attention, "rope_theta", config->local_theta, "rope_type",
                                   "default")) &&
           mb_config_set(json, "global_rope_theta", json_real(config->global_theta)) &&
           mb_config_set(json, "local_rope_theta", json_real(config->local_theta));
}

bool mb_config_write_modern(json_t *json, const mb_model_config *config) {
    bool ok = mb_config_set(json, "hidden_activation", json_string(mb_config_activation_name(config->activation))) &&
              mb_config_set(json, "classifier_activation", json_string(mb_config_activation_name(config->head_activation))) &&
              mb_config_set(json, "classifier_pooling", json_string(config->mean_pooling ? "mean" : "cls")) &&
              mb_config_set(json, "norm_eps", json_real(config->layer_norm_epsilon)) &&
              mb_config_set(json, "initializer_range", json_real(config->initializer_range)) && write_rotary(json, config) &&
              write_pattern(json, config);
    for (int i = 0; ok && i < N_BIASES; i++) {
        ok = mb_config_set(json, biases[i].key, json_boolean(*(const bool *)field(config, &biases[i])));
    }
    for (int i = 0; ok && i < N_DROPOUTS; i++) {
        ok = mb_config_set(json, dropouts[i].key, json_real(*(const double *)field(config, &dropouts[i])));
    }
    for (int i = 0; ok && i < N_TOKENS; i++) {
        const int32_t id = *(const int32_t *)field(config, &tokens[i]);
        ok = mb_config_set(json, tokens[i].key, id < 0 ? json_null() : json_integer(id));
    }
    return ok;
}
