#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "tensor/gemm.h"

static mb_real *random_matrix(int64_t count, uint32_t which) {
    mb_real *x = malloc((size_t)count * sizeof *x);
    for (int64_t i = 0; i < count; i++) {
        x[i] = mb_rng_uniform(mb_rng_at(1, MB_STREAM_TEST, which, (uint32_t)i, 0).v[0]) - (mb_real)0.5;
    }
    return x;
}

/* One tile, several row tiles, several column tiles (the vocabulary's shape), ragged edges. */
static const int64_t shapes[][3] = {{3, 5, 7}, {1, 1, 1}, {300, 33, 20}, {1500, 9, 4}, {70, 4999, 3}, {130, 64, 512}};

Test(gemm, equals_the_sum_of_products_in_all_orientations) {
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        int64_t m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
        for (int trans = 0; trans < 4; trans++) {
            bool trans_a = trans & 1, trans_b = trans & 2;
            mb_real *a = random_matrix(m * k, 1), *b = random_matrix(k * n, 2), *c = random_matrix(m * n, 3);
            mb_real *before = malloc((size_t)(m * n) * sizeof *before);
            memcpy(before, c, (size_t)(m * n) * sizeof *before);
            mb_gemm_parallel(trans_a, trans_b, m, n, k, 2, a, trans_a ? m : k, b, trans_b ? k : n, (mb_real)0.5, c, n);
            double worst = 0;
            for (int64_t i = 0; i < m; i++) {
                for (int64_t j = 0; j < n; j++) {
                    double sum = 0;
                    for (int64_t l = 0; l < k; l++) {
                        sum +=
                            (double)(trans_a ? a[l * m + i] : a[i * k + l]) * (double)(trans_b ? b[j * k + l] : b[l * n + j]);
                    }
                    double expected = 2 * sum + 0.5 * (double)before[i * n + j];
                    worst = fmax(worst, fabs(expected - (double)c[i * n + j]));
                }
            }
            /* Roundings walk at random along a sum; a kernel without FMA rounds twice. */
            cr_expect(worst < 1e-5 * fmax(1, sqrt((double)k / 64)), "%ld x %ld x %ld, transposed %d: %.3g", (long)m, (long)n,
                      (long)k, trans, worst);
            free(a);
            free(b);
            free(c);
            free(before);
        }
    }
}

Test(gemm, does_not_depend_on_the_number_of_threads) {
    const int64_t m = 700, n = 5000, k = 64;
    mb_real *a = random_matrix(m * k, 1), *b = random_matrix(n * k, 2);
    mb_real *one = malloc((size_t)(m * n) * sizeof *one), *many = malloc((size_t)(m * n) * sizeof *many);
    omp_set_num_threads(1);
    mb_gemm_parallel(false, true, m, n, k, 1, a, k, b, k, 0, one, n);
    for (int threads = 2; threads <= 5; threads++) {
        omp_set_num_threads(threads);
        mb_gemm_parallel(false, true, m, n, k, 1, a, k, b, k, 0, many, n);
        cr_expect_arr_eq(one, many, (size_t)(m * n) * sizeof *one, "%d threads", threads);
    }
    free(a);
    free(b);
    free(one);
    free(many);
}
