#include "tensor/gemm_bf16.h"

#include <omp.h>
#include <stdalign.h>
#include <unistd.h>

#include "base/specialized.h"
#include "tensor/gemm_bf16_kernel.h"
#include "tensor/stream.h"
#include "tensor/transpose.h"

enum { BLOCK = MB_BF16_BLOCK, HALF = BLOCK / 2, TILE_PAIRS = HALF * HALF };

/* How much of A and of B a thread works on at a time, that B stays in its second-level cache: of one of 1 MB a quarter, beside
 * rows of A that come again for the next part of B; of one of 2 MB (Sapphire Rapids) more than half, so that a layer's B is
 * one part, few rows of A are enough, and these come but once. There the caches beyond limit the products: MiniLM's first
 * feed-forward product 2,150 to 2,450 GFLOP/s. */
enum { ROW_GROUP = 256, SMALL_GROUP = 64, LARGE_CACHE = 2 << 20, K_SCRATCH = 512, K_DEEP_SCRATCH = 4096 };
enum { B_ELEMENTS = 128 << 10, LARGE_B_ELEMENTS = 640 << 10, LARGE_ROW_GROUP = 128 };

int64_t mb_bf16_padded(int64_t k) {
    return (k + BLOCK - 1) / BLOCK * BLOCK;
}

int64_t mb_bf16_packed_count(int64_t k, int64_t n) {
    return mb_bf16_padded(k) * mb_bf16_padded(n);
}

/* --- packing --- */

/* `n` numbers (at most 32) of a row of the factor's memory, the rest zeros. */
static inline const mb_bf16 *row_of(const mb_bf16_factor *f, int64_t row, int64_t column, int64_t n, mb_bf16 *scratch) {
    if (n == BLOCK) {
        if (!f->is_real) {
            return (const mb_bf16 *)f->data + row * f->stride + column;
        }
        mb_bf16_write((const mb_real *)f->data + row * f->stride + column, BLOCK, scratch);
        return scratch;
    }
    memset(scratch, 0, BLOCK * sizeof *scratch);
    if (f->is_real) {
        mb_bf16_write((const mb_real *)f->data + row * f->stride + column, n, scratch);
    } else {
        memcpy(scratch, (const mb_bf16 *)f->data + row * f->stride + column, (size_t)n * sizeof *scratch);
    }
    return scratch;
}

static const mb_bf16 zeros[BLOCK];

static inline void put_line(const mb_bf16_factor *f, void *to, const mb_lanes16 *line) {
    if (f->read_later) {
        mb_stream_copy(to, line, sizeof *line);
    } else {
        mb_store16(to, line);
    }
}

/* Rows `row` and row + 1 of memory, of which there are n_rows: number by number side by side, to a row of both tiles. */
static inline void interleave_two(const mb_bf16_factor *f, int64_t row, int64_t n_rows, int64_t column, int64_t n_columns,
                                  uint32_t *restrict pairs) {
    mb_bf16 one[BLOCK], two[BLOCK];
    mb_lanes16 made[2];
    mb_interleave32(row < n_rows ? row_of(f, row, column, n_columns, one) : zeros,
                    row + 1 < n_rows ? row_of(f, row + 1, column, n_columns, two) : zeros, made);
    put_line(f, pairs, &made[0]);
    put_line(f, pairs + TILE_PAIRS, &made[1]);
}

/* The same of 32 numbers that are all there. */
static inline void interleave_lines(const mb_bf16_factor *f, const mb_bf16 *even, const mb_bf16 *odd,
                                    uint32_t *restrict pairs) {
    mb_lanes16 made[2];
    mb_interleave32(even, odd, made);
    put_line(f, pairs, &made[0]);
    put_line(f, pairs + TILE_PAIRS, &made[1]);
}

/* 32 x 32 numbers of memory -> two tiles of 16 x 16 pairs. */
static void interleave(const mb_bf16_factor *f, int64_t row, int64_t n_rows, int64_t column, int64_t n_columns,
                       uint32_t *pairs) {
    if (n_rows == BLOCK && n_columns == BLOCK && !f->is_real) { /* as almost always: half the time */
        const mb_bf16 *from = (const mb_bf16 *)f->data + row * f->stride + column;
        for (int64_t i = 0; i < HALF; i++) {
            interleave_lines(f, from + 2 * i * f->stride, from + (2 * i + 1) * f->stride, pairs + i * HALF);
        }
        return;
    }
    for (int64_t i = 0; i < HALF; i++) {
        interleave_two(f, row + 2 * i, row + n_rows, column, n_columns, pairs + i * HALF);
    }
}

/* 32 rows of memory of 16 pairs each -> two tiles. */
static void transpose_pairs(const mb_bf16_factor *f, int64_t row, int64_t n_rows, int64_t column, int64_t n_columns,
                            uint32_t *pairs) {
    const bool whole = n_rows == BLOCK && n_columns == BLOCK && !f->is_real;
    mb_bf16 scratch[BLOCK];
    for (int64_t half = 0; half < BLOCK; half += HALF) {
        mb_lanes16 r[HALF];
        if (whole) {
            const mb_bf16 *from = (const mb_bf16 *)f->data + (row + half) * f->stride + column;
            for (int64_t i = 0; i < HALF; i++) {
                mb_load16(&r[i], from + i * f->stride);
            }
        } else {
            for (int64_t i = 0; i < HALF; i++) {
                mb_load16(&r[i], half + i < n_rows ? row_of(f, row + half + i, column, n_columns, scratch) : zeros);
            }
        }
        mb_transpose16(r);
        for (int64_t i = 0; i < HALF; i++) {
            put_line(f, pairs + (half + i) * HALF, &r[i]);
        }
    }
}

/* 32 columns of B from `column` on. */
static void pack_panel(const mb_bf16_factor *b, int64_t k, int64_t n, int64_t column, mb_bf16 *panel) {
    const int64_t n_columns = n - column < BLOCK ? n - column : BLOCK;
    for (int64_t p = 0; p < k; p += BLOCK) {
        const int64_t depth = k - p < BLOCK ? k - p : BLOCK;
        uint32_t *pairs = (uint32_t *)(void *)(panel + p * BLOCK);
        if (b->transposed) {
            transpose_pairs(b, column, n_columns, p, depth, pairs);
        } else {
            interleave(b, p, depth, column, n_columns, pairs);
        }
    }
}

/* A B that lies in memory as it is, two rows at a time from end to end: panel by panel, each line of a row would be a miss of
 * its own (x of a dW that comes from memory: 0.39 ns a number; this: 0.1). */
static void pack_rows(const mb_bf16_factor *b, int64_t k, int64_t n, int64_t depth, mb_bf16 *packed) {
    const int64_t whole = !b->is_real ? n / BLOCK * BLOCK : 0;
    for (int64_t row = 0; row < mb_bf16_padded(k); row += 2) {
        mb_bf16 *to = packed + row / BLOCK * BLOCK * BLOCK + row % BLOCK * HALF;
        int64_t column = 0;
        for (; row + 1 < k && column < whole; column += BLOCK) {
            const mb_bf16 *even = (const mb_bf16 *)b->data + row * b->stride + column;
            interleave_lines(b, even, even + b->stride, (uint32_t *)(void *)(to + column * depth));
        }
        for (; column < n; column += BLOCK) {
            const int64_t n_columns = n - column < BLOCK ? n - column : BLOCK;
            interleave_two(b, row, k, column, n_columns, (uint32_t *)(void *)(to + column * depth));
        }
    }
}

void mb_bf16_pack(const mb_bf16_factor *b, int64_t k, int64_t n, int64_t depth, mb_bf16 *packed) {
    if (!b->transposed) {
        pack_rows(b, k, n, depth, packed);
        return;
    }
    for (int64_t column = 0; column < n; column += BLOCK) {
        pack_panel(b, k, n, column, packed + column * depth);
    }
}

void mb_bf16_pack_parallel(const mb_bf16_factor *b, int64_t k, int64_t n, mb_bf16 *packed) {
    const int64_t depth = mb_bf16_padded(k);
#pragma omp parallel for schedule(static)
    for (int64_t column = 0; column < n; column += BLOCK) {
        pack_panel(b, k, n, column, packed + column * depth);
    }
}

/* op(A)'s rows [row, row + 32), columns [p, p + n), 32 of them after the other: rows `stride` apart, a chunk of 32 columns
 * `chunk` after the one before; zeros beyond the factor. */
static void unfold_rows(const mb_bf16_factor *a, int64_t m, int64_t k, int64_t row, int64_t p, int64_t n, int64_t stride,
                        int64_t chunk, mb_bf16 *rows) {
    const int64_t n_rows = m - row < BLOCK ? m - row : BLOCK;
    for (int64_t q = p; q < p + n; q += BLOCK) {
        const int64_t depth = k - q < BLOCK ? k - q : BLOCK;
        mb_bf16 *to = rows + (q - p) / BLOCK * chunk;
        if (!a->transposed) {
            mb_bf16 scratch[BLOCK];
            for (int64_t i = 0; i < BLOCK; i++) {
                memcpy(to + i * stride, i < n_rows ? row_of(a, row + i, q, depth, scratch) : zeros, sizeof scratch);
            }
            continue;
        }
        alignas(64) uint32_t pairs[HALF * BLOCK];
        interleave(a, q, depth, row, n_rows, pairs); /* memory's rows are op(A)'s columns */
        for (int64_t half = 0; half < BLOCK; half += HALF) {
            mb_lanes16 r[HALF];
            for (int64_t i = 0; i < HALF; i++) {
                mb_load16(&r[i], pairs + (half + i) * HALF);
            }
            mb_transpose16(r);
            for (int64_t i = 0; i < HALF; i++) {
                mb_store16(to + (half + i) * stride, &r[i]);
            }
        }
    }
}

void mb_bf16_unfold(const mb_bf16_factor *a, int64_t m, int64_t k, int64_t stride, mb_bf16 *rows) {
    for (int64_t row = 0; row < m; row += BLOCK) {
        unfold_rows(a, m, k, row, 0, mb_bf16_padded(k), stride, BLOCK, rows + row * stride);
    }
}

void mb_bf16_tile(const mb_bf16_factor *a, int64_t m, int64_t k, int64_t depth, mb_bf16 *tiles) {
    for (int64_t row = 0; row < m; row += BLOCK) {
        unfold_rows(a, m, k, row, 0, mb_bf16_padded(k), BLOCK, BLOCK * BLOCK, tiles + row * depth);
    }
}

/* --- products --- */

typedef struct product {
    int64_t m, n, k, padded_k;
    const mb_bf16_factor *a;
    mb_bf16_packed b;
    mb_bf16_output out;
    const mb_bf16_kernel *kernel;
} product;

static int64_t rows_of_block(const product *p, int64_t row) {
    return p->m - row < BLOCK ? p->m - row : BLOCK;
}
static int64_t columns_of_block(const product *p, int64_t column) {
    return p->n - column < BLOCK ? p->n - column : BLOCK;
}

/* Rows [row, row + 32) times columns [first, end), the rows being where the kernel can read them. */
static void multiply_lines(const product *p, mb_bf16_lines lines, int64_t row, int64_t first, int64_t end) {
    alignas(64) float sums[BLOCK * BLOCK];
    const int64_t n_rows = rows_of_block(p, row);
    for (int64_t column = first; column < end; column += BLOCK) {
        p->kernel->block(p->padded_k, lines, n_rows, p->b.data + column * p->b.depth, false, sums, NULL);
        p->out.take(p->out.context, sums, row, n_rows, column, columns_of_block(p, column));
    }
}

/* The same, but a block is made while the one before it is handed on. */
static void multiply_lines_overlapped(const product *p, mb_bf16_lines lines, int64_t row, int64_t first, int64_t end) {
    alignas(64) float sums[2][BLOCK * BLOCK];
    const int64_t n_rows = rows_of_block(p, row);
    mb_bf16_finished before = {.out = p->out, .row = row, .n_rows = n_rows, .next = n_rows};
    int made = 0;
    for (int64_t column = first; column < end; column += BLOCK, made ^= 1) {
        p->kernel->block(p->padded_k, lines, n_rows, p->b.data + column * p->b.depth, false, sums[made], &before);
        mb_bf16_hand_on(&before, BLOCK);
        before.sums = sums[made];
        before.column = column;
        before.n_columns = columns_of_block(p, column);
        before.next = 0;
    }
    mb_bf16_hand_on(&before, BLOCK);
}

/* The same by way of a copy in `scratch`, 32 rows of at most `most` columns. */
static inline void multiply_copied(const product *p, int64_t row, int64_t first, int64_t end, mb_bf16 *scratch, int64_t most) {
    alignas(64) float sums[BLOCK * BLOCK];
    const int64_t n_rows = rows_of_block(p, row);
    if (p->padded_k <= most) {
        unfold_rows(p->a, p->m, p->k, row, 0, p->padded_k, p->padded_k, BLOCK, scratch);
        multiply_lines(p, (mb_bf16_lines){scratch, p->padded_k, BLOCK}, row, first, end);
        return;
    }
    for (int64_t column = first; column < end; column += BLOCK) {
        const mb_bf16 *panel = p->b.data + column * p->b.depth;
        for (int64_t q = 0; q < p->padded_k; q += most) {
            const int64_t depth = p->padded_k - q < most ? p->padded_k - q : most;
            unfold_rows(p->a, p->m, p->k, row, q, depth, most, BLOCK, scratch);
            p->kernel->block(depth, (mb_bf16_lines){scratch, most, BLOCK}, n_rows, panel + q * BLOCK, q > 0, sums, NULL);
        }
        p->out.take(p->out.context, sums, row, n_rows, column, columns_of_block(p, column));
    }
}

/* Functions of their own: kilobytes of stack are not free where each page of them is probed. */
__attribute__((noinline)) static void multiply_unfolded(const product *p, int64_t row, int64_t first, int64_t end) {
    alignas(64) mb_bf16 scratch[BLOCK * K_SCRATCH];
    multiply_copied(p, row, first, end, scratch, K_SCRATCH);
}

__attribute__((noinline)) static void multiply_deep_unfolded(const product *p, int64_t row, int64_t first, int64_t end) {
    alignas(64) mb_bf16 scratch[BLOCK * K_DEEP_SCRATCH];
    multiply_copied(p, row, first, end, scratch, K_DEEP_SCRATCH);
}

/* Of a product that is not deep the sums come too soon to be spread over its steps (attention's took a twentieth more). */
enum { OVERLAPPED_DEPTH = 256 };

static void multiply_row_block(const product *p, int64_t row, int64_t first, int64_t end) {
    const mb_bf16_factor *a = p->a;
    const mb_bf16 *from = (const mb_bf16 *)a->data + row * a->stride;
    if (a->tiled) {
        multiply_lines(p, (mb_bf16_lines){from, BLOCK, BLOCK * BLOCK}, row, first, end);
    } else if (!a->transposed && !a->is_real && (a->is_padded || (p->k == p->padded_k && p->m - row >= BLOCK))) {
        const mb_bf16_lines lines = {from, a->stride, BLOCK};
        if (p->out.in_parts && p->padded_k >= OVERLAPPED_DEPTH) {
            multiply_lines_overlapped(p, lines, row, first, end);
        } else {
            multiply_lines(p, lines, row, first, end);
        }
    } else if (p->padded_k <= K_SCRATCH) {
        multiply_unfolded(p, row, first, end);
    } else {
        multiply_deep_unfolded(p, row, first, end);
    }
}

static product product_of(int64_t m, int64_t n, int64_t k, const mb_bf16_factor *a, mb_bf16_packed b, mb_bf16_output out) {
    return (product){m, n, k, mb_bf16_padded(k), a, b, out, mb_bf16_choose_kernel()};
}

void mb_bf16_gemm(int64_t m, int64_t n, int64_t k, const mb_bf16_factor *a, mb_bf16_packed b, mb_bf16_output out) {
    const product p = product_of(m, n, k, a, b, out);
    p.kernel->begin();
    for (int64_t row = 0; row < m; row += BLOCK) {
        multiply_row_block(&p, row, 0, n);
    }
    p.kernel->end();
}

/* A deep product whose A lies in tiles (a dW): an area of C is summed up by parts of the depth, so that 32 rows of A's part
 * stay in the first-level cache and both factors' parts and the sums in the second. Block by block from end to end the factors
 * come from beyond it again and again: linear's backward of a mini, 4096 rows, took a seventh longer (Emerald Rapids). */
enum { AREA_ROWS = 256, AREA_COLUMNS = 256, AREA_DEPTH = 256, DEEP = 4 * AREA_DEPTH };

__attribute__((noinline)) static void multiply_area(const product *p, int64_t first_row, int64_t first, int64_t end) {
    alignas(64) float sums[AREA_ROWS * AREA_COLUMNS];
    const int64_t end_row = p->m - first_row < AREA_ROWS ? p->m : first_row + AREA_ROWS;
    p->kernel->begin();
    for (int64_t q = 0; q < p->padded_k; q += AREA_DEPTH) {
        const int64_t depth = p->padded_k - q < AREA_DEPTH ? p->padded_k - q : AREA_DEPTH;
        for (int64_t row = first_row; row < end_row; row += BLOCK) {
            const mb_bf16 *a = (const mb_bf16 *)p->a->data + row * p->a->stride + q * BLOCK;
            const int64_t n_rows = rows_of_block(p, row);
            for (int64_t column = first; column < end; column += BLOCK) {
                float *block = sums + (row - first_row) * AREA_COLUMNS + (column - first) * BLOCK;
                p->kernel->block(depth, (mb_bf16_lines){a, BLOCK, BLOCK * BLOCK}, n_rows,
                                 p->b.data + column * p->b.depth + q * BLOCK, q > 0, block, NULL);
                if (q + depth == p->padded_k) {
                    p->out.take(p->out.context, block, row, n_rows, column, columns_of_block(p, column));
                }
            }
        }
    }
    p->kernel->end();
}

/* Areas of nearly one size, an even number of them. */
static int64_t width_of_areas(int64_t n) {
    const int64_t n_areas = (n + 2 * AREA_COLUMNS - 1) / (2 * AREA_COLUMNS) * 2;
    return mb_bf16_padded((n + n_areas - 1) / n_areas);
}

static void multiply_areas_parallel(const product *p) {
    const int64_t width = width_of_areas(p->n);
#pragma omp parallel for schedule(dynamic) collapse(2)
    for (int64_t row = 0; row < p->m; row += AREA_ROWS) {
        for (int64_t column = 0; column < p->n; column += width) {
            multiply_area(p, row, column, p->n - column < width ? p->n : column + width);
        }
    }
}

void mb_bf16_gemm_parallel(int64_t m, int64_t n, int64_t k, const mb_bf16_factor *a, mb_bf16_packed b, mb_bf16_output out) {
    const product p = product_of(m, n, k, a, b, out);
    const int64_t n_areas = (m + AREA_ROWS - 1) / AREA_ROWS * ((n + width_of_areas(n) - 1) / width_of_areas(n));
    if (a->tiled && p.padded_k >= DEEP && n_areas >= omp_get_max_threads()) {
        multiply_areas_parallel(&p);
        return;
    }
    const bool large = m >= 4 * LARGE_ROW_GROUP && sysconf(_SC_LEVEL2_CACHE_SIZE) >= LARGE_CACHE;
    const int64_t many = large ? LARGE_ROW_GROUP : ROW_GROUP, group = m >= 4 * many ? many : SMALL_GROUP;
    const int64_t fit = (large ? LARGE_B_ELEMENTS : B_ELEMENTS) / p.padded_k / BLOCK * BLOCK, width = fit > BLOCK ? fit : BLOCK;
#pragma omp parallel for schedule(dynamic) collapse(2)
    for (int64_t first_row = 0; first_row < m; first_row += group) {
        for (int64_t first = 0; first < n; first += width) {
            const int64_t end_row = m - first_row < group ? m : first_row + group, end = n - first < width ? n : first + width;
            p.kernel->begin();
            for (int64_t row = first_row; row < end_row; row += BLOCK) {
                multiply_row_block(&p, row, first, end);
            }
            p.kernel->end();
        }
    }
}

/* --- outputs --- */

static const mb_real no_bias[BLOCK];

MB_SPECIALIZED void to_real_rows(const mb_bf16_store *store, const float *sums, const mb_real *restrict bias, mb_real *c,
                                 int64_t n_rows, int64_t n) {
    const mb_real alpha = (mb_real)store->alpha, beta = (mb_real)store->beta;
    for (int64_t i = 0; i < n_rows; i++) {
        const float *restrict from = sums + i * BLOCK;
        mb_real *restrict to = c + i * store->stride;
        if (beta == 0) {
            for (int64_t j = 0; j < n; j++) {
                to[j] = alpha * (mb_real)from[j] + bias[j];
            }
        } else {
            for (int64_t j = 0; j < n; j++) {
                to[j] = alpha * (mb_real)from[j] + bias[j] + beta * to[j];
            }
        }
    }
}

static void store_real(void *context, const float *sums, int64_t row, int64_t n_rows, int64_t column, int64_t n_columns) {
    const mb_bf16_store *store = context;
    const mb_real *bias = store->bias == NULL ? no_bias : store->bias + column;
    mb_real *c = (mb_real *)store->c + row * store->stride + column;
    MB_FOR_WHOLE(to_real_rows, BLOCK, n_columns, store, sums, bias, c, n_rows);
}

MB_SPECIALIZED void to_bf16_rows(const mb_bf16_store *store, const float *sums, const mb_real *restrict bias, mb_bf16 *c,
                                 int64_t n_rows, int64_t n) {
    const mb_real alpha = (mb_real)store->alpha, beta = (mb_real)store->beta;
    for (int64_t i = 0; i < n_rows; i++) {
        const float *restrict from = sums + i * BLOCK;
        mb_bf16 *restrict to = c + i * store->stride;
        mb_prefetch_write(to + BLOCK, BLOCK * sizeof *to); /* of the next block */
        mb_real values[BLOCK], before[BLOCK];
        for (int64_t j = 0; j < n; j++) {
            values[j] = alpha * (mb_real)from[j] + bias[j];
        }
        if (beta != 0) {
            mb_bf16_read(to, n, before);
            for (int64_t j = 0; j < n; j++) {
                values[j] += beta * before[j];
            }
        }
        mb_bf16_write(values, n, to);
    }
}

static void store_bf16(void *context, const float *sums, int64_t row, int64_t n_rows, int64_t column, int64_t n_columns) {
    const mb_bf16_store *store = context;
    const mb_real *bias = store->bias == NULL ? no_bias : store->bias + column;
    mb_bf16 *c = (mb_bf16 *)store->c + row * store->stride + column;
    MB_FOR_WHOLE(to_bf16_rows, BLOCK, n_columns, store, sums, bias, c, n_rows);
}

/* The transpose of a block of sums. */
static void turn_sums(const float *sums, float *turned) {
    for (int64_t i = 0; i < BLOCK; i += HALF) {
        for (int64_t j = 0; j < BLOCK; j += HALF) {
            mb_lanes16 square[HALF];
            for (int64_t r = 0; r < HALF; r++) {
                mb_load16(&square[r], sums + (i + r) * BLOCK + j);
            }
            mb_transpose16(square);
            for (int64_t r = 0; r < HALF; r++) {
                mb_store16(turned + (j + r) * BLOCK + i, &square[r]);
            }
        }
    }
}

static void store_real_transposed(void *context, const float *sums, int64_t row, int64_t n_rows, int64_t column,
                                  int64_t n_columns) {
    alignas(64) float turned[BLOCK * BLOCK];
    turn_sums(sums, turned);
    store_real(context, turned, column, n_columns, row, n_rows);
}

static void store_bf16_transposed(void *context, const float *sums, int64_t row, int64_t n_rows, int64_t column,
                                  int64_t n_columns) {
    alignas(64) float turned[BLOCK * BLOCK];
    turn_sums(sums, turned);
    store_bf16(context, turned, column, n_columns, row, n_rows);
}

mb_bf16_output mb_bf16_to_real(mb_bf16_store *store) {
    return (mb_bf16_output){store_real, store, .in_parts = true};
}

mb_bf16_output mb_bf16_to_bf16(mb_bf16_store *store) {
    return (mb_bf16_output){store_bf16, store, .in_parts = true};
}

mb_bf16_output mb_bf16_to_real_transposed(mb_bf16_store *store) {
    return (mb_bf16_output){store_real_transposed, store, .in_parts = false};
}

mb_bf16_output mb_bf16_to_bf16_transposed(mb_bf16_store *store) {
    return (mb_bf16_output){store_bf16_transposed, store, .in_parts = false};
}
