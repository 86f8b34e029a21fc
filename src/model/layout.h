/* How a layout names things on disk: the architectures of config.json, the tensors and the parts that a file has whole or not
 * at all. */
#ifndef MB_MODEL_LAYOUT_H
#define MB_MODEL_LAYOUT_H

#include <stddef.h>

#include "model/model.h"

typedef enum mb_part {
    MB_PART_ENCODER,
    MB_PART_POOLER,
    MB_PART_TRANSFORM, /* dense, activation and norm before the output layer, where masked LM and classifiers share it */
    MB_PART_MASKED_LM,
    MB_PART_NEXT_SENTENCE,
    MB_PART_CLASSIFIER,
    MB_N_PARTS
} mb_part;

typedef struct mb_layout_names {
    const char *prefix; /* of the encoder's tensors; left out where the encoder is saved alone */
    const char *word_embeddings;
    const char *decoder;      /* the tied decoder that older files repeat */
    const char *embeddings;   /* what all of its embeddings' names begin with */
    const char *layers;       /* what a layer's number stands behind */
    const char *layer_format; /* a matrix that each layer has; %d: its number */
    const char *encoder[3];   /* prefixes of the encoder's views, NULL-terminated */
} mb_layout_names;

extern const mb_layout_names mb_layouts[MB_N_LAYOUTS];

mb_part mb_layout_part(mb_layout layout, const char *view_name);
/* A tensor that the part has. NULL: the layout has no such part. */
const char *mb_layout_part_tensor(mb_layout layout, mb_part part);

#endif
