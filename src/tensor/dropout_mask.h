/* Dropout masks are recomputed from counters in backward, never stored. An element is dropped when 16 random bits are below
 * p * 65536; the kept ones are scaled by 1 / (1 - p) with p so rounded, so the mean is exactly kept. */
#ifndef MB_TENSOR_DROPOUT_MASK_H
#define MB_TENSOR_DROPOUT_MASK_H

#include <stdint.h>

#include "base/rng.h"
#include "tensor/tensor.h"

typedef struct mb_dropout_site {
    uint64_t seed;
    uint32_t step, stream; /* the stream carries the site's number in its upper bits */
    uint32_t threshold;    /* p * 65536 */
    mb_real scale;
} mb_dropout_site;

static inline mb_dropout_site mb_dropout_site_make(uint64_t seed, uint64_t step, uint32_t site, double p) {
    uint32_t threshold = (uint32_t)(p * 65536.0 + 0.5);
    threshold = threshold > 65535 ? 65535 : threshold;
    return (mb_dropout_site){seed, (uint32_t)step, (uint32_t)MB_STREAM_DROPOUT | site << 8, threshold,
                             (mb_real)(65536.0 / (65536.0 - threshold))};
}

/* Multiplies `n` elements of one row by the mask at (site, row): 0 or scale. In place is fine. */
void mb_dropout_row(const mb_dropout_site *site, uint32_t row, int64_t n, const mb_real *in, mb_real *out);

#endif
