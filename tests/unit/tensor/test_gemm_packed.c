#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "tensor/gemm_packed.h"

static mb_real *random_reals(int64_t n, uint32_t which) {
    mb_real *x = malloc((size_t)(n + 1) * sizeof *x);
    for (int64_t i = 0; i < n; i++) {
        x[i] = (mb_real)mb_rng_uniform(mb_rng_at(1, MB_STREAM_TEST, which, (uint32_t)i, 0).v[0]) - 0.5f;
    }
    return x;
}

/* One element; less than a strip and a panel; remainders of all; more than a block of depth; many panels of columns; a column
 * more than half a panel of 16 or, at 33, of 64. */
static const int64_t shapes[][3] = {{1, 1, 1},       {5, 7, 3},     {37, 70, 33},  {24, 64, 64},
                                    {130, 33, 1100}, {11, 600, 20}, {300, 96, 96}, {15, 41, 40}};
enum { TRANS_A = 1, TRANS_B = 2, ADDS = 4, PARALLEL = 8, HAS_BIAS = 16, STRIPS = 32, N_VARIANTS = 64 };

typedef struct covered {
    int32_t *count; /* how often `finish` was given each element */
    int64_t width;
    mb_real *c;
    int64_t stride;
} covered;

static void take_strip(void *context, mb_real *sums, int64_t row, int64_t n_rows, int64_t column, int64_t n_columns) {
    const covered *to = context;
    for (int64_t i = 0; i < n_rows; i++) {
        for (int64_t j = 0; j < n_columns; j++) {
            to->count[(row + i) * to->width + column + j]++;
            to->c[(row + i) * to->stride + column + j] = sums[i * MB_PANEL + j];
        }
    }
}

static double element(const mb_real *a, const mb_real *b, int64_t i, int64_t j, const int64_t shape[3], int variant) {
    double sum = 0;
    for (int64_t p = 0; p < shape[2]; p++) {
        sum += (double)(variant & TRANS_A ? a[p * shape[0] + i] : a[i * shape[2] + p]) *
               (double)(variant & TRANS_B ? b[j * shape[2] + p] : b[p * shape[1] + j]);
    }
    return sum;
}

static void check_product(const int64_t shape[3], int variant) {
    const int64_t m = shape[0], n = shape[1], k = shape[2], ldc = n + 3; /* what lies between the rows must stay */
    mb_real *a = random_reals(m * k, 1), *b = random_reals(k * n, 2), *before = random_reals(m * ldc, 3),
            *bias = random_reals(n, 4);
    mb_real *c = malloc((size_t)(m * ldc) * sizeof *c), *packed = malloc((size_t)mb_packed_count(k, n) * sizeof *packed);
    covered tiles = {calloc((size_t)(m * n), sizeof *tiles.count), n, c, ldc};
    memcpy(c, before, (size_t)(m * ldc) * sizeof *c);
    memset(packed, 0xff, (size_t)mb_packed_count(k, n) * sizeof *packed); /* NaN: padding must be written */
    const int64_t depth = k + 5, half = k / 2;
    mb_real *strips = malloc((size_t)mb_strips_count(m, depth) * sizeof *strips);
    memset(strips, 0xff, (size_t)mb_strips_count(m, depth) * sizeof *strips);
    mb_pack_strips(half, m, a, m, depth, strips);
    mb_pack_strips(k - half, m, a + half * m, m, depth, strips + half * MB_STRIP);
    const mb_left_factor left = variant & STRIPS    ? mb_left_strips(strips, depth)
                                : variant & TRANS_A ? mb_left_transposed(a, m)
                                                    : mb_left_rows(a, k);
    mb_product_target target = mb_to_rows(c, ldc, variant & ADDS);
    target.bias = variant & HAS_BIAS ? bias : NULL;
    mb_pack_parallel(variant & TRANS_B, k, n, b, variant & TRANS_B ? k : n, packed);
    if (variant & PARALLEL) {
        target.finish = take_strip;
        target.context = &tiles;
        mb_packed_gemm_parallel(m, n, k, left, packed, target);
    } else {
        mb_packed_gemm(m, n, k, left, packed, target);
    }
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < ldc; j++) {
            const double old = (double)before[i * ldc + j];
            const double more = variant & ADDS ? old : variant & HAS_BIAS ? (double)bias[j < n ? j : 0] : 0;
            const double wanted = j < n ? element(a, b, i, j, shape, variant) + more : old;
            cr_assert(fabs((double)c[i * ldc + j] - wanted) < 1e-6 * (1 + sqrt((double)k)),
                      "%ldx%ldx%ld, variant %d, (%ld,%ld): %f, not %f", (long)m, (long)n, (long)k, variant, (long)i, (long)j,
                      (double)c[i * ldc + j], wanted);
            cr_assert(j >= n || !(variant & PARALLEL) || tiles.count[i * n + j] == 1);
        }
    }
    free(a);
    free(b);
    free(before);
    free(bias);
    free(c);
    free(packed);
    free(strips);
    free(tiles.count);
}

Test(gemm_packed, equals_the_sum_of_products_in_all_forms) {
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        for (int variant = 0; variant < N_VARIANTS; variant++) {
            if ((variant & (ADDS | HAS_BIAS)) != (ADDS | HAS_BIAS) && (variant & (STRIPS | TRANS_A)) != STRIPS) {
                check_product(shapes[s], variant);
            }
        }
    }
}

/* C in panels is the next product's first factor, or, where it was made as a transpose, its packed one. */
Test(gemm_packed, panels_are_a_factor_again) {
    enum { M = 50, N = 75, K = 20, L = 40 };
    mb_real *a = random_reals(M * K, 1), *b = random_reals(K * N, 2), *d = random_reals(N * L, 3), *e = random_reals(L * M, 4);
    mb_real *packed = malloc(sizeof *packed * (size_t)(mb_packed_count(K, N) + mb_packed_count(N, L)));
    mb_real *panels = malloc(sizeof *panels * (size_t)mb_packed_count(M, N)), c[M * N], left[M * L], right[L * N];
    mb_pack_parallel(false, K, N, b, N, packed);
    mb_packed_gemm(M, N, K, mb_left_rows(a, K), packed, mb_to_rows(c, N, false));
    mb_packed_gemm_parallel(M, N, K, mb_left_rows(a, K), packed, mb_to_panels(panels, M));
    mb_packed_gemm(L, N, M, mb_left_rows(e, M), panels, mb_to_rows(right, N, false)); /* e C */
    mb_pack_parallel(false, N, L, d, L, packed);
    mb_packed_gemm(M, L, N, mb_left_panels(panels, M), packed, mb_to_rows(left, L, false)); /* C d */
    for (int64_t i = 0; i < M * L; i++) {
        double sum = 0;
        for (int64_t p = 0; p < N; p++) {
            sum += (double)c[i / L * N + p] * (double)d[p * L + i % L];
        }
        cr_assert(fabs(sum - (double)left[i]) < 1e-5, "C d, %ld: %f, not %f", (long)i, (double)left[i], sum);
    }
    for (int64_t i = 0; i < L * N; i++) {
        double sum = 0;
        for (int64_t p = 0; p < M; p++) {
            sum += (double)e[i / N * M + p] * (double)c[p * N + i % N];
        }
        cr_assert(fabs(sum - (double)right[i]) < 1e-5, "e C, %ld: %f, not %f", (long)i, (double)right[i], sum);
    }
    enum { HALF = M / 2 };
    mb_packed_gemm_part(L, N, HALF, mb_left_rows(e, M), panels, M, mb_to_rows(right, N, false));
    mb_packed_gemm_part(L, N, M - HALF, mb_left_rows(e + HALF, M), panels + HALF * MB_PANEL, M, mb_to_rows(right, N, true));
    for (int64_t i = 0; i < L * N; i++) {
        double sum = 0;
        for (int64_t p = 0; p < M; p++) {
            sum += (double)e[i / N * M + p] * (double)c[p * N + i % N];
        }
        cr_assert(fabs(sum - (double)right[i]) < 1e-5, "e C in two parts, %ld: %f, not %f", (long)i, (double)right[i], sum);
    }
    free(a);
    free(b);
    free(d);
    free(e);
    free(packed);
    free(panels);
}

Test(gemm_packed, does_not_depend_on_the_number_of_threads) {
    enum { M = 700, N = 300, K = 600 };
    mb_real *a = random_reals(M * K, 1), *b = random_reals(K * N, 2), *c[3];
    mb_real *packed = malloc(sizeof *packed * (size_t)mb_packed_count(K, N));
    for (int i = 0; i < 3; i++) {
        omp_set_num_threads(i + 1);
        c[i] = malloc(M * N * sizeof *c[i]);
        mb_pack_parallel(false, K, N, b, N, packed);
        mb_packed_gemm_parallel(M, N, K, mb_left_rows(a, K), packed, mb_to_rows(c[i], N, false));
        cr_expect_eq(memcmp(c[0], c[i], M * N * sizeof *c[i]), 0, "%d threads", i + 1);
    }
    for (int i = 0; i < 3; i++) {
        free(c[i]);
    }
    free(a);
    free(b);
    free(packed);
}
