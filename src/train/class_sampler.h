/* Draws the sample of the vocabulary that a masked-LM loss is computed over (autograd/ops.h, mb_class_sample): an output layer
 * over all of it is half of what a small model's step takes.
 *
 * The most frequent eighth of the pieces is always there, as are the targets; of the others each with a probability of one
 * eighth. By Zipf's law the former hold most of the sum that is estimated, and so the estimate is a good one. */
#ifndef MB_TRAIN_CLASS_SAMPLER_H
#define MB_TRAIN_CLASS_SAMPLER_H

#include <stdint.h>

#include "autograd/ops.h"
#include "minibert/status.h"

typedef struct mb_class_sampler mb_class_sampler;

/* `counts`: how often each of the n_classes occurs. */
mb_status mb_class_sampler_new(const uint64_t *counts, int64_t n_classes, mb_class_sampler **out, mb_error *error);
void mb_class_sampler_free(mb_class_sampler *sampler);
/* The sample number `number`: a function of (seed, number) and the targets. Valid until the next draw. */
const mb_class_sample *mb_class_sampler_draw(mb_class_sampler *sampler, uint64_t seed, uint64_t number, const int32_t *targets,
                                             int64_t n_targets);

#endif
