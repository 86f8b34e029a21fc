/* Spherical k-means, silhouettes and the principal plane against computations by hand and by trying everything. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "tasks/clusters.h"

static void unit(float *row, int width) {
    double square = 0;
    for (int j = 0; j < width; j++) {
        square += (double)row[j] * (double)row[j];
    }
    for (int j = 0; j < width; j++) {
        row[j] = (float)((double)row[j] / sqrt(square));
    }
}

static void random_rows(float *rows, int n, int width) {
    for (int i = 0; i < n * width; i++) {
        rows[i] = mb_rng_uniform(mb_rng_at(9, MB_STREAM_TEST, (uint32_t)i, 0, 0).v[0]) - 0.4f;
    }
    for (int i = 0; i < n; i++) {
        unit(rows + i * width, width);
    }
}

static double cosine(const float *a, const float *b, int width) {
    double dot = 0;
    for (int j = 0; j < width; j++) {
        dot += (double)a[j] * (double)b[j];
    }
    return dot;
}

static void find(const float *rows, int n, int width, int k, int n_starts, mb_clusters *out) {
    mb_error error;
    cr_assert_eq(mb_clusters_find(rows, n, width, k, n_starts, 1, out, &error), MB_OK, "%s", error.message);
}

/* The mean cosine of the rows with their group's centroid is the length of each group's sum, added up, over n. */
static double cohesion_of(const float *rows, int n, int width, unsigned groups) {
    double sums[2][8] = {{0}}, total = 0;
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < width; j++) {
            sums[groups >> i & 1][j] += (double)rows[i * width + j];
        }
    }
    for (int g = 0; g < 2; g++) {
        double square = 0;
        for (int j = 0; j < width; j++) {
            square += sums[g][j] * sums[g][j];
        }
        total += sqrt(square);
    }
    return total / n;
}

Test(clusters, are_the_best_of_all_partitions) {
    enum { N = 11, WIDTH = 4 };
    float rows[N * WIDTH];
    random_rows(rows, N, WIDTH);
    double best = 0;
    for (unsigned groups = 0; groups < 1u << (N - 1); groups++) {
        best = fmax(best, cohesion_of(rows, N, WIDTH, groups));
    }
    mb_clusters c;
    find(rows, N, WIDTH, 2, 20, &c);
    cr_expect_float_eq(c.cohesion, best, 1e-6, "%.7f, the best of all partitions has %.7f", c.cohesion, best);
    unsigned groups = 0;
    for (int i = 0; i < N; i++) {
        groups |= (unsigned)c.of[i] << i;
    }
    cr_expect_float_eq(cohesion_of(rows, N, WIDTH, groups), best, 1e-6);
    cr_expect(c.sizes[0] >= c.sizes[1] && c.sizes[0] + c.sizes[1] == N);
    for (int k = 0; k < 2; k++) {
        cr_expect_float_eq(cosine(c.centroids + k * WIDTH, c.centroids + k * WIDTH, WIDTH), 1, 1e-6);
    }
    mb_clusters_free(&c);
}

Test(clusters, the_silhouette_is_that_of_all_distances) {
    enum { N = 40, WIDTH = 6, K = 4 };
    float rows[N * WIDTH];
    random_rows(rows, N, WIDTH);
    mb_clusters c;
    find(rows, N, WIDTH, K, 3, &c);
    cr_assert_eq(c.k, K);
    double total = 0;
    for (int i = 0; i < N; i++) {
        double mean[K] = {0}, outside = INFINITY;
        for (int j = 0; j < N; j++) {
            mean[c.of[j]] += j == i ? 0 : 1 - cosine(rows + i * WIDTH, rows + j * WIDTH, WIDTH);
        }
        for (int k = 0; k < K; k++) {
            mean[k] /= (double)(c.sizes[k] - (k == c.of[i]));
            outside = k != c.of[i] ? fmin(outside, mean[k]) : outside;
        }
        const double inside = mean[c.of[i]];
        total += c.sizes[c.of[i]] == 1 ? 0 : (outside - inside) / fmax(inside, outside);
    }
    cr_expect_float_eq(c.silhouette, total / N, 1e-6, "%.7f instead of %.7f", c.silhouette, total / N);
    mb_clusters again;
    find(rows, N, WIDTH, K, 3, &again);
    cr_expect_eq(memcmp(c.of, again.of, sizeof(int) * N), 0, "the same seed gives other groups");
    mb_clusters_free(&c);
    mb_clusters_free(&again);
}

Test(clusters, no_more_than_there_are_directions) {
    enum { N = 7 };
    float rows[N * 2];
    for (int i = 0; i < N; i++) {
        rows[2 * i] = i < 5 ? 1 : 0;
        rows[2 * i + 1] = i < 5 ? 0 : 1;
    }
    mb_clusters c;
    find(rows, N, 2, 4, 2, &c);
    cr_expect_eq(c.k, 2, "%d groups of two directions", c.k);
    cr_expect(c.sizes[0] == 5 && c.sizes[1] == 2 && c.of[0] == 0 && c.of[6] == 1);
    cr_expect_float_eq(c.silhouette, 1, 1e-6);
    cr_expect_float_eq(c.cohesion, 1, 1e-6);
    mb_clusters_free(&c);
    find(rows, N, 2, 1, 2, &c);
    cr_expect(c.k == 1 && c.sizes[0] == N && isnan(c.silhouette));
    mb_clusters_free(&c);
}

/* Rows that vary by 3 along (0.6, 0, 0.8) and by 1 along (0, 1, 0), around a mean far from zero. */
Test(clusters, the_principal_plane_is_where_rows_vary) {
    static const float along[][2] = {{3, 1}, {3, -1}, {-3, 1}, {-3, -1}, {0, 0}, {6, 0}, {-6, 0}};
    enum { N = sizeof along / sizeof *along };
    float rows[N * 3], points[N * 2];
    for (int i = 0; i < N; i++) {
        rows[3 * i] = 10 + 0.6f * along[i][0];
        rows[3 * i + 1] = -20 + along[i][1];
        rows[3 * i + 2] = 30 + 0.8f * along[i][0];
    }
    mb_error error;
    cr_assert_eq(mb_principal_plane(rows, N, 3, points, &error), MB_OK);
    for (int i = 0; i < 2 * N; i++) {
        cr_expect_float_eq(points[i], along[i / 2][i % 2], 1e-4, "row %d: %g instead of %g", i / 2, (double)points[i],
                           (double)along[i / 2][i % 2]);
    }
    for (int i = 0; i < N * 3; i++) {
        rows[i] = (float)(i % 3);
    }
    cr_assert_eq(mb_principal_plane(rows, N, 3, points, &error), MB_OK);
    for (int i = 0; i < 2 * N; i++) {
        cr_expect_float_eq(points[i], 0, 1e-6, "rows that are all the same vary");
    }
}
