#include "tensor/gemm_packed.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

typedef mb_real vector __attribute__((vector_size(MB_VECTOR_BYTES), aligned(sizeof(mb_real))));
enum { LANES = MB_VECTOR_BYTES / (int)sizeof(mb_real) };

/* Rows whose sums, two vectors each, and two vectors of B fit the registers: 32 of AVX-512, 16 of AVX2. */
#ifdef __AVX512F__
enum { STRIP = 12 };
#else
enum { STRIP = 6 };
#endif
/* A's block of TILE_ROWS x K_BLOCK numbers stays in the second-level cache while the panels pass by. */
enum { TILE_ROWS = 20 * STRIP, TILE_COLUMNS = 8 * MB_PANEL, K_BLOCK = 512, MIN_TILES = 16 };

/* --- packing --- */

static void pack_panel(bool transposed, int64_t k, int64_t n_columns, const mb_real *b, int64_t stride, mb_real *panel) {
    if (n_columns < MB_PANEL) {
        memset(panel, 0, (size_t)(k * MB_PANEL) * sizeof *panel);
    }
    if (!transposed) {
        for (int64_t p = 0; p < k; p++) {
            if (n_columns == MB_PANEL) { /* a constant: two vectors, not a call */
                memcpy(panel + p * MB_PANEL, b + p * stride, MB_PANEL * sizeof *panel);
            } else {
                memcpy(panel + p * MB_PANEL, b + p * stride, (size_t)n_columns * sizeof *panel);
            }
        }
        return;
    }
    enum { TILE = 16 };
    for (int64_t first = 0; first < k; first += TILE) { /* a few lines of each row at a time */
        const int64_t end = first + TILE < k ? first + TILE : k;
        for (int64_t j = 0; j < n_columns; j++) {
            for (int64_t p = first; p < end; p++) {
                panel[p * MB_PANEL + j] = b[j * stride + p];
            }
        }
    }
}

void mb_pack_parallel(bool transposed, int64_t k, int64_t n, const mb_real *b, int64_t stride, mb_real *packed) {
    const int64_t n_panels = mb_panels_of(n), n_blocks = (k + K_BLOCK - 1) / K_BLOCK;
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t j = 0; j < n_panels; j++) {
        for (int64_t block = 0; block < n_blocks; block++) {
            const int64_t column = j * MB_PANEL, n_columns = n - column < MB_PANEL ? n - column : MB_PANEL;
            const int64_t p = block * K_BLOCK, depth = k - p < K_BLOCK ? k - p : K_BLOCK;
            pack_panel(transposed, depth, n_columns, b + (transposed ? column * stride + p : p * stride + column), stride,
                       packed + j * k * MB_PANEL + p * MB_PANEL);
        }
    }
}

/* --- a strip of C, as high as the registers allow and a panel wide --- */

typedef struct strip {
    mb_left_factor a; /* at its first row and number */
    const mb_real *panel;
    int64_t k;
    bool from_zero;
    const mb_real *begin; /* else what the sums begin with, rows begin_stride apart */
    int64_t begin_stride;
    mb_real *c;
    int64_t stride;
} strip;

static inline vector load(const mb_real *from) {
    vector v;
    memcpy(&v, from, sizeof v);
    return v;
}
static inline void store(mb_real *to, vector v) {
    memcpy(to, &v, sizeof v);
}

/* n_rows, and one of the two strides, are constants to the compiler. */
static inline __attribute__((always_inline)) void multiply_strip(const strip *s, int n_rows, int64_t row, int64_t column) {
    vector left[STRIP], right[STRIP];
    const mb_real *a = s->a.data, *panel = s->panel;
#pragma GCC unroll 12
    for (int i = 0; i < n_rows; i++) {
        left[i] = right[i] = (vector){0};
        if (!s->from_zero) {
            left[i] = load(s->begin + i * s->begin_stride);
            right[i] = load(s->begin + i * s->begin_stride + LANES);
        }
    }
    for (int64_t q = 0; q < s->k; q += MB_PANEL) {
        const int64_t depth = s->k - q < MB_PANEL ? s->k - q : MB_PANEL;
        for (int64_t p = 0; p < depth; p++) {
            const vector b_left = load(panel), b_right = load(panel + LANES);
#pragma GCC unroll 12
            for (int i = 0; i < n_rows; i++) {
                const mb_real x = a[i * row + p * column];
                left[i] += x * b_left;
                right[i] += x * b_right;
            }
            panel += MB_PANEL;
        }
        a += s->a.chunk;
    }
#pragma GCC unroll 12
    for (int i = 0; i < n_rows; i++) {
        store(s->c + i * s->stride, left[i]);
        store(s->c + i * s->stride + LANES, right[i]);
    }
}

static inline __attribute__((always_inline)) void multiply_rows(const strip *s, int n_rows) {
    if (s->a.column == 1) {
        multiply_strip(s, n_rows, s->a.row, 1);
    } else {
        multiply_strip(s, n_rows, 1, s->a.column);
    }
}

/* Not inlined: each keeps its sums in registers. */
__attribute__((noinline)) static void whole_strip(const strip *s) {
    multiply_rows(s, STRIP);
}
__attribute__((noinline)) static void three_rows(const strip *s) {
    multiply_rows(s, 3);
}
__attribute__((noinline)) static void one_row(const strip *s) {
    multiply_rows(s, 1);
}

static int64_t rows_at_once(int64_t left) {
    return left >= STRIP ? STRIP : left >= 3 ? 3 : 1;
}

static void multiply(const strip *s, int64_t n_rows) {
    (n_rows == STRIP ? whole_strip : n_rows == 3 ? three_rows : one_row)(s);
}

/* Rows of C that have no room for a whole panel: by way of a block that has. */
static void multiply_narrow(strip s, int64_t n_rows, int64_t n_columns) {
    mb_real block[STRIP * MB_PANEL] = {0};
    mb_real *const c = s.c;
    const int64_t stride = s.stride;
    for (int64_t i = 0; i < n_rows && !s.from_zero; i++) {
        memcpy(block + i * MB_PANEL, s.begin + i * s.begin_stride, (size_t)n_columns * sizeof *block);
    }
    s.begin = s.c = block;
    s.from_zero = false;
    s.begin_stride = s.stride = MB_PANEL;
    multiply(&s, n_rows);
    for (int64_t i = 0; i < n_rows; i++) {
        memcpy(c + i * stride, block + i * MB_PANEL, (size_t)n_columns * sizeof *block);
    }
}

/* --- products --- */

static mb_left_factor from_row(mb_left_factor a, int64_t row) {
    a.data += row * a.row;
    return a;
}

/* A panel of C and K_BLOCK of the depth, from row p on. */
static void multiply_panel(int64_t m, int64_t n_columns, int64_t p, int64_t depth, mb_left_factor a, const mb_real *panel,
                           const mb_product_target *target, mb_real *c, const mb_real *bias) {
    const bool whole = n_columns == MB_PANEL || target->panel != MB_PANEL, adds = target->add || p > 0;
    a.data += p / MB_PANEL * a.chunk;
    int64_t n_rows;
    for (int64_t row = 0; row < m; row += n_rows) {
        n_rows = rows_at_once(m - row);
        strip s = {.a = from_row(a, row),
                   .panel = panel + p * MB_PANEL,
                   .k = depth,
                   .c = c + row * target->stride,
                   .stride = target->stride};
        s.from_zero = !adds && bias == NULL;
        s.begin = adds ? s.c : bias;
        s.begin_stride = adds ? s.stride : 0;
        if (whole) {
            multiply(&s, n_rows);
        } else {
            multiply_narrow(s, n_rows, n_columns);
        }
    }
}

/* Columns [first, end), first a multiple of MB_PANEL. */
static void multiply_columns(int64_t m, int64_t n, int64_t k, mb_left_factor a, const mb_real *packed, int64_t packed_depth,
                             const mb_product_target *target, int64_t first, int64_t end) {
    for (int64_t p = 0; p < k; p += K_BLOCK) {
        const int64_t depth = k - p < K_BLOCK ? k - p : K_BLOCK;
        for (int64_t column = first; column < end; column += MB_PANEL) {
            const int64_t n_columns = n - column < MB_PANEL ? n - column : MB_PANEL;
            multiply_panel(m, n_columns, p, depth, a, packed + column * packed_depth, target,
                           target->c + column / MB_PANEL * target->panel, target->bias == NULL ? NULL : target->bias + column);
        }
    }
}

void mb_packed_gemm(int64_t m, int64_t n, int64_t k, mb_left_factor a, const mb_real *packed, mb_product_target target) {
    assert(target.bias == NULL || (!target.add && target.panel == MB_PANEL));
    multiply_columns(m, n, k, a, packed, k, &target, 0, n);
}

void mb_packed_gemm_part(int64_t m, int64_t n, int64_t k, mb_left_factor a, const mb_real *packed, int64_t depth,
                         mb_product_target target) {
    multiply_columns(m, n, k, a, packed, depth, &target, 0, n);
}

/* From the sizes alone: enough tiles for many threads, each high enough to use a panel often. */
static int64_t tile_rows(int64_t m, int64_t n) {
    const int64_t in_row = (n + TILE_COLUMNS - 1) / TILE_COLUMNS;
    int64_t rows = TILE_ROWS;
    while (rows > 2 * STRIP && (m + rows - 1) / rows * in_row < MIN_TILES) {
        rows = rows / STRIP / 2 * STRIP;
    }
    return rows;
}

void mb_packed_gemm_parallel(int64_t m, int64_t n, int64_t k, mb_left_factor a, const mb_real *packed, mb_product_target target,
                             mb_tile_epilogue epilogue, void *context) {
    assert(target.bias == NULL || (!target.add && target.panel == MB_PANEL));
    const int64_t rows = tile_rows(m, n);
#pragma omp parallel for schedule(dynamic) collapse(2)
    for (int64_t row = 0; row < m; row += rows) {
        for (int64_t column = 0; column < n; column += TILE_COLUMNS) {
            const int64_t n_rows = m - row < rows ? m - row : rows;
            const int64_t end = n - column < TILE_COLUMNS ? n : column + TILE_COLUMNS;
            mb_product_target tile = target;
            tile.c += row * target.stride;
            multiply_columns(n_rows, n, k, from_row(a, row), packed, k, &tile, column, end);
            if (epilogue != NULL) {
                epilogue(context, row, n_rows, column, end - column);
            }
        }
    }
}
