#include "model/rotary.h"

#include <math.h>
#include <stdlib.h>

mb_status mb_rotary_new(int64_t n_positions, int64_t head_size, double theta, mb_rotary_table *out, mb_error *error) {
    const int64_t half = head_size / 2, count = n_positions * half;
    mb_real *numbers = malloc(2 * (size_t)count * sizeof *numbers);
    *out = (mb_rotary_table){0};
    if (!numbers) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the rotary angles of %lld positions", (long long)n_positions);
    }
    mb_real *sines = numbers + count;
#pragma omp parallel for schedule(static)
    for (int64_t j = 0; j < half; j++) {
        const float frequency = (float)(1 / (float)pow(theta, (double)(2 * j) / (double)head_size));
        for (int64_t p = 0; p < n_positions; p++) {
            const float angle = (float)p * frequency;
            numbers[p * half + j] = (mb_real)(float)cos((double)angle);
            sines[p * half + j] = (mb_real)(float)sin((double)angle);
        }
    }
    *out = (mb_rotary_table){n_positions, half, numbers, sines};
    return MB_OK;
}

void mb_rotary_free(mb_rotary_table *table) {
    free((void *)(uintptr_t)table->cosines);
    *table = (mb_rotary_table){0};
}
