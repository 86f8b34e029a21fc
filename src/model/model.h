/* BERT (Devlin et al. 2019) and ModernBERT (Warner et al. 2024): embeddings, encoder, heads, over packed sequences.
 *
 *     mb_model *model;
 *     mb_model_load("dir", MB_HEAD_NONE, false, &model, &error);
 *     mb_tape *tape = mb_tape_new(false);
 *     mb_tape_begin(tape, 0, 0);
 *     mb_tensor *hidden = mb_model_encode(model, tape, &input, NULL);      // (N,H)
 */
#ifndef MB_MODEL_MODEL_H
#define MB_MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "autograd/ops.h"
#include "autograd/tape.h"
#include "minibert/status.h"
#include "model/config.h"
#include "model/params.h"

typedef enum mb_head {
    MB_HEAD_NONE,             /* BertModel: encoder, and the pooler unless loaded from a file that has none */
    MB_HEAD_MASKED_LM,        /* BertForMaskedLM (no pooler) */
    MB_HEAD_PRETRAINING,      /* BertForPreTraining: masked LM and next sentence; not in ModernBERT's layout */
    MB_HEAD_CLASSIFIER,       /* BertForSequenceClassification: pooler, dropout, classifier. ModernBERT: first token or mean,
                                 dense, activation, norm, dropout, classifier */
    MB_HEAD_TOKEN_CLASSIFIER, /* BertForTokenClassification. ModernBERT: dense, activation, norm, dropout, classifier */
} mb_head;

/* One batch as the model sees it: N packed tokens. Positions count from 0 in each sequence and are derived from `sequences`
 * by mb_model_encode; types may be NULL (all 0) and mean nothing to ModernBERT. Arrays live until the tape's next step. */
typedef struct mb_model_input {
    int64_t n_tokens;
    const int32_t *ids;   /* N */
    const int32_t *types; /* N or NULL */
    mb_sequences sequences;
} mb_model_input;

typedef struct mb_model mb_model;

/* New weights from a seed. `config` is copied. */
mb_status mb_model_new(const mb_model_config *config, mb_head head, uint64_t seed, mb_model **out, mb_error *error);
/* From a Hugging Face directory (config.json, model.safetensors). On disk names may lack the "bert." prefix (BertModel) and
 * LayerNorm may have gamma and beta (old checkpoints); tensors that no part of the model needs are ignored.
 *
 * A part of the head (pooler, masked LM, next sentence, classifier) that the file lacks as a whole is initialised from `seed`
 * and its views are counted in mb_model_n_new_views: a classifier on a masked-LM model is the normal case of fine-tuning. Its
 * labels then come from `config_override` (may be NULL), which replaces n_labels, labels and problem_type; a classifier on
 * disk for other labels than those of the override is left aside and a new one made.
 *
 * Missing encoder weights, parts present only by half, wrong shapes, and a vocab_size that is not the number of word
 * embeddings are MB_ERROR_MISMATCH; a damaged file is MB_ERROR_FORMAT; both name the tensor. `trainable` false: no gradient
 * buffer. */
mb_status mb_model_load(const char *dir, mb_head head, const mb_model_config *config_override, uint64_t seed, bool trainable,
                        mb_model **out, mb_error *error);
/* Replaces the weights by those of a safetensors file (a checkpoint), which must hold every view in its shape. On failure some
 * weights may have been replaced. */
mb_status mb_model_load_weights(mb_model *model, const char *path, mb_error *error);
/* Which head the directory holds: what config.json's architectures says, if the tensors bear it out, else what they are. */
mb_status mb_model_detect_head(const char *dir, mb_head *out, mb_error *error);
/* Writes config.json and model.safetensors into the directory (made if missing), each atomically. */
mb_status mb_model_save(const mb_model *model, const char *dir, mb_error *error);
void mb_model_free(mb_model *model);
/* Makes a new model, whose embeddings are as they begin, one that looks at what is near from its first step. For ModernBERT's
 * layout; others stay as they are. Added to the random numbers:
 *   all embeddings   one direction in common, as long as what else they are made of; the tied output layer does not see it
 *   queries, keys    read that direction into the planes that rotate fast (Su et al. 2021), so that a head's score is a
 *                    function of distance alone, largest a few tokens before or behind: another place for each head
 *   values, outputs  the identity, and the identity over sqrt(layers): their product is near one in trained models (Trockman
 *                    and Kolter 2023, "Mimetic initialization")
 *   masked-LM head   a small multiple of the identity
 *
 * So a masked token begins as the mean of its neighbours, which its embedding is to resemble (CBOW, Mikolov et al. 2013). */
void mb_model_begin_near(mb_model *model);
/* The masked-LM output layer's bias, if there is one, begins as the log of how much more often than the mean a piece was seen;
 * `counts` has vocab_size numbers, to each of which one is added. A new model's first loss is then the entropy of the word
 * frequencies, and not log V, which it would spend its first steps to learn. */
void mb_model_begin_output_bias(mb_model *model, const uint64_t *counts);

const mb_model_config *mb_model_get_config(const mb_model *model);
mb_head mb_model_get_head(const mb_model *model);
mb_params *mb_model_params(mb_model *model);
size_t mb_model_n_new_views(const mb_model *model);
/* "BertForMaskedLM" ...; NULL: the layout has no such head. */
const char *mb_head_architecture(mb_layout layout, mb_head head);
const char *mb_head_description(mb_head head); /* "a masked language model" ... */
/* Freeze: embeddings and encoder get no gradients, and their views are marked `frozen` for the optimiser. The pooler and the
 * heads go on learning. */
void mb_model_freeze_encoder(mb_model *model, bool frozen);
/* The rate of the top layer is that of the heads times `decay`, of the one below times decay^2, and so on down to the
 * embeddings: what is low is general, and changes little (Howard and Ruder 2018, "discriminative fine-tuning"). 1: all the
 * same. The word embeddings' rate is `words` times what it would be. */
void mb_model_set_rates(mb_model *model, double decay, double words);
/* A pre-norm model, most likely a new one, of which at first only the lower `depth` layers are computed: what the others add to
 * the residual stream begins as zero, so that the whole model is the same function (Chen et al. 2016, "Net2Net"). */
void mb_model_begin_shallow(mb_model *model, int32_t depth);
/* From now on the lower `depth` layers are computed and trained; the views of the others are `frozen`. Nothing is said of what
 * the others hold: they are to add nothing yet. A model begins with all its layers. */
void mb_model_set_depth(mb_model *model, int32_t depth);
int32_t mb_model_depth(const mb_model *model);
/* Positions for longer sequences than until now; only a model with rotary positions can have more (MB_ERROR_USAGE). */
mb_status mb_model_extend_positions(mb_model *model, int32_t n, mb_error *error);
/* Probabilities in [0,1) for the coming steps; they are saved in config.json. `hidden` goes for the embeddings too. */
void mb_model_set_dropout(mb_model *model, double hidden, double attention, double classifier);
bool mb_model_has_pooler(const mb_model *model);
/* What activations are kept and multiplied in: MB_F32, or MB_BF16 (gemm_bf16.h), where weights stay fp32 and a packed bf16 copy
 * is made of those that multiply. `trainable`: backward's copy too; in fp32 no copy, which would be of a weight that changes.
 */
mb_status mb_model_set_dtype(mb_model *model, mb_dtype dtype, bool trainable, mb_error *error);
/* Whether such copies are kept. */
bool mb_model_is_packed(const mb_model *model);
/* After the weights have changed: makes the packed copies anew, if there are any. */
void mb_model_pack_weights(mb_model *model);

/* Last hidden states (N,H), in the model's dtype (mb_to_real makes them mb_real). A sequence longer than max_positions is a bug
 * of the caller and aborts. all_hidden (may be NULL): n_layers + 1 entries, [0] the embeddings' output, the last one what is
 * returned (in between, a pre-norm model's states are those that its norms read); only valid on a recording tape or when kept
 * by the caller: on an inference tape passing it keeps every layer in memory. */
mb_tensor *mb_model_encode(mb_model *model, mb_tape *tape, const mb_model_input *input, mb_tensor **all_hidden);
/* Of the last hidden states the given rows, which index packed tokens: (n_rows,H), the same numbers but for dropout. In the
 * last layer what stands behind attention is computed for them alone. */
mb_tensor *mb_model_encode_rows(mb_model *model, mb_tape *tape, const mb_model_input *input, const int32_t *rows,
                                int64_t n_rows);
/* tanh(W h_[CLS] + b): (B,H). The model must have a pooler. */
mb_tensor *mb_model_pool(mb_model *model, mb_tape *tape, const mb_model_input *input, mb_tensor *hidden);
/* The masked tokens of a batch. */
typedef struct mb_masked_tokens {
    int64_t n;
    const int32_t *rows;           /* (n): they index packed tokens */
    const int32_t *targets;        /* (n): the ids that were there */
    const mb_class_sample *sample; /* of the vocabulary, that the loss is computed over; NULL: all of it */
} mb_masked_tokens;

/* Masked-LM loss: scale * sum of -log p(target). */
mb_tensor *mb_model_masked_lm_loss(mb_model *model, mb_tape *tape, mb_tensor *hidden, const mb_masked_tokens *masked,
                                   double scale, int64_t *n_correct);
/* The same from the input on; of the last layer only what the loss is made of is computed. */
mb_tensor *mb_model_masked_lm(mb_model *model, mb_tape *tape, const mb_model_input *input, const mb_masked_tokens *masked,
                              double scale, int64_t *n_correct);
/* Logits (n_rows,V) of the same head, for fill-mask. */
mb_tensor *mb_model_masked_lm_logits(mb_model *model, mb_tape *tape, mb_tensor *hidden, const int32_t *rows, int64_t n_rows);
/* Next-sentence logits (B,2); 0 = is next, as in BERT. */
mb_tensor *mb_model_next_sentence_logits(mb_model *model, mb_tape *tape, const mb_model_input *input, mb_tensor *hidden);
/* Classifier logits: (B,C) for MB_HEAD_CLASSIFIER, (N,C) for MB_HEAD_TOKEN_CLASSIFIER. */
mb_tensor *mb_model_classifier_logits(mb_model *model, mb_tape *tape, const mb_model_input *input, mb_tensor *hidden);
/* The same from the input on; of the last layer only what these logits are made of is computed. */
mb_tensor *mb_model_classify(mb_model *model, mb_tape *tape, const mb_model_input *input);

#endif
