/* Groups of directions: spherical k-means, its silhouette, and a picture in two dimensions. */
#ifndef MB_TASKS_CLUSTERS_H
#define MB_TASKS_CLUSTERS_H

#include <stdint.h>

#include "minibert/status.h"

/* Begins as {0}. */
typedef struct mb_clusters {
    int k;
    int64_t n, width;
    int *of;           /* n: each row's cluster; the largest cluster is 0, and so on down */
    int64_t *sizes;    /* k, none of them 0 */
    float *centroids;  /* (k, width), of length 1 */
    double cohesion;   /* mean cosine of a row and its centroid: what k-means makes large */
    double silhouette; /* mean over rows (Rousseeuw 1987), the distance being 1 - cosine; NAN for k = 1 */
} mb_clusters;

/* Rows (n, width) of length 1; 1 <= k <= n. Lloyd's steps from k-means++ (Arthur & Vassilvitskii 2007), the best of n_starts
 * starts; the result depends on rows, k, n_starts and seed alone. Fewer than k clusters come back when fewer than k rows
 * differ. Time n * k * width a step. */
mb_status mb_clusters_find(const float *rows, int64_t n, int64_t width, int k, int n_starts, uint64_t seed, mb_clusters *out,
                           mb_error *error);
void mb_clusters_free(mb_clusters *clusters);
void mb_clusters_swap(mb_clusters *a, mb_clusters *b);

/* Coordinates (n, 2) of the rows, less their mean, along the two directions in which they vary most (principal components, by
 * power iteration; each direction's sign is such that its largest number is positive). */
mb_status mb_principal_plane(const float *rows, int64_t n, int64_t width, float *points, mb_error *error);

#endif
