/* Inside the model: the weights of each part, how they are declared in the parameter table, and the forward functions. Every
 * weight is declared once, by the file that uses it; the order of declaration is the order of the flat buffer. */
#ifndef MB_MODEL_LAYERS_H
#define MB_MODEL_LAYERS_H

#include "base/file.h"
#include "model/model.h"
#include "model/rotary.h"
#include "tensor/bf16.h"

/* Pointers into mb_model.tensors. */
typedef struct mb_linear_weights {
    mb_tensor *weight, *bias; /* (O,I), (O); bias NULL: the layer has none */
} mb_linear_weights;

typedef struct mb_norm_weights {
    mb_tensor *gamma, *beta; /* (H); beta may be NULL, and so may both, where the layout has no norm */
} mb_norm_weights;

typedef struct mb_embedding_weights {
    mb_tensor *word, *position, *type; /* (V,H), (P,H), (types,H); with rotary positions the word table alone */
    mb_norm_weights norm;
} mb_embedding_weights;

/* Each norm stands behind the sum of what the sub-layer before it adds: in pre-norm layouts, where the names are those of the
 * sub-layer that reads it, output_norm is the next layer's first norm or the encoder's last one. */
typedef struct mb_encoder_layer_weights {
    mb_linear_weights qkv; /* (3H,H): one matrix, in BERT's layout three views of it */
    mb_linear_weights attention_output;
    mb_norm_weights attention_norm;
    mb_linear_weights intermediate, output; /* (F,H), or (2F,H) gated; (H,F) */
    mb_norm_weights output_norm;
} mb_encoder_layer_weights;

typedef struct mb_head_weights {
    mb_linear_weights pooler;    /* (H,H) */
    mb_linear_weights transform; /* (H,H): of masked LM; ModernBERT's classifiers have it too */
    mb_norm_weights transform_norm;
    mb_tensor *decoder_bias;            /* (V) or NULL; the decoder's weight is the word table */
    mb_linear_weights seq_relationship; /* (2,H) */
    mb_linear_weights classifier;       /* (C,H) */
} mb_head_weights;

struct mb_model {
    mb_model_config config;
    mb_head head;
    bool has_pooler;
    int32_t depth; /* encoder layers that are computed, from the first on */
    mb_params params;
    mb_map weights_map;       /* of the model file, for the views that lie in it; {0}: none does */
    mb_tensor *tensors;       /* [i] begins at view i and takes in the fused views after it */
    mb_dtype dtype;           /* of activations */
    mb_packed_weight *packed; /* [i] of tensors[i], where that multiplies; NULL: no copies are kept */
    void *packed_memory;
    size_t n_tensors; /* room: more than there can be views */
    size_t n_new_views;
    bool out_of_memory; /* a declaration failed */
    mb_embedding_weights embeddings;
    mb_encoder_layer_weights *layers; /* n_layers */
    mb_head_weights heads;
    mb_rotary_table global_angles, local_angles; /* {0} without rotary positions */
};

/* --- model.c: declaring --- */
/* `rows` 0 makes a vector of `columns`. The result is filled once the table is allocated; NULL without memory. */
mb_tensor *mb_model_declare(mb_model *model, int64_t rows, int64_t columns, mb_init init, bool fused, const char *prefix,
                            const char *name);
/* prefix + ".weight" (O,I) and prefix + ".bias" (O) */
mb_linear_weights mb_model_declare_linear(mb_model *model, int64_t n_outputs, int64_t n_inputs, bool bias, const char *prefix);
mb_norm_weights mb_model_declare_norm(mb_model *model, const char *prefix);
/* The view behind a tensor that mb_model_declare gave, for its further marks; NULL for NULL. */
mb_param *mb_model_view(mb_model *model, const mb_tensor *tensor);
/* The model without weights: every view declared, none allocated. */
mb_status mb_model_declare_all(const mb_model_config *config, mb_head head, bool has_pooler, mb_model **out, mb_error *error);
/* Allocates the buffers and the rotary angles, and points the tensors into the former. */
mb_status mb_model_allocate(mb_model *model, bool trainable, mb_error *error);
/* Marks a weight as a factor of bf16 products. NULL is passed over. */
void mb_model_mark_factor(mb_model *model, const mb_tensor *weight);
/* Makes the tensors anew from the views: after one was frozen or mapped. */
void mb_model_bind_tensors(mb_model *model);

/* --- packed.c --- */
void mb_model_drop_packed(mb_model *model);

/* --- embeddings.c --- */
void mb_embeddings_declare(mb_model *model);
mb_tensor *mb_embeddings_forward(mb_model *model, mb_tape *tape, const mb_model_input *input);

/* --- encoder.c --- */
void mb_encoder_layer_declare(mb_model *model, int32_t index);

/* --- heads.c --- */
void mb_heads_declare(mb_model *model);

#endif
