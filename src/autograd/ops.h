/* The operations a BERT needs: forward here, backward on the tape. One file an op in ops/, one line an op in ops.def, and a
 * gradient check for each (tests/unit/autograd/). Shapes use the letters of tensor/tensor.h.
 *
 * All return the output tensor (in the tape's arena), or NULL once the tape has failed. Integer arrays (ids, rows, targets)
 * are not copied: they must live until the tape's next step. */
#ifndef MB_AUTOGRAD_OPS_H
#define MB_AUTOGRAD_OPS_H

#include "autograd/tape.h"

typedef enum mb_activation {
    MB_ACTIVATION_GELU,      /* x Phi(x), erf form: "gelu" (Hendrycks & Gimpel 2016) */
    MB_ACTIVATION_GELU_TANH, /* tanh approximation: "gelu_new", "gelu_pytorch_tanh" */
    MB_ACTIVATION_RELU,
    MB_ACTIVATION_TANH,
    MB_ACTIVATION_IDENTITY,
} mb_activation;

/* (V,H) word, (P,H) position, (2,H) type tables; ids, positions, types: N entries -> (N,H), the sum of the three rows. */
mb_tensor *mb_embedding(mb_tape *tape, mb_tensor *word, mb_tensor *position, mb_tensor *type, const int32_t *ids,
                        const int32_t *positions, const int32_t *types, int64_t n_tokens);

/* x (N,I), weight (O,I), bias (O) or NULL -> x weight^T + bias (N,O). */
mb_tensor *mb_linear(mb_tape *tape, mb_tensor *x, mb_tensor *weight, mb_tensor *bias);

/* activation(x weight^T + bias): the same op, the activation applied to each tile of the product while it is in cache. */
mb_tensor *mb_linear_activation(mb_tape *tape, mb_tensor *x, mb_tensor *weight, mb_tensor *bias, mb_activation activation);

/* LN(residual + dropout(x, p)) * gamma + beta over the last dimension. residual may be NULL (then p must be 0). (N,H) */
mb_tensor *mb_add_layer_norm(mb_tape *tape, mb_tensor *x, mb_tensor *residual, mb_tensor *gamma, mb_tensor *beta,
                             double epsilon, double dropout);

/* Inverted dropout; p == 0 or an inference tape returns x itself. */
mb_tensor *mb_dropout(mb_tape *tape, mb_tensor *x, double p);

/* Multi-head scaled dot-product self-attention inside each packed sequence (Vaswani et al. 2017, 3.2). qkv (N,3H): query, key
 * and value side by side, heads of size D inside each -> context (N,H). Probabilities are recomputed in backward. */
mb_tensor *mb_attention(mb_tape *tape, mb_tensor *qkv, const mb_sequences *sequences, int n_heads, double dropout);

/* Rows of x (N,H) -> (n_rows,H). A row may be taken more than once. */
mb_tensor *mb_gather_rows(mb_tape *tape, mb_tensor *x, const int32_t *rows, int64_t n_rows);

/* scale * sum over rows of -log softmax(logits)[target] (one element). logits (M,C). With scale = 1 / (targets of the whole
 * big batch), accumulated micro-batches give exactly the big batch's gradient. */
mb_tensor *mb_cross_entropy(mb_tape *tape, mb_tensor *logits, const int32_t *targets, double scale);

/* The masked-LM output: logits = x weight^T + bias with weight the (V,H) word table, then cross entropy as above, in chunks of
 * rows, so that the (M,V) logits never exist at once. *n_correct (may be NULL) counts rows whose largest logit is the target.
 * The result's gradient must be 1 (it is the loss or a summand of it). */
mb_tensor *mb_linear_cross_entropy(mb_tape *tape, mb_tensor *x, mb_tensor *weight, mb_tensor *bias, const int32_t *targets,
                                   double scale, int64_t *n_correct);

/* a + b, same shapes. */
mb_tensor *mb_add(mb_tape *tape, mb_tensor *a, mb_tensor *b);

#endif
