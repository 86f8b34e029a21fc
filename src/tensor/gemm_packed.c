#include "tensor/gemm_packed.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "base/specialized.h"
#include "tensor/stream.h"
#include "tensor/transpose.h"

typedef mb_real vector __attribute__((vector_size(MB_VECTOR_BYTES), aligned(sizeof(mb_real)), may_alias));
enum { LANES = MB_VECTOR_BYTES / (int)sizeof(mb_real) };

enum { STRIP = MB_STRIP, VECTORS = MB_VECTORS };
/* What is left over of 128 or 4096 rows: enough sums to keep the units busy. */
enum { THIRD = STRIP / 3 };
/* A's block of TILE_ROWS x K_BLOCK numbers stays in the second-level cache while the panels pass by. */
enum { TILE_ROWS = 40 * STRIP, TILE_COLUMNS = 4 * MB_PANEL, K_BLOCK = 512, MIN_TILES = 16 };

/* --- packing --- */

/* Not by memcpy: tensor/transpose.h. */
static inline vector load(const mb_real *from) {
    return *(const vector *)from;
}
static inline void store(mb_real *to, vector v) {
    *(vector *)to = v;
}

#ifndef MB_REAL_IS_DOUBLE
#ifdef __AVX512F__
typedef mb_lanes16 square[LANES];
#define TRANSPOSE mb_transpose16
#define LOAD mb_load16
#else
typedef mb_lanes8 square[LANES];
#define TRANSPOSE mb_transpose8
#define LOAD mb_load8
#endif

/* Numbers [p, p + LANES) of up to LANES rows of memory, zeros for those that are not there, to as many rows of a panel. */
static void pack_square(int64_t n_rows, const mb_real *b, int64_t stride, mb_real scale, mb_real *panel) {
    square r = {0};
    for (int64_t i = 0; i < n_rows; i++) {
        LOAD(&r[i], b + i * stride);
    }
    TRANSPOSE(r);
    for (int i = 0; i < LANES; i++) {
        store(panel + i * MB_PANEL, (vector)r[i] * scale);
    }
}
#endif

/* Memory's rows are B's columns. */
static void pack_transposed(int64_t k, int64_t n_columns, const mb_real *b, int64_t stride, mb_real scale, mb_real *panel) {
    int64_t first = 0;
#ifndef MB_REAL_IS_DOUBLE
    for (; first + LANES <= k; first += LANES) {
        for (int64_t j = 0; j < MB_PANEL; j += LANES) {
            const int64_t n_rows = n_columns <= j ? 0 : n_columns - j < LANES ? n_columns - j : LANES;
            pack_square(n_rows, b + (n_rows ? j * stride + first : 0), stride, scale, panel + first * MB_PANEL + j);
        }
    }
#endif
    for (int64_t p = first; p < k; p++) {
        for (int64_t j = 0; j < MB_PANEL; j++) {
            panel[p * MB_PANEL + j] = j < n_columns ? scale * b[j * stride + p] : 0;
        }
    }
}

/* Rows [first, end) of memory, each to all panels: panel by panel every line of a row would be a miss of its own. */
static void pack_rows(int64_t first, int64_t end, int64_t n, const mb_real *b, int64_t stride, mb_real scale, int64_t k,
                      mb_real *packed) {
    const int64_t whole = n / MB_PANEL * MB_PANEL;
    for (int64_t p = first; p < end; p++) {
        const mb_real *row = b + p * stride;
        for (int64_t column = 0; column < whole; column += MB_PANEL) {
            mb_real *to = packed + column * k + p * MB_PANEL;
            for (int64_t j = 0; j < MB_PANEL; j += LANES) {
                store(to + j, scale * load(row + column + j));
            }
        }
        for (int64_t j = 0; j < MB_PANEL && whole < n; j++) {
            packed[whole * k + p * MB_PANEL + j] = whole + j < n ? scale * row[whole + j] : 0;
        }
    }
}

void mb_pack(bool transposed, int64_t k, int64_t n, const mb_real *b, int64_t stride, mb_real scale, mb_real *packed) {
    if (!transposed) {
        pack_rows(0, k, n, b, stride, scale, k, packed);
        return;
    }
    for (int64_t column = 0; column < n; column += MB_PANEL) {
        pack_transposed(k, n - column < MB_PANEL ? n - column : MB_PANEL, b + column * stride, stride, scale,
                        packed + column * k);
    }
}

static void pack_rows_parallel(int64_t k, int64_t n, const mb_real *b, int64_t stride, mb_real *packed) {
    enum { ROWS = 32 };
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < k; p += ROWS) {
        pack_rows(p, k - p < ROWS ? k : p + ROWS, n, b, stride, 1, k, packed);
    }
}

void mb_pack_parallel(bool transposed, int64_t k, int64_t n, const mb_real *b, int64_t stride, mb_real *packed) {
    const int64_t n_panels = mb_panels_of(n), n_blocks = (k + K_BLOCK - 1) / K_BLOCK;
    if (!transposed) {
        pack_rows_parallel(k, n, b, stride, packed);
        return;
    }
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t j = 0; j < n_panels; j++) {
        for (int64_t block = 0; block < n_blocks; block++) {
            const int64_t column = j * MB_PANEL, n_columns = n - column < MB_PANEL ? n - column : MB_PANEL;
            const int64_t p = block * K_BLOCK, depth = k - p < K_BLOCK ? k - p : K_BLOCK;
            pack_transposed(depth, n_columns, b + column * stride + p, stride, 1, packed + j * k * MB_PANEL + p * MB_PANEL);
        }
    }
}

/* A few strips at a time: row by row their writes would be more streams than a processor follows (4096 x 1024 numbers: 1.6 ns
 * each; this: 0.45). */
void mb_pack_strips(int64_t k, int64_t m, const mb_real *a, int64_t stride, int64_t depth, mb_real *strips) {
    enum { AT_ONCE = 8 * STRIP };
    for (int64_t first = 0; first < m; first += AT_ONCE) {
        const int64_t end = m - first < AT_ONCE ? m : first + AT_ONCE, whole = end - (end - first) % STRIP;
        for (int64_t p = 0; p < k; p++) {
            const mb_real *row = a + p * stride;
            for (int64_t i = first; i < whole; i += STRIP) {
                memcpy(strips + i * depth + p * STRIP, row + i, STRIP * sizeof *row);
            }
            for (int64_t i = whole; i < end; i++) { /* what the last strip has beyond m is never read */
                strips[whole * depth + p * STRIP + i - whole] = row[i];
            }
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

/* n_rows, n_vectors and one of the two strides are constants to the compiler. */
MB_SPECIALIZED void multiply_strip(const strip *s, int n_rows, int n_vectors, int64_t row, int64_t column) {
    vector sums[STRIP][VECTORS];
    const mb_real *a = s->a.data, *panel = s->panel;
#pragma GCC unroll 6
    for (int i = 0; i < n_rows; i++) {
#pragma GCC unroll 4
        for (int v = 0; v < n_vectors; v++) {
            sums[i][v] = (vector){0};
            if (!s->from_zero) {
                sums[i][v] = load(s->begin + i * s->begin_stride + v * LANES);
            }
        }
    }
    const int64_t span = s->a.chunk == MB_PANEL * column ? s->k : MB_PANEL; /* one loop if A allows: 4% */
    for (int64_t q = 0; q < s->k; q += span) {
        const int64_t depth = s->k - q < span ? s->k - q : span;
        for (int64_t p = 0; p < depth; p++) {
            vector b[VECTORS];
#pragma GCC unroll 4
            for (int v = 0; v < n_vectors; v++) {
                b[v] = load(panel + v * LANES);
            }
#pragma GCC unroll 6
            for (int i = 0; i < n_rows; i++) {
                const mb_real x = a[i * row + p * column];
#pragma GCC unroll 4
                for (int v = 0; v < n_vectors; v++) {
                    sums[i][v] += x * b[v];
                }
            }
            panel += MB_PANEL;
        }
        a += s->a.chunk;
    }
#pragma GCC unroll 6
    for (int i = 0; i < n_rows; i++) {
#pragma GCC unroll 4
        for (int v = 0; v < n_vectors; v++) {
            store(s->c + i * s->stride + v * LANES, sums[i][v]);
        }
    }
}

MB_SPECIALIZED void multiply_rows(const strip *s, int n_rows, int n_vectors) {
    if (s->a.column == 1) {
        multiply_strip(s, n_rows, n_vectors, s->a.row, 1);
    } else {
        multiply_strip(s, n_rows, n_vectors, 1, s->a.column);
    }
}

/* Not inlined: each keeps its sums in registers. */
__attribute__((noinline)) static void whole_strip(const strip *s) {
    multiply_rows(s, STRIP, VECTORS);
}
__attribute__((noinline)) static void third_of_strip(const strip *s) {
    multiply_rows(s, THIRD, VECTORS);
}
__attribute__((noinline)) static void one_row(const strip *s) {
    multiply_rows(s, 1, VECTORS);
}
/* Of half a panel, as heads of 32 numbers and short sentences have. */
__attribute__((noinline)) static void half_strip(const strip *s) {
    multiply_rows(s, STRIP, VECTORS / 2);
}
__attribute__((noinline)) static void half_third_of_strip(const strip *s) {
    multiply_rows(s, THIRD, VECTORS / 2);
}
__attribute__((noinline)) static void half_row(const strip *s) {
    multiply_rows(s, 1, VECTORS / 2);
}

static int64_t rows_at_once(int64_t left) {
    return left >= STRIP ? STRIP : left >= THIRD ? THIRD : 1;
}

static void multiply(const strip *s, int64_t n_rows, int64_t n_columns) {
    if (n_columns <= MB_PANEL / 2) {
        (n_rows == STRIP ? half_strip : n_rows == THIRD ? half_third_of_strip : half_row)(s);
    } else {
        (n_rows == STRIP ? whole_strip : n_rows == THIRD ? third_of_strip : one_row)(s);
    }
}

/* To a block with room for a whole panel, in place of C. */
static void multiply_apart(strip *s, int64_t n_rows, int64_t n_columns, mb_real *block) {
    for (int64_t i = 0; i < n_rows && !s->from_zero; i++) {
        memset(block + i * MB_PANEL, 0, MB_PANEL * sizeof *block);
        memcpy(block + i * MB_PANEL, s->begin + i * s->begin_stride, (size_t)n_columns * sizeof *block);
    }
    s->begin = s->c = block;
    s->begin_stride = s->stride = MB_PANEL;
    multiply(s, n_rows, n_columns);
}

/* --- products --- */

/* Rows [row, row + n_rows) of a product. */
typedef struct tile {
    int64_t row, n_rows, n, k;
    mb_left_factor a; /* from the first row on */
    const mb_real *packed;
    int64_t packed_depth;
    const mb_product_target *target;
} tile;

static int64_t left_offset(const mb_left_factor *a, int64_t row) {
    return row / STRIP * a->strip + row % STRIP * a->row;
}

static tile tile_of(int64_t row, int64_t n_rows, int64_t n, int64_t k, mb_left_factor a, const mb_real *packed,
                    const mb_product_target *target) {
    a.data += left_offset(&a, row);
    return (tile){row, n_rows, n, k, a, packed, k, target};
}

/* A part of a product's depth, and of its columns a panel. */
typedef struct part {
    int64_t p, depth, column, n_columns;
} part;

/* What the next strip reads of A: the processor's own prefetching does not follow a few short rows. */
static void prefetch_strip(const tile *t, int64_t first, const part *piece) {
    enum { LINE = 64 / (int)sizeof(mb_real) };
    const int64_t n_rows = t->n_rows - first < STRIP ? t->n_rows - first : STRIP;
    const mb_real *at = t->a.data + left_offset(&t->a, first) + piece->p / MB_PANEL * t->a.chunk;
    if (t->a.column != 1 || t->a.chunk != MB_PANEL) {
        return;
    }
    for (int64_t i = 0; i < n_rows; i++) {
        for (int64_t p = 0; p < piece->depth; p += LINE) {
            __builtin_prefetch(at + i * t->a.row + p, 0, 2);
        }
    }
}

static void multiply_part(const tile *t, const part *piece, bool is_first, bool is_last) {
    const mb_product_target *target = t->target;
    const int64_t n_written = target->panel != MB_PANEL ? MB_PANEL : piece->n_columns; /* a panel of C has room for all */
    const bool fits = n_written == MB_PANEL || n_written == MB_PANEL / 2, adds = target->add || piece->p > 0;
    const mb_strip_finish finish = is_last ? target->finish : NULL;
    const bool to_c = target->finish == NULL && target->panel == MB_PANEL;
    _Alignas(MB_VECTOR_BYTES) mb_real block[STRIP * MB_PANEL];
    mb_real *c = target->c + piece->column / MB_PANEL * target->panel;
    int64_t n_rows;
    for (int64_t i = 0; i < t->n_rows; i += n_rows) {
        n_rows = rows_at_once(t->n_rows - i);
        mb_real *rows = c + (t->row + i) * target->stride;
        strip s = {.a = t->a,
                   .panel = t->packed + piece->column * t->packed_depth + piece->p * MB_PANEL,
                   .k = piece->depth,
                   .c = rows,
                   .stride = target->stride};
        s.a.data += left_offset(&t->a, i) + piece->p / MB_PANEL * t->a.chunk;
        s.from_zero = !adds && target->bias == NULL;
        s.begin = adds || s.from_zero ? rows : target->bias + piece->column;
        s.begin_stride = adds ? target->stride : 0;
        if (is_first) {
            prefetch_strip(t, i + n_rows, piece);
        }
        if (!adds && to_c) { /* which is not in the caches yet */
            for (int64_t r = 0; r < n_rows; r++) {
                mb_prefetch_write(rows + r * target->stride, MB_PANEL * sizeof *rows);
            }
        }
        if (fits && finish == NULL) {
            multiply(&s, n_rows, n_written);
        } else {
            multiply_apart(&s, n_rows, piece->n_columns, block);
        }
        if (finish != NULL) {
            finish(target->context, block, t->row + i, n_rows, piece->column, piece->n_columns);
        } else if (!fits) {
            for (int64_t r = 0; r < n_rows; r++) {
                memcpy(rows + r * target->stride, block + r * MB_PANEL, (size_t)piece->n_columns * sizeof *block);
            }
        }
    }
}

/* Columns [first, end), first a multiple of MB_PANEL. */
static void multiply_columns(const tile *t, int64_t first, int64_t end) {
    for (int64_t p = 0; p < t->k; p += K_BLOCK) {
        const int64_t depth = t->k - p < K_BLOCK ? t->k - p : K_BLOCK;
        for (int64_t column = first; column < end; column += MB_PANEL) {
            const int64_t n_columns = t->n - column < MB_PANEL ? t->n - column : MB_PANEL;
            multiply_part(t, &(part){p, depth, column, n_columns}, column == first, p + depth == t->k);
        }
    }
}

void mb_packed_gemm(int64_t m, int64_t n, int64_t k, mb_left_factor a, const mb_real *packed, mb_product_target target) {
    mb_packed_gemm_part(m, n, k, a, packed, k, target);
}

void mb_packed_gemm_part(int64_t m, int64_t n, int64_t k, mb_left_factor a, const mb_real *packed, int64_t depth,
                         mb_product_target target) {
    assert(target.bias == NULL || (!target.add && target.panel == MB_PANEL));
    tile t = tile_of(0, m, n, k, a, packed, &target);
    t.packed_depth = depth;
    multiply_columns(&t, 0, n);
}

/* From the sizes alone: enough tiles for many threads, each high enough to use a panel often. */
static int64_t tile_rows(int64_t m, int64_t n) {
    const int64_t in_row = (n + TILE_COLUMNS - 1) / TILE_COLUMNS, wanted = (MIN_TILES + in_row - 1) / in_row;
    const int64_t rows = (m / wanted + STRIP - 1) / STRIP * STRIP;
    return rows < 2 * STRIP ? 2 * STRIP : rows < TILE_ROWS ? rows : TILE_ROWS;
}

void mb_packed_gemm_parallel(int64_t m, int64_t n, int64_t k, mb_left_factor a, const mb_real *packed,
                             mb_product_target target) {
    assert(target.bias == NULL || (!target.add && target.panel == MB_PANEL));
    const int64_t rows = tile_rows(m, n);
#pragma omp parallel for schedule(dynamic) collapse(2)
    for (int64_t row = 0; row < m; row += rows) {
        for (int64_t column = 0; column < n; column += TILE_COLUMNS) {
            const tile t = tile_of(row, m - row < rows ? m - row : rows, n, k, a, packed, &target);
            multiply_columns(&t, column, n - column < TILE_COLUMNS ? n : column + TILE_COLUMNS);
        }
    }
}
