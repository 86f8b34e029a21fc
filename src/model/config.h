/* The shape of a model: what config.json says. Field meanings are those of Hugging Face's BertConfig and ModernBertConfig. */
#ifndef MB_MODEL_CONFIG_H
#define MB_MODEL_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "autograd/ops.h"
#include "minibert/status.h"

enum { MB_MAX_LABELS = 1000, MB_MAX_LAYERS = 128 };

/* The keys of config.json and the names of the tensors; each layout goes with its parts of the encoder. */
typedef enum mb_layout {
    MB_LAYOUT_BERT,       /* Devlin et al. 2019 */
    MB_LAYOUT_MODERNBERT, /* Warner et al. 2024, "Smarter, Better, Faster, Longer" */
    MB_N_LAYOUTS,
} mb_layout;

typedef struct mb_model_config {
    mb_layout layout;
    /* The parts of the encoder. false: BERT's. */
    bool pre_norm; /* LayerNorm before each sub-layer and after the last one (Xiong et al. 2020); false: after each sum */
    bool rotary;   /* positions turn queries and keys (Su et al. 2021); false: learned position embeddings */
    bool gated;    /* feed-forward activation(left) * right (Shazeer 2020); false: activation(x) */
    bool attention_bias, feed_forward_bias, norm_bias, head_bias, decoder_bias;
    int32_t local_attention;          /* in a local layer a token sees those up to local_attention / 2 away, on either side */
    bool is_local[MB_MAX_LAYERS];     /* false: the layer's tokens see the whole sequence */
    double global_theta, local_theta; /* rotary base of global and local layers */

    int32_t vocab_size, hidden_size, n_layers, n_heads, intermediate_size, max_positions, type_vocab_size, pad_token_id;
    int32_t cls_token_id, sep_token_id;        /* -1: not said; ModernBERT's layout alone */
    mb_activation activation, head_activation; /* of the head: ModernBERT's layout alone; BERT has one for both */
    bool mean_pooling;                         /* a classifier reads the mean of the tokens; false: the first token */
    /* BERT: hidden_dropout is that of the embeddings and of what each sub-layer adds. ModernBERT: hidden_dropout (mlp_dropout)
     * is inside the feed-forward, attention_dropout is also that of what attention adds. */
    double layer_norm_epsilon, hidden_dropout, embedding_dropout, attention_dropout, classifier_dropout, initializer_range;
    int32_t n_labels;      /* 0: no classifier */
    char **labels;         /* n_labels names in id order (id2label), owned by the config */
    char problem_type[40]; /* Hugging Face's: "single_label_classification", "multi_label_classification", "regression", "" */
} mb_model_config;

/* The names of sizes and, in the order of mb_layout, of architectures; NULL-terminated. */
extern const char *const mb_model_size_names[];
extern const char *const mb_model_arch_names[];
/* Sizes of google-research/bert's miniatures by name: tiny 2/128, mini 4/256, small 4/512, medium 8/512, base 12/768.
 * Fills everything but vocab_size with BERT's defaults. MB_ERROR_USAGE for an unknown name. */
mb_status mb_model_config_preset(const char *size, mb_model_config *out, mb_error *error);
/* Turns a BERT's shape into a ModernBERT's of the same vocabulary, layers, width, heads, positions, dropouts and labels, with
 * ModernBERT's parts. The intermediate size becomes 8/3 of the width, rounded up to a multiple of 32: three feed-forward
 * matrices then take what BERT's two of four times the width do (tiny 352, mini 704, small and medium 1376, base 2048; the
 * encoder is within 2% of BERT's). */
void mb_model_config_make_modern(mb_model_config *config);
/* Layers 0, n, 2n ... are global, the others local (global_attn_every_n_layers). 1: all global. */
void mb_model_config_set_global_every(mb_model_config *config, int32_t n);
/* Every dimension in its range, H a multiple of A, dropouts in [0,1) and so on. `source` begins the message: the file or flag
 * the values came from. MB_ERROR_USAGE. */
mb_status mb_model_config_check(const mb_model_config *config, const char *source, mb_error *error);
/* Reads a config.json of model_type bert or modernbert, the latter as transformers 4 (global_rope_theta,
 * global_attn_every_n_layers) and 5 (rope_parameters, layer_types) write it. A model that we would compute differently (another
 * model_type or activation, relative positions, scaled rotary positions, a decoder) is MB_ERROR_FORMAT. A null
 * classifier_dropout becomes hidden_dropout, as in transformers; a classifier without id2label gets LABEL_0, LABEL_1. On
 * failure *out owns nothing. */
mb_status mb_model_config_load(const char *path, mb_model_config *out, mb_error *error);
/* What transformers 4 and 5 read. `architecture`: mb_head_architecture's. New reference; NULL without memory. */
json_t *mb_model_config_to_json(const mb_model_config *config, const char *architecture);
/* Replaces the labels by a deep copy; the config is unchanged on failure. Names must be UTF-8 (MB_ERROR_FORMAT). */
mb_status mb_model_config_set_labels(mb_model_config *config, const char *const *labels, int32_t n_labels, mb_error *error);
/* `to` is overwritten, not freed. */
mb_status mb_model_config_copy(const mb_model_config *from, mb_model_config *to, mb_error *error);
void mb_model_config_free(mb_model_config *config); /* the labels */

#endif
