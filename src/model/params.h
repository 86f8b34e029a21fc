/* The parameter table: ONE flat buffer of weights, one of gradients, and a list of named views into both. The optimiser, the
 * norm clip, the checkpoint, safetensors, the golden tests and `minibert info` all walk this table; no second list exists.
 *
 * Views are 64-byte aligned, except that a view marked `fused` follows the one before it without a gap: query, key and value
 * weights form one (3H,H) matrix that way, and one product computes all three. */
#ifndef MB_MODEL_PARAMS_H
#define MB_MODEL_PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "minibert/status.h"
#include "tensor/tensor.h"

typedef enum mb_init {
    MB_INIT_NORMAL,
    MB_INIT_ZERO,
    MB_INIT_ONE,
    MB_INIT_SINUSOID, /* rows are positions: sines and cosines of the same deviation as MB_INIT_NORMAL's */
} mb_init;

typedef struct mb_param {
    char name[96]; /* as in the Hugging Face checkpoint: "bert.encoder.layer.0.attention.self.query.weight" */
    int n_dims;
    int64_t dims[2];
    int64_t offset; /* in elements from the start of the flat buffers */
    int64_t count;  /* elements */
    mb_init init;
    double init_scale;     /* times the deviation of the others; 1 unless the model says otherwise */
    int32_t n_matrices;    /* hidden matrices of the encoder, which Muon may take: how many of one shape stand on each other in
                              this view (a fused (3H,H) query, key and value: 3); 0: no hidden matrix */
    bool rows_are_pieces;  /* the word embeddings: a row for each piece of the vocabulary */
    double rate;           /* times the learning rate of all; 1 unless mb_model_set_rates says otherwise */
    bool decay;            /* weight decay applies: matrices yes, biases and LayerNorm no */
    bool fused;            /* follows its predecessor without a gap */
    bool multiplies;       /* the factor of a linear op: bf16 products take it packed, with the fused views after it */
    bool frozen;           /* gets no gradient; the optimiser must leave it as it is (no decay either) */
    const mb_real *mapped; /* inference: the numbers where they lie in the map of the model file; NULL: in the flat buffer */
} mb_param;

typedef struct mb_params {
    mb_param *views;
    size_t n_views, capacity;
    int64_t count;    /* elements of the flat buffers, alignment gaps (always zero) included */
    mb_real *weights; /* owned */
    mb_real *grads;   /* owned; NULL for inference */
} mb_params;

/* Declares the next view; returns its index, or -1 without memory (or when the sizes overflow). */
int mb_params_add(mb_params *params, const char *name, int n_dims, const int64_t *dims, mb_init init, bool decay, bool fused);
/* Allocates the flat buffers after all views are declared: zeroed with gradients, else untouched, so that what is mapped
 * instead of read takes no memory. */
mb_status mb_params_allocate(mb_params *params, bool with_grads, mb_error *error);
/* Normal(0, range) truncated at two deviations as in google-research/bert; the numbers depend on (seed, view index, element).
 */
void mb_params_initialize(mb_params *params, uint64_t seed, double range);
/* One view alone: what a loaded model lacks. The numbers are those that mb_params_initialize would give it. */
void mb_params_initialize_view(mb_params *params, int index, uint64_t seed, double range);
/* The weights of every view that both have, by name and size. */
void mb_params_copy_weights(mb_params *to, const mb_params *from);
/* -1 when absent. */
int mb_params_find(const mb_params *params, const char *name);
int64_t mb_params_n_weights(const mb_params *params); /* without alignment gaps */
/* The row of the view's matrix that begins at element `at` of the flat buffers. */
static inline int64_t mb_params_row(const mb_param *view, int64_t at) {
    return (at - view->offset) / view->dims[1];
}
/* A view's numbers, wherever they lie. */
static inline const mb_real *mb_params_weights(const mb_params *params, const mb_param *view) {
    return view->mapped ? view->mapped : params->weights + view->offset;
}
/* A tensor over `n_views` consecutive views joined along dimension 0 (1 for a plain view; more only for a view and the fused
 * ones after it). Before mb_params_allocate its data is NULL. */
mb_tensor mb_params_tensor(const mb_params *params, int index, int n_views);
void mb_params_free(mb_params *params);

#endif
