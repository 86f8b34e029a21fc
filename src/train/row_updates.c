#include "train/row_updates.h"

#include <stdlib.h>
#include <string.h>

/* How many updates a row may miss before the whole table is brought up to date: what bounds the list of them. */
enum { MAX_MISSED = 512 };
/* Elements that go through all missed updates at once: they stay in the first-level cache, and their chains of additions run
 * side by side. */
enum { CHUNK = 128 };

mb_status mb_row_updates_init(mb_row_updates *rows, const mb_params *params, size_t view, bool moments_are_zero,
                              mb_error *error) {
    const mb_param *table = &params->views[view];
    const size_t n = (size_t)table->dims[0];
    *rows = (mb_row_updates){.view = view, .offset = table->offset, .n_rows = table->dims[0], .width = table->dims[1]};
    rows->missed = calloc(MAX_MISSED, sizeof *rows->missed);
    rows->done = calloc(n, sizeof *rows->done);
    rows->has_moments = calloc(n, sizeof *rows->has_moments);
    rows->is_touched = calloc(n, sizeof *rows->is_touched);
    rows->touched = calloc(n, sizeof *rows->touched);
    if (rows->missed == NULL || rows->done == NULL || rows->has_moments == NULL || rows->is_touched == NULL ||
        rows->touched == NULL) {
        mb_row_updates_free(rows);
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the optimizer");
    }
    memset(rows->has_moments, !moments_are_zero, n * sizeof *rows->has_moments);
    return MB_OK;
}

void mb_row_updates_free(mb_row_updates *rows) {
    free(rows->missed);
    free(rows->done);
    free(rows->has_moments);
    free(rows->is_touched);
    free(rows->touched);
    *rows = (mb_row_updates){0};
}

/* --- missed updates --- */

/* Without moments weight decay is all there is: w d1 d2 ..., each product rounded, as w d - 0 is. */
static void decay_chunk(int64_t n, mb_real *restrict w, const mb_adamw_factors *missed, int32_t n_missed) {
    mb_real weights[CHUNK] = {0};
    memcpy(weights, w, (size_t)n * sizeof *w);
    for (int32_t s = 0; s < n_missed; s++) {
        const mb_real decay = missed[s].decay;
#pragma omp simd
        for (int64_t i = 0; i < CHUNK; i++) {
            weights[i] *= decay;
        }
    }
    memcpy(w, weights, (size_t)n * sizeof *w);
}

static void replay_chunk(int64_t n, mb_real *restrict w, mb_real *restrict m, mb_real *restrict v,
                         const mb_adamw_factors *missed, int32_t n_missed) {
    mb_real weights[CHUNK] = {0}, moments1[CHUNK] = {0}, moments2[CHUNK] = {0};
    const size_t n_bytes = (size_t)n * sizeof *w;
    memcpy(weights, w, n_bytes);
    memcpy(moments1, m, n_bytes);
    memcpy(moments2, v, n_bytes);
    for (int32_t s = 0; s < n_missed; s++) {
        const mb_adamw_factors c = missed[s];
#pragma omp simd
        for (int64_t i = 0; i < CHUNK; i++) {
            mb_adamw_element(&weights[i], 0, &moments1[i], &moments2[i], &c);
        }
    }
    memcpy(w, weights, n_bytes);
    memcpy(m, moments1, n_bytes);
    memcpy(v, moments2, n_bytes);
}

static void catch_up_row(mb_row_updates *rows, int64_t row, mb_real *weights, mb_real *moment1, mb_real *moment2) {
    const mb_adamw_factors *missed = rows->missed + rows->done[row];
    const int32_t n_missed = rows->n_missed - rows->done[row];
    for (int64_t i = 0; n_missed > 0 && i < rows->width; i += CHUNK) {
        const int64_t n = rows->width - i < CHUNK ? rows->width - i : CHUNK, at = rows->offset + row * rows->width + i;
        if (rows->has_moments[row]) {
            replay_chunk(n, weights + at, moment1 + at, moment2 + at, missed, n_missed);
        } else {
            decay_chunk(n, weights + at, missed, n_missed);
        }
    }
    rows->done[row] = rows->n_missed;
}

void mb_row_updates_catch_up(mb_row_updates *rows, mb_params *params, mb_real *moment1, mb_real *moment2) {
#pragma omp parallel for schedule(dynamic, 64)
    for (int64_t row = 0; row < rows->n_rows; row++) {
        catch_up_row(rows, row, params->weights, moment1, moment2);
        rows->done[row] = 0;
    }
    rows->n_missed = 0;
}

/* --- a step --- */

void mb_row_updates_touch(mb_row_updates *rows, mb_params *params, mb_real *moment1, mb_real *moment2, const int32_t *ids,
                          int64_t n_ids) {
    const int64_t n_before = rows->n_touched;
    for (int64_t i = 0; i < n_ids; i++) {
        if (!rows->is_touched[ids[i]]) {
            rows->is_touched[ids[i]] = true;
            rows->touched[rows->n_touched++] = ids[i];
        }
    }
#pragma omp parallel for schedule(dynamic, 8)
    for (int64_t i = n_before; i < rows->n_touched; i++) {
        catch_up_row(rows, rows->touched[i], params->weights, moment1, moment2);
    }
}

void mb_row_updates_update(mb_row_updates *rows, mb_params *params, mb_real *moment1, mb_real *moment2,
                           const mb_adamw_factors *factors) {
    rows->missed[rows->n_missed++] = *factors;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows->n_touched; i++) {
        const int32_t row = rows->touched[i];
        const int64_t at = rows->offset + row * rows->width;
        mb_adamw_update(rows->width, params->weights + at, params->grads + at, moment1 + at, moment2 + at, factors);
        rows->done[row] = rows->n_missed;
        rows->has_moments[row] = true;
        rows->is_touched[row] = false;
    }
    rows->n_touched = 0;
    if (rows->n_missed == MAX_MISSED) {
        mb_row_updates_catch_up(rows, params, moment1, moment2);
    }
}

int64_t mb_row_updates_zeros(const mb_row_updates *rows, int64_t at) {
    if (at < rows->offset || at >= rows->offset + rows->n_rows * rows->width) {
        return 0;
    }
    int64_t row = (at - rows->offset) / rows->width;
    while (row < rows->n_rows && !rows->is_touched[row]) {
        row++;
    }
    const int64_t end = rows->offset + row * rows->width;
    return end > at ? end - at : 0;
}
