#include "tensor/gemm.h"

#include <cblas.h>

#ifdef MB_REAL_IS_DOUBLE
#define cblas_gemm cblas_dgemm
#else
#define cblas_gemm cblas_sgemm
#endif

void mb_gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, mb_real alpha, const mb_real *a, int64_t lda,
             const mb_real *b, int64_t ldb, mb_real beta, mb_real *c, int64_t ldc) {
    if (m == 0 || n == 0) {
        return; /* cblas rejects leading dimensions of 0 */
    }
    cblas_gemm(CblasRowMajor, trans_a ? CblasTrans : CblasNoTrans, trans_b ? CblasTrans : CblasNoTrans, (blasint)m, (blasint)n,
               (blasint)k, alpha, a, (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}

/* Tiles of C, from its sizes alone. Each tile is one single-threaded sgemm inside our own parallel loop: on the shapes of a
 * BERT step this is as fast as OpenBLAS's own threading or faster (4096x1024x256, 2 cores of Zen 3: tiles of 256 rows 168
 * GFLOP/s, OpenBLAS threads 140), and every element is the same sum at any number of threads. Tiles narrower than 128 spend
 * their time packing (1024x256x4096: 64x128 128 GFLOP/s, 256x256 161). */
enum { LARGE_TILE = 256, SMALL_TILE = 128, WIDE_TILE = 1024, WIDE = 4096, MIN_TILES = 4 };

static int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

static void tile_shape(int64_t m, int64_t n, int64_t *rows, int64_t *columns) {
    if (n >= WIDE && m <= WIDE_TILE) { /* few rows times the vocabulary: pack the rows once a tile */
        *rows = m;
        *columns = WIDE_TILE;
        return;
    }
    *rows = m >= 2 * LARGE_TILE ? LARGE_TILE : SMALL_TILE;
    *columns = n;
    while (*columns > SMALL_TILE && ceil_div(m, *rows) * ceil_div(n, *columns) < MIN_TILES) {
        *columns = ceil_div(*columns / 2, SMALL_TILE) * SMALL_TILE;
    }
}

void mb_gemm_parallel(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, mb_real alpha, const mb_real *a, int64_t lda,
                      const mb_real *b, int64_t ldb, mb_real beta, mb_real *c, int64_t ldc) {
    if (m == 0 || n == 0) {
        return;
    }
    int64_t tile_rows, tile_columns;
    tile_shape(m, n, &tile_rows, &tile_columns);
    int64_t n_row_tiles = ceil_div(m, tile_rows), n_column_tiles = ceil_div(n, tile_columns);
#pragma omp parallel for schedule(dynamic) collapse(2)
    for (int64_t i = 0; i < n_row_tiles; i++) {
        for (int64_t j = 0; j < n_column_tiles; j++) {
            int64_t row = i * tile_rows, column = j * tile_columns;
            int64_t rows = m - row < tile_rows ? m - row : tile_rows;
            int64_t columns = n - column < tile_columns ? n - column : tile_columns;
            mb_gemm(trans_a, trans_b, rows, columns, k, alpha, trans_a ? a + row : a + row * lda, lda,
                    trans_b ? b + column * ldb : b + column, ldb, beta, c + row * ldc + column, ldc);
        }
    }
}
