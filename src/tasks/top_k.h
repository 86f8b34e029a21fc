/* The k best of many scores. */
#ifndef MB_TASKS_TOP_K_H
#define MB_TASKS_TOP_K_H

#include <stdint.h>

#include "minibert/status.h"

typedef struct mb_scored {
    double score;
    int64_t index;
} mb_scored;

/* A binary heap whose root is the worst item kept. Of equal scores the lower index is better, so the result depends on the
 * scores alone, not on the order of offers. */
typedef struct mb_top_k {
    mb_scored *items;
    int64_t n, k;
} mb_top_k;

mb_status mb_top_k_init(mb_top_k *top, int64_t k, mb_error *error); /* k >= 1 */
void mb_top_k_offer(mb_top_k *top, double score, int64_t index);
void mb_top_k_sort(mb_top_k *top); /* best first; ends the offers */
void mb_top_k_free(mb_top_k *top);

#endif
