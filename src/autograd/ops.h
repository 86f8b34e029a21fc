/* The operations that BERT and ModernBERT need: forward here, backward on the tape. One file an op in ops/, one line an op in
 * ops.def, and a gradient check for each (tests/unit/autograd/). Shapes use the letters of tensor/tensor.h.
 *
 * Activations are in the tape's dtype (mb_tape_set_dtype), parameters and their gradients in mb_real. A loss, the logits that
 * mb_cross_entropy takes and the sum of mb_add_layer_norm_sum are mb_real.
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

/* (V,H) word, (P,H) position, (2,H) type tables; ids, positions, types: N entries -> (N,H), the sum of the three rows. The
 * position and the type table may be NULL, each with its array. */
mb_tensor *mb_embedding(mb_tape *tape, mb_tensor *word, mb_tensor *position, mb_tensor *type, const int32_t *ids,
                        const int32_t *positions, const int32_t *types, int64_t n_tokens);

/* x (N,I), weight (O,I), bias (O) or NULL -> x weight^T + bias (N,O). */
mb_tensor *mb_linear(mb_tape *tape, mb_tensor *x, mb_tensor *weight, mb_tensor *bias);

/* activation(x weight^T + bias): the same op, the activation applied to each tile of the product while it is in cache. */
mb_tensor *mb_linear_activation(mb_tape *tape, mb_tensor *x, mb_tensor *weight, mb_tensor *bias, mb_activation activation);

/* activation(left) * right (N,F), then dropout, where z (N,2F) holds left and right side by side: GEGLU and its like (Shazeer
 * 2020). Backward computes the activation again, so that nothing but z is kept. */
mb_tensor *mb_gated_activation(mb_tape *tape, mb_tensor *z, mb_activation activation, double dropout);

/* LN(residual + dropout(x, p)) * gamma + beta over the last dimension. residual may be NULL (then p must be 0), and so may
 * beta. (N,H) */
mb_tensor *mb_add_layer_norm(mb_tape *tape, mb_tensor *x, mb_tensor *residual, mb_tensor *gamma, mb_tensor *beta,
                             double epsilon, double dropout);

/* The same, and *sum becomes residual + dropout(x, p), for a residual stream that is not normalised (pre-LN: Xiong et al.
 * 2020): one pass for both. */
mb_tensor *mb_add_layer_norm_sum(mb_tape *tape, mb_tensor *x, mb_tensor *residual, mb_tensor *gamma, mb_tensor *beta,
                                 double epsilon, double dropout, mb_tensor **sum);

/* Inverted dropout; p == 0 or an inference tape returns x itself. */
mb_tensor *mb_dropout(mb_tape *tape, mb_tensor *x, double p);

/* Cosines and sines of the angles p / theta^(2j/D) of position p and pair j. Owned by the caller. */
typedef struct mb_rotary_table {
    int64_t n_positions, half;      /* half: D / 2 */
    const mb_real *cosines, *sines; /* (n_positions,half) each */
} mb_rotary_table;

typedef struct mb_attention_options {
    int n_heads;
    double dropout; /* of the probabilities */
    bool is_local;  /* a query sees the keys at most `reach` tokens away, on either side; false: the whole sequence */
    int64_t reach;
    /* Rotary position embedding (Su et al. 2021): queries and keys are turned by the angles of their place in the sequence, the
     * pair (j, j + D/2) of a head by angle j. NULL: none. Lives as long as the tape's step; D is even. */
    const mb_rotary_table *rotary;
} mb_attention_options;

/* Multi-head scaled dot-product self-attention inside each packed sequence (Vaswani et al. 2017, 3.2). qkv (N,3H): query, key
 * and value side by side, heads of size D inside each -> context (N,H). Probabilities are recomputed in backward. Local
 * attention takes time in proportion to the length. */
mb_tensor *mb_attention(mb_tape *tape, mb_tensor *qkv, const mb_sequences *sequences, const mb_attention_options *options);

/* Mean of the rows of each sequence: (N,H) -> (B,H). */
mb_tensor *mb_mean_rows(mb_tape *tape, mb_tensor *x, const mb_sequences *sequences);

/* Rows of x (N,H) -> (n_rows,H), in x's dtype. A row may be taken more than once. */
mb_tensor *mb_gather_rows(mb_tape *tape, mb_tensor *x, const int32_t *rows, int64_t n_rows);

/* scale * sum over rows of -log softmax(logits)[target] (one element). logits (M,C). With scale = 1 / (targets of the whole
 * big batch), accumulated micro-batches give exactly the big batch's gradient. */
mb_tensor *mb_cross_entropy(mb_tape *tape, mb_tensor *logits, const int32_t *targets, double scale);

/* Some of the V classes of an output layer: sampled softmax (Jean et al. 2015, "On using very large target vocabulary for
 * neural machine translation"). The sum of exp(logit) over all classes is estimated by the sum of exp(logit) / probability over
 * those that are there (Horvitz and Thompson 1952), which is what a logit larger by -log probability comes to. */
typedef struct mb_class_sample {
    int64_t n;
    const int32_t *classes;     /* (n), ascending; all targets are among them */
    const mb_real *log_weights; /* (n): -log of the probability that the class is there, 0 of one that always is */
    const int32_t *places;      /* (V): where in `classes` a class is; of one that is not there anything */
} mb_class_sample;

/* The masked-LM output: logits = x weight^T + bias (NULL: none) with weight the (V,H) word table, then cross entropy as above,
 * in chunks of rows, so that the (M,V) logits never exist at once. `sample` NULL: over all classes; else over the sample, whose
 * classes alone get gradients. *n_correct (may be NULL) counts rows whose largest logit is the target. The result's gradient
 * must be 1 (it is the loss or a summand of it). */
mb_tensor *mb_linear_cross_entropy(mb_tape *tape, mb_tensor *x, mb_tensor *weight, mb_tensor *bias,
                                   const mb_class_sample *sample, const int32_t *targets, double scale, int64_t *n_correct);

/* x (N,H) in mb_real: what leaves a tape of bf16 activations. x itself where it is that. */
mb_tensor *mb_to_real(mb_tape *tape, mb_tensor *x);

/* a + b, same shapes. */
mb_tensor *mb_add(mb_tape *tape, mb_tensor *a, mb_tensor *b);

#endif
