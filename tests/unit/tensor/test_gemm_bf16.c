#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "tensor/gemm_bf16.h"
#include "tensor/gemm_bf16_kernel.h"

static mb_bf16 bf16_of(float x) {
    return mb_bf16_from_float(x);
}

static float float_of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

Test(bf16, rounds_to_nearest_and_ties_to_even) {
    cr_expect_eq(bf16_of(1.0f), 0x3f80);
    cr_expect_eq(bf16_of(float_of_bits(0x3f808000)), 0x3f80, "half way, to the even one below");
    cr_expect_eq(bf16_of(float_of_bits(0x3f818000)), 0x3f82, "half way, to the even one above");
    cr_expect_eq(bf16_of(float_of_bits(0x3f808001)), 0x3f81);
    cr_expect_eq(bf16_of(float_of_bits(0x3f807fff)), 0x3f80);
    cr_expect_eq(bf16_of(INFINITY), 0x7f80);
    cr_expect_eq(bf16_of(float_of_bits(0x7f7fffff)), 0x7f80, "the largest float is nearer to infinity");
    cr_expect(isnan(mb_bf16_to_float(bf16_of(float_of_bits(0x7f800001)))), "a NaN of low bits alone stays a NaN");
    for (uint32_t i = 0; i < 0x10000; i++) {
        const float x = mb_bf16_to_float((mb_bf16)i);
        cr_assert(isnan(x) || bf16_of(x) == i, "%04x came back as %04x", i, bf16_of(x));
    }
}

static mb_bf16 *random_bf16(int64_t count, uint32_t which) {
    mb_bf16 *x = malloc((size_t)count * sizeof *x);
    for (int64_t i = 0; i < count; i++) {
        x[i] = bf16_of((float)mb_rng_uniform(mb_rng_at(1, MB_STREAM_TEST, which, (uint32_t)i, 0).v[0]) - 0.5f);
    }
    return x;
}

static mb_real *real_of(const mb_bf16 *from, int64_t count) {
    mb_real *x = malloc((size_t)count * sizeof *x);
    mb_bf16_read(from, count, x);
    return x;
}

/* op(A) op(B) in double. */
static double *reference(const mb_bf16 *a, bool trans_a, const mb_bf16 *b, bool trans_b, int64_t m, int64_t n, int64_t k) {
    double *c = calloc((size_t)(m * n), sizeof *c);
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            for (int64_t l = 0; l < k; l++) {
                c[i * n + j] += (double)mb_bf16_to_float(trans_a ? a[l * m + i] : a[i * k + l]) *
                                (double)mb_bf16_to_float(trans_b ? b[j * k + l] : b[l * n + j]);
            }
        }
    }
    return c;
}

static mb_bf16 *aligned(int64_t count) {
    return aligned_alloc(64, ((size_t)count * sizeof(mb_bf16) + 63) / 64 * 64);
}

/* One element, no multiple of anything, more than a block, a depth that A's scratch holds only in parts, a wide B, and one so
 * deep that sums are handed on between the steps of the next block. */
static const int64_t shapes[][3] = {{1, 1, 1},     {33, 65, 70},  {64, 96, 128},  {300, 31, 45},
                                    {7, 40, 2100}, {7, 40, 4200}, {70, 4999, 32}, {70, 100, 288}};

static void check_product(const int64_t shape[3], int variant) {
    const int64_t m = shape[0], n = shape[1], k = shape[2];
    const bool trans_a = variant & 1, trans_b = variant & 2, real = variant & 4, parallel = variant & 8, to_bf16 = variant & 16;
    mb_bf16 *a = random_bf16(m * k, 1), *b = random_bf16(k * n, 2);
    mb_real *real_a = real_of(a, m * k), *real_b = real_of(b, k * n), *bias = real_of(b, k * n < n ? k * n : n);
    double *expected = reference(a, trans_a, b, trans_b, m, n, k);
    const mb_bf16_factor left = {
        .data = real ? (void *)real_a : a, .stride = trans_a ? m : k, .transposed = trans_a, .is_real = real};
    const mb_bf16_factor right = {
        .data = real ? (void *)real_b : b, .stride = trans_b ? k : n, .transposed = trans_b, .is_real = real};
    mb_bf16 *packed = aligned(mb_bf16_packed_count(k, n)), *c16 = random_bf16(m * n, 3);
    mb_real *c = real_of(c16, m * n), *before = real_of(c16, m * n);
    memset(packed, 0xff, (size_t)mb_bf16_packed_count(k, n) * sizeof *packed); /* NaN: padding must be written */
    mb_bf16_pack(&right, k, n, mb_bf16_padded(k), packed);
    mb_bf16_store store = {.c = to_bf16 ? (void *)c16 : c, .stride = n, .alpha = 2, .beta = 0.5f, .bias = k >= 1 ? bias : NULL};
    const mb_bf16_packed whole = {packed, mb_bf16_padded(k)};
    (parallel ? mb_bf16_gemm_parallel : mb_bf16_gemm)(m, n, k, &left, whole,
                                                      to_bf16 ? mb_bf16_to_bf16(&store) : mb_bf16_to_real(&store));
    double worst = 0;
    for (int64_t i = 0; i < m * n; i++) {
        const double wanted = 2 * expected[i] + (double)bias[i % n] + 0.5 * (double)before[i];
        const double got = to_bf16 ? (double)mb_bf16_to_float(c16[i]) : (double)c[i];
        worst = fmax(worst, fabs(got - wanted) / (to_bf16 ? 1 + fabs(wanted) : sqrt((double)k)));
    }
    cr_expect(worst < (to_bf16 ? 1.0 / 256 : 2e-6), "%ld %ld %ld, variant %d: off by %g", (long)m, (long)n, (long)k, variant,
              worst);
    free(a);
    free(b);
    free(real_a);
    free(real_b);
    free(bias);
    free(expected);
    free(packed);
    free(c16);
    free(c);
    free(before);
}

Test(gemm_bf16, equals_the_sum_of_products_in_all_forms) {
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        for (int variant = 0; variant < 32; variant++) {
            if (shapes[s][2] >= 1 && shapes[s][2] * shapes[s][1] >= shapes[s][1]) {
                check_product(shapes[s], variant);
            }
        }
    }
}

/* C^T by its own sinks has the bits of C, in fp32 and in bf16; and so has C from an A whose rows are padded, whatever finite
 * numbers stand there. */
Test(gemm_bf16, to_a_transposed_matrix_and_from_a_padded_one) {
    enum { M = 40, N = 70, K = 45, ROOM = 64 };
    mb_bf16 *a = random_bf16(M * K, 1), *b = random_bf16(K * N, 2), *padded = random_bf16(ROOM * ROOM, 3);
    mb_bf16 *packed = aligned(mb_bf16_packed_count(K, N));
    for (int64_t i = 0; i < M; i++) {
        memcpy(padded + i * ROOM, a + i * K, K * sizeof *a);
    }
    const mb_bf16_factor right = {.data = b, .stride = N}, left = {.data = a, .stride = K};
    const mb_bf16_factor left_padded = {.data = padded, .stride = ROOM, .is_padded = true};
    mb_real c[M * N], transposed[N * M], from_padded[M * N];
    mb_bf16 *half = random_bf16(M * N, 4), *half_transposed = aligned(M * N);
    for (int64_t i = 0; i < M * N; i++) {
        c[i] = from_padded[i] = transposed[i % N * M + i / N] = (mb_real)i;
        half_transposed[i % N * M + i / N] = half[i];
    }
    mb_bf16_pack(&right, K, N, mb_bf16_padded(K), packed);
    const mb_bf16_packed whole = {packed, mb_bf16_padded(K)};
    mb_bf16_store store = {.c = c, .stride = N, .alpha = 2, .beta = 0.5f}, to_transposed = store, again = store;
    to_transposed.c = transposed;
    to_transposed.stride = M;
    again.c = from_padded;
    mb_bf16_gemm(M, N, K, &left, whole, mb_bf16_to_real(&store));
    mb_bf16_gemm(M, N, K, &left, whole, mb_bf16_to_real_transposed(&to_transposed));
    mb_bf16_gemm(M, N, K, &left_padded, whole, mb_bf16_to_real(&again));
    store.c = half;
    to_transposed.c = half_transposed;
    mb_bf16_gemm(M, N, K, &left, whole, mb_bf16_to_bf16(&store));
    mb_bf16_gemm(M, N, K, &left, whole, mb_bf16_to_bf16_transposed(&to_transposed));
    for (int64_t i = 0; i < M * N; i++) {
        cr_assert_eq(transposed[i % N * M + i / N], c[i], "element %ld of C^T", (long)i);
        cr_assert_eq(half_transposed[i % N * M + i / N], half[i], "element %ld of C^T in bf16", (long)i);
        cr_assert_eq(from_padded[i], c[i], "element %ld of C from a padded A", (long)i);
    }
    free(a);
    free(b);
    free(padded);
    free(packed);
    free(half);
    free(half_transposed);
}

/* A part of a packed factor is the factor of those rows, and rows packed part by part are the whole. */
Test(gemm_bf16, parts_of_a_packed_factor) {
    enum { M = 40, N = 70, K = 160, FIRST = 64, REST = K - FIRST };
    mb_bf16 *a = random_bf16(M * K, 1), *b = random_bf16(K * N, 2);
    mb_bf16 *whole = aligned(mb_bf16_packed_count(K, N)), *parts = aligned(mb_bf16_packed_count(K, N));
    const mb_bf16_factor all = {.data = b, .stride = N}, rest = {.data = b + FIRST * N, .stride = N};
    mb_bf16_pack(&all, K, N, K, whole);
    mb_bf16_pack(&all, FIRST, N, K, parts);
    mb_bf16_pack(&rest, REST, N, K, parts + FIRST * MB_BF16_BLOCK);
    cr_expect_eq(memcmp(whole, parts, (size_t)mb_bf16_packed_count(K, N) * sizeof *whole), 0);

    const mb_bf16_factor left = {.data = a + FIRST, .stride = K};
    mb_real c[M * N];
    mb_bf16_store store = {.c = c, .stride = N, .alpha = 1};
    mb_bf16_gemm(M, N, REST, &left, (mb_bf16_packed){whole + FIRST * MB_BF16_BLOCK, K}, mb_bf16_to_real(&store));
    for (int64_t i = 0; i < M * N; i++) {
        double sum = 0;
        for (int64_t l = FIRST; l < K; l++) {
            sum += (double)mb_bf16_to_float(a[i / N * K + l]) * (double)mb_bf16_to_float(b[l * N + i % N]);
        }
        cr_assert(fabs(sum - (double)c[i]) < 1e-5, "element %ld: %f, not %f", (long)i, (double)c[i], sum);
    }
    free(a);
    free(b);
    free(whole);
    free(parts);
}

Test(gemm_bf16, unfolding_transposes_and_pads_with_zeros) {
    enum { M = 45, K = 70, PADDED_M = 64, PADDED_K = 96, BLOCK = MB_BF16_BLOCK };
    mb_bf16 *a = random_bf16(K * M, 1), rows[PADDED_M * PADDED_K];
    mb_bf16 tiles[PADDED_M * PADDED_K];
    memset(rows, 0xff, sizeof rows);
    memset(tiles, 0xff, sizeof tiles);
    const mb_bf16_factor left = {.data = a, .stride = M, .transposed = true};
    mb_bf16_unfold(&left, M, K, PADDED_K, rows);
    mb_bf16_tile(&left, M, K, PADDED_K, tiles);
    for (int64_t i = 0; i < PADDED_M; i++) {
        for (int64_t l = 0; l < PADDED_K; l++) {
            const mb_bf16 expected = i < M && l < K ? a[l * M + i] : 0;
            cr_assert_eq(rows[i * PADDED_K + l], expected, "row %ld, column %ld", (long)i, (long)l);
            const int64_t tile = i / BLOCK * BLOCK * PADDED_K + l / BLOCK * BLOCK * BLOCK;
            cr_assert_eq(tiles[tile + i % BLOCK * BLOCK + l % BLOCK], expected, "row %ld, column %ld", (long)i, (long)l);
        }
    }
    free(a);
}

/* Tiles made part by part are the factor, and its product is the same to the last bit. */
Test(gemm_bf16, a_factor_in_tiles) {
    enum { M = 70, N = 45, K = 150, FIRST = 96, DEPTH = 160, PADDED_M = 96, BLOCK = MB_BF16_BLOCK };
    mb_bf16 *a = random_bf16(K * M, 1), *b = random_bf16(K * N, 2);
    mb_bf16 *tiles = aligned(PADDED_M * DEPTH), *packed = aligned(mb_bf16_packed_count(K, N));
    const mb_bf16_factor rows = {.data = a, .stride = M, .transposed = true}, right = {.data = b, .stride = N};
    const mb_bf16_factor rest = {.data = a + FIRST * M, .stride = M, .transposed = true};
    const mb_bf16_factor tiled = {.data = tiles, .stride = DEPTH, .tiled = true};
    mb_real c[2][M * N];
    mb_bf16_tile(&rows, M, FIRST, DEPTH, tiles);
    mb_bf16_tile(&rest, M, K - FIRST, DEPTH, tiles + FIRST * BLOCK);
    mb_bf16_pack(&right, K, N, DEPTH, packed);
    for (int i = 0; i < 2; i++) {
        mb_bf16_store store = {.c = c[i], .stride = N, .alpha = 1};
        mb_bf16_gemm(M, N, K, i == 0 ? &rows : &tiled, (mb_bf16_packed){packed, DEPTH}, mb_bf16_to_real(&store));
    }
    cr_expect_eq(memcmp(c[0], c[1], sizeof c[0]), 0);
    free(a);
    free(b);
    free(tiles);
    free(packed);
}

/* A deep one over the threads, which goes by areas of C, has the bits of the same on one thread, which goes from end to end. */
Test(gemm_bf16, a_deep_product_by_areas) {
    enum { M = 300, N = 550, K = 1100, DEPTH = 1120, PADDED_M = 320, BLOCK = MB_BF16_BLOCK };
    mb_bf16 *a = random_bf16(K * M, 1), *b = random_bf16(K * N, 2);
    mb_bf16 *tiles = aligned(PADDED_M * DEPTH), *packed = aligned(mb_bf16_packed_count(K, N));
    const mb_bf16_factor rows = {.data = a, .stride = M, .transposed = true}, right = {.data = b, .stride = N};
    const mb_bf16_factor tiled = {.data = tiles, .stride = DEPTH, .tiled = true};
    mb_real *c[2] = {calloc(M * N, sizeof(mb_real)), calloc(M * N, sizeof(mb_real))};
    mb_bf16_tile(&rows, M, K, DEPTH, tiles);
    mb_bf16_pack(&right, K, N, DEPTH, packed);
    mb_bf16_store whole = {.c = c[0], .stride = N, .alpha = 1}, areas = {.c = c[1], .stride = N, .alpha = 1};
    omp_set_num_threads(2);
    mb_bf16_gemm(M, N, K, &tiled, (mb_bf16_packed){packed, DEPTH}, mb_bf16_to_real(&whole));
    mb_bf16_gemm_parallel(M, N, K, &tiled, (mb_bf16_packed){packed, DEPTH}, mb_bf16_to_real(&areas));
    cr_expect_eq(memcmp(c[0], c[1], M * N * sizeof(mb_real)), 0);
    free(a);
    free(b);
    free(tiles);
    free(packed);
    free(c[0]);
    free(c[1]);
}

Test(gemm_bf16, does_not_depend_on_the_number_of_threads) {
    enum { M = 700, N = 300, K = 96 };
    mb_bf16 *a = random_bf16(M * K, 1), *b = random_bf16(K * N, 2), *packed = aligned(mb_bf16_packed_count(K, N));
    const mb_bf16_factor left = {.data = a, .stride = K}, right = {.data = b, .stride = N};
    mb_real *c[4];
    mb_bf16_pack(&right, K, N, K, packed);
    for (int threads = 0; threads <= 3; threads++) {
        c[threads] = calloc(M * N, sizeof(mb_real));
        mb_bf16_store store = {.c = c[threads], .stride = N, .alpha = 1};
        if (threads == 0) { /* by rows alone */
            mb_bf16_gemm(M, N, K, &left, (mb_bf16_packed){packed, K}, mb_bf16_to_real(&store));
            continue;
        }
        omp_set_num_threads(threads);
        mb_bf16_gemm_parallel(M, N, K, &left, (mb_bf16_packed){packed, K}, mb_bf16_to_real(&store));
        cr_expect_eq(memcmp(c[0], c[threads], M * N * sizeof(mb_real)), 0, "%d threads", threads);
    }
    for (int i = 0; i < 4; i++) {
        free(c[i]);
    }
    free(a);
    free(b);
    free(packed);
}

/* The variable is set for a second run of these tests (tests/CMakeLists.txt). */
Test(gemm_bf16, the_environment_names_a_lesser_kernel) {
    const char *wish = getenv("MINIBERT_BF16_KERNEL");
    cr_expect(!wish || strcmp(wish, "generic") != 0 || strcmp(mb_bf16_kernel_name(), "generic") == 0, "it is %s",
              mb_bf16_kernel_name());
    cr_expect_eq(mb_bf16_is_fast(), strcmp(mb_bf16_kernel_name(), "generic") != 0);
}

/* One block of a kernel against the sum of products, with and without sums that are there already, A in rows or in tiles. */
static void check_block(const mb_bf16_kernel *kernel) {
    enum { K = 96, STRIDE = 128, BLOCK = MB_BF16_BLOCK };
    mb_bf16 tiles[K * BLOCK], *a = random_bf16(BLOCK * STRIDE, 1), *b = random_bf16(K * BLOCK, 2), *panel = aligned(K * BLOCK);
    const mb_bf16_factor right = {.data = b, .stride = BLOCK};
    _Alignas(64) float sums[BLOCK * BLOCK];
    const mb_bf16_factor left = {.data = a, .stride = STRIDE};
    mb_bf16_pack(&right, K, BLOCK, K, panel);
    mb_bf16_tile(&left, BLOCK, K, K, tiles);
    for (int variant = 0; variant < 4; variant++) {
        const bool add = variant & 1;
        const mb_bf16_lines rows = {a, STRIDE, BLOCK}, tiled = {tiles, BLOCK, BLOCK * BLOCK};
        for (int i = 0; i < BLOCK * BLOCK; i++) {
            sums[i] = (float)i / 64;
        }
        kernel->begin();
        kernel->block(K, variant & 2 ? tiled : rows, BLOCK, panel, add, sums, NULL);
        kernel->end();
        for (int i = 0; i < BLOCK * BLOCK; i++) {
            double sum = add ? i / 64.0 : 0;
            for (int k = 0; k < K; k++) {
                sum += (double)mb_bf16_to_float(a[i / BLOCK * STRIDE + k]) * (double)mb_bf16_to_float(b[k * BLOCK + i % BLOCK]);
            }
            cr_assert(fabs(sum - (double)sums[i]) < 2e-5, "%s: sum %d is %f, not %f", kernel->name, i, (double)sums[i], sum);
        }
    }
    free(a);
    free(b);
    free(panel);
}

Test(gemm_bf16, blocks_of_this_processor) {
    check_block(mb_bf16_find_kernel("generic"));
    check_block(mb_bf16_choose_kernel());
    cr_expect_null(mb_bf16_find_kernel("abacus"));
}
