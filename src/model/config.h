/* The shape of a model: what config.json says. Field meanings are Hugging Face's BertConfig. */
#ifndef MB_MODEL_CONFIG_H
#define MB_MODEL_CONFIG_H

#include <jansson.h>
#include <stdint.h>

#include "autograd/ops.h"
#include "minibert/status.h"

enum { MB_MAX_LABELS = 1000, MB_MAX_LAYERS = 128 };

typedef struct mb_model_config {
    int32_t vocab_size, hidden_size, n_layers, n_heads, intermediate_size, max_positions, type_vocab_size, pad_token_id;
    mb_activation activation;
    double layer_norm_epsilon, hidden_dropout, attention_dropout, classifier_dropout, initializer_range;
    int32_t n_labels;      /* 0: no classifier */
    char **labels;         /* n_labels names in id order (id2label), owned by the config */
    char problem_type[40]; /* Hugging Face's: "single_label_classification", "multi_label_classification", "regression", "" */
} mb_model_config;

/* Sizes of google-research/bert's miniatures by name: tiny 2/128, mini 4/256, small 4/512, medium 8/512, base 12/768.
 * Fills everything but vocab_size with BERT's defaults. MB_ERROR_USAGE for an unknown name. */
mb_status mb_model_config_preset(const char *size, mb_model_config *out, mb_error *error);
/* Every dimension in its range, H a multiple of A, dropouts in [0,1) and so on. `source` begins the message: the file or flag
 * the values came from. MB_ERROR_USAGE. */
mb_status mb_model_config_check(const mb_model_config *config, const char *source, mb_error *error);
/* Reads a config.json of model_type bert. A model that we would compute differently (another model_type or hidden_act,
 * relative positions, a decoder) is MB_ERROR_FORMAT. A null classifier_dropout becomes hidden_dropout, as in transformers; a
 * classifier without id2label gets LABEL_0, LABEL_1. On failure *out owns nothing. */
mb_status mb_model_config_load(const char *path, mb_model_config *out, mb_error *error);
/* What transformers 4 and 5 read. `architecture`: "BertForMaskedLM" and so on. New reference; NULL without memory. */
json_t *mb_model_config_to_json(const mb_model_config *config, const char *architecture);
/* Replaces the labels by a deep copy; the config is unchanged on failure. Names must be UTF-8 (MB_ERROR_FORMAT). */
mb_status mb_model_config_set_labels(mb_model_config *config, const char *const *labels, int32_t n_labels, mb_error *error);
/* `to` is overwritten, not freed. */
mb_status mb_model_config_copy(const mb_model_config *from, mb_model_config *to, mb_error *error);
void mb_model_config_free(mb_model_config *config); /* the labels */

#endif
