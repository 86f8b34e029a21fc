#include <criterion/criterion.h>

#include "base/rng.h"
#include "tasks/top_k.h"

/* Against a full sort by counting: the number of items that are better than the one at place r must be r. */
Test(top_k, keeps_the_best_in_order_and_breaks_ties_by_index) {
    enum { N = 500 };
    double scores[N];
    for (uint32_t trial = 0; trial < 50; trial++) {
        for (uint32_t i = 0; i < N; i++) { /* few values: many ties */
            scores[i] = mb_rng_below(mb_rng_at(3, MB_STREAM_TEST, trial, i, 0).v[0], 40);
        }
        const int64_t k = 1 + trial * 11;
        mb_error error;
        mb_top_k top;
        cr_assert_eq(mb_top_k_init(&top, k, &error), MB_OK);
        for (uint32_t i = 0; i < N; i++) { /* offered in an order that is not that of the indices */
            const uint32_t at = (i * 77) % N;
            mb_top_k_offer(&top, scores[at], at);
        }
        mb_top_k_sort(&top);
        cr_assert_eq(top.n, k < N ? k : N);
        for (int64_t r = 0; r < top.n; r++) {
            int64_t n_better = 0;
            for (int64_t i = 0; i < N; i++) {
                n_better += scores[i] > top.items[r].score || (!(scores[i] < top.items[r].score) && i < top.items[r].index);
            }
            cr_expect_eq(n_better, r);
        }
        mb_top_k_free(&top);
    }
}
