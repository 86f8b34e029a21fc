#include "tasks/clusters.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "skipgram/random_streams.h"

enum { MAX_STEPS = 100, POWER_STEPS = 200 };

void mb_clusters_free(mb_clusters *clusters) {
    free(clusters->of);
    free(clusters->sizes);
    free(clusters->centroids);
    *clusters = (mb_clusters){0};
}

void mb_clusters_swap(mb_clusters *a, mb_clusters *b) {
    const mb_clusters old = *a;
    *a = *b;
    *b = old;
}

static double dot(const float *a, const float *b, int64_t width) {
    double sum = 0;
    for (int64_t j = 0; j < width; j++) {
        sum += (double)a[j] * (double)b[j];
    }
    return sum;
}

static mb_status clusters_allocate(mb_clusters *c, int64_t n, int64_t width, int k, mb_error *error) {
    *c = (mb_clusters){.k = k, .n = n, .width = width};
    c->of = calloc((size_t)n, sizeof *c->of);
    c->sizes = calloc((size_t)k, sizeof *c->sizes);
    c->centroids = calloc((size_t)k * (size_t)width, sizeof *c->centroids);
    if (!c->of || !c->sizes || !c->centroids) {
        mb_clusters_free(c);
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for %d clusters of %lld vectors", k, (long long)n);
    }
    return MB_OK;
}

/* --- one start --- */

static double uniform(uint64_t seed, int start, int which) {
    return (double)mb_rng_uniform(mb_rng_at(seed, MB_STREAM_SENSES, (uint32_t)start, (uint32_t)which, 0).v[0]);
}

/* The first centroid is any row, each further one a row drawn by its distance 1 - cosine from the nearest so far (for vectors
 * of length 1 half the square that k-means++ has). */
static void choose_first(mb_clusters *c, const float *rows, double *distance, uint64_t seed, int start) {
    int64_t chosen = (int64_t)(uniform(seed, start, 0) * (double)c->n);
    for (int which = 0; which < c->k; which++) {
        if (which > 0) {
            double total = 0;
            for (int64_t i = 0; i < c->n; i++) {
                total += distance[i];
            }
            double left = uniform(seed, start, which) * total;
            chosen = 0;
            for (int64_t i = 0; i < c->n; i++) {
                if (distance[i] > 0) {
                    chosen = i;
                    left -= distance[i];
                    if (left < 0) {
                        break;
                    }
                }
            }
        }
        memcpy(c->centroids + which * c->width, rows + chosen * c->width, (size_t)c->width * sizeof *rows);
        for (int64_t i = 0; i < c->n; i++) {
            const double d = fmax(0, 1 - dot(rows + i * c->width, rows + chosen * c->width, c->width));
            distance[i] = which == 0 || d < distance[i] ? d : distance[i];
        }
    }
}

/* Each row to its nearest centroid; returns whether any changed. */
static bool assign(mb_clusters *c, const float *rows) {
    bool changed = false;
    c->cohesion = 0;
    memset(c->sizes, 0, (size_t)c->k * sizeof *c->sizes);
    for (int64_t i = 0; i < c->n; i++) {
        int best = 0;
        double best_cosine = -INFINITY;
        for (int which = 0; which < c->k; which++) {
            const double cosine = dot(rows + i * c->width, c->centroids + which * c->width, c->width);
            if (cosine > best_cosine) {
                best_cosine = cosine;
                best = which;
            }
        }
        changed = changed || c->of[i] != best;
        c->of[i] = best;
        c->sizes[best]++;
        c->cohesion += best_cosine / (double)c->n;
    }
    return changed;
}

/* The direction of the sum of a cluster's rows has the largest mean cosine with them. An empty cluster keeps its centroid. */
static void move_centroids(mb_clusters *c, const float *rows, double *sum) {
    for (int which = 0; which < c->k; which++) {
        memset(sum, 0, (size_t)c->width * sizeof *sum);
        for (int64_t i = 0; i < c->n; i++) {
            for (int64_t j = 0; c->of[i] == which && j < c->width; j++) {
                sum[j] += (double)rows[i * c->width + j];
            }
        }
        double square = 0;
        for (int64_t j = 0; j < c->width; j++) {
            square += sum[j] * sum[j];
        }
        for (int64_t j = 0; square > 0 && j < c->width; j++) {
            c->centroids[which * c->width + j] = (float)(sum[j] / sqrt(square));
        }
    }
}

static void run_start(mb_clusters *c, const float *rows, double *distance, double *sum, uint64_t seed, int start) {
    choose_first(c, rows, distance, seed, start);
    assign(c, rows);
    for (int step = 0; step < MAX_STEPS; step++) {
        move_centroids(c, rows, sum);
        if (!assign(c, rows)) {
            break;
        }
    }
}

/* --- the result --- */

/* Largest first, without the empty ones. */
static mb_status sort_clusters(mb_clusters *c, mb_error *error) {
    mb_clusters sorted;
    const mb_status status = clusters_allocate(&sorted, c->n, c->width, c->k, error);
    if (status != MB_OK) {
        return status;
    }
    sorted.cohesion = c->cohesion;
    sorted.k = 0;
    for (;;) {
        int largest = 0;
        for (int which = 1; which < c->k; which++) {
            largest = c->sizes[which] > c->sizes[largest] ? which : largest;
        }
        if (c->sizes[largest] == 0) {
            break;
        }
        sorted.sizes[sorted.k] = c->sizes[largest];
        memcpy(sorted.centroids + sorted.k * c->width, c->centroids + largest * c->width, (size_t)c->width * sizeof(float));
        for (int64_t i = 0; i < c->n; i++) {
            sorted.of[i] = c->of[i] == largest ? sorted.k : sorted.of[i];
        }
        c->sizes[largest] = 0;
        sorted.k++;
    }
    mb_clusters_swap(c, &sorted);
    mb_clusters_free(&sorted);
    return MB_OK;
}

/* A row's mean distance from the rows of a cluster is 1 minus its product with their mean, so all n^2 distances cost n k
 * products. Rows alone in their cluster count 0. */
static mb_status measure_silhouette(mb_clusters *c, const float *rows, mb_error *error) {
    c->silhouette = NAN;
    if (c->k < 2) {
        return MB_OK;
    }
    float *sums = calloc((size_t)c->k * (size_t)c->width, sizeof *sums);
    if (!sums) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the silhouette of %d clusters", c->k);
    }
    for (int64_t i = 0; i < c->n; i++) {
        for (int64_t j = 0; j < c->width; j++) {
            sums[c->of[i] * c->width + j] += rows[i * c->width + j];
        }
    }
    c->silhouette = 0;
    for (int64_t i = 0; i < c->n; i++) {
        const float *row = rows + i * c->width;
        const int own = c->of[i];
        if (c->sizes[own] == 1) {
            continue;
        }
        const double others = (double)(c->sizes[own] - 1);
        const double inside = 1 - (dot(row, sums + own * c->width, c->width) - dot(row, row, c->width)) / others;
        double outside = INFINITY;
        for (int which = 0; which < c->k; which++) {
            if (which != own) {
                outside = fmin(outside, 1 - dot(row, sums + which * c->width, c->width) / (double)c->sizes[which]);
            }
        }
        const double larger = fmax(inside, outside);
        c->silhouette += larger > 0 ? (outside - inside) / larger / (double)c->n : 0;
    }
    free(sums);
    return MB_OK;
}

mb_status mb_clusters_find(const float *rows, int64_t n, int64_t width, int k, int n_starts, uint64_t seed, mb_clusters *out,
                           mb_error *error) {
    double *distance = malloc((size_t)n * sizeof *distance), *sum = malloc((size_t)width * sizeof *sum);
    mb_clusters trial = {0};
    mb_status status =
        distance && sum ? MB_OK : mb_fail(error, MB_ERROR_MEMORY, "out of memory for clusters of %lld vectors", (long long)n);
    *out = (mb_clusters){0};
    status = status == MB_OK ? clusters_allocate(&trial, n, width, k, error) : status;
    status = status == MB_OK ? clusters_allocate(out, n, width, k, error) : status;
    for (int start = 0; status == MB_OK && start < n_starts; start++) {
        run_start(&trial, rows, distance, sum, seed, start);
        if (start == 0 || trial.cohesion > out->cohesion) {
            mb_clusters_swap(out, &trial);
        }
    }
    mb_clusters_free(&trial);
    free(distance);
    free(sum);
    status = status == MB_OK ? sort_clusters(out, error) : status;
    status = status == MB_OK ? measure_silhouette(out, rows, error) : status;
    if (status != MB_OK) {
        mb_clusters_free(out);
    }
    return status;
}

/* --- two dimensions --- */

static bool make_unit(double *vector, int64_t width) {
    double square = 0;
    for (int64_t j = 0; j < width; j++) {
        square += vector[j] * vector[j];
    }
    for (int64_t j = 0; square > 0 && j < width; j++) {
        vector[j] /= sqrt(square);
    }
    return square > 0;
}

/* The direction of the centred rows' largest variance, at right angles to `other` (NULL: any). Zero when there is none. */
static void find_direction(const double *centred, int64_t n, int64_t width, const double *other, double *direction,
                           double *next) {
    for (int64_t j = 0; j < width; j++) {
        direction[j] = 1 + (double)(j % 7) + (double)j / (double)width; /* at right angles to nothing in particular */
    }
    for (int step = 0; step < POWER_STEPS; step++) {
        memset(next, 0, (size_t)width * sizeof *next);
        for (int64_t i = 0; i < n; i++) {
            double along = 0;
            for (int64_t j = 0; j < width; j++) {
                along += centred[i * width + j] * direction[j];
            }
            for (int64_t j = 0; j < width; j++) {
                next[j] += along * centred[i * width + j];
            }
        }
        double overlap = 0;
        for (int64_t j = 0; other && j < width; j++) {
            overlap += next[j] * other[j];
        }
        for (int64_t j = 0; other && j < width; j++) {
            next[j] -= overlap * other[j];
        }
        memcpy(direction, next, (size_t)width * sizeof *next);
        if (!make_unit(direction, width)) {
            return;
        }
    }
    int64_t largest = 0;
    for (int64_t j = 1; j < width; j++) {
        largest = fabs(direction[j]) > fabs(direction[largest]) ? j : largest;
    }
    for (int64_t j = 0, flip = direction[largest] < 0; flip && j < width; j++) {
        direction[j] = -direction[j];
    }
}

mb_status mb_principal_plane(const float *rows, int64_t n, int64_t width, float *points, mb_error *error) {
    double *centred = malloc((size_t)n * (size_t)width * sizeof *centred);
    double *directions = calloc((size_t)width * 3, sizeof *directions), *next = directions ? directions + 2 * width : NULL;
    if (!centred || !directions) {
        free(centred);
        free(directions);
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the plane of %lld vectors", (long long)n);
    }
    for (int64_t j = 0; j < width; j++) {
        double mean = 0;
        for (int64_t i = 0; i < n; i++) {
            mean += (double)rows[i * width + j] / (double)n;
        }
        for (int64_t i = 0; i < n; i++) {
            centred[i * width + j] = (double)rows[i * width + j] - mean;
        }
    }
    for (int axis = 0; axis < 2; axis++) {
        double *direction = directions + axis * width;
        find_direction(centred, n, width, axis ? directions : NULL, direction, next);
        for (int64_t i = 0; i < n; i++) {
            double along = 0;
            for (int64_t j = 0; j < width; j++) {
                along += centred[i * width + j] * direction[j];
            }
            points[2 * i + axis] = (float)along;
        }
    }
    free(centred);
    free(directions);
    return MB_OK;
}
