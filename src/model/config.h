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
/* Every dimension positive, H divisible by A, ... ; `source` names the file or flag in the message. */
mb_status mb_model_config_check(const mb_model_config *config, const char *source, mb_error *error);
mb_status mb_model_config_load(const char *path, mb_model_config *out, mb_error *error);
/* `architecture`: "BertForMaskedLM" and so on. New reference; NULL without memory. */
json_t *mb_model_config_to_json(const mb_model_config *config, const char *architecture);
/* Deep copy of `labels`; config owns its copy. */
mb_status mb_model_config_set_labels(mb_model_config *config, const char *const *labels, int32_t n_labels, mb_error *error);
mb_status mb_model_config_copy(const mb_model_config *from, mb_model_config *to, mb_error *error);
void mb_model_config_free(mb_model_config *config);

#endif
