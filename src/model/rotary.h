/* The angles of rotary positions (Su et al. 2021, section 3.2.2), made once and kept with the model. */
#ifndef MB_MODEL_ROTARY_H
#define MB_MODEL_ROTARY_H

#include "autograd/ops.h"
#include "minibert/status.h"

/* Position p and pair j of a head: the angle p theta^(-2j/D), in steps of single precision as transformers computes it: far
 * from the start of a text, where an angle is a large number, that is what a model has learnt. Out owns its arrays. */
mb_status mb_rotary_new(int64_t n_positions, int64_t head_size, double theta, mb_rotary_table *out, mb_error *error);
/* The table begins as {0} or by mb_rotary_new. */
void mb_rotary_free(mb_rotary_table *table);

#endif
