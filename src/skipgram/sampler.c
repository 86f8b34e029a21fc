#include "skipgram/sampler.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

void mb_alias_table_free(mb_alias_table *table) {
    free(table->entries);
    *table = (mb_alias_table){0};
}

/* weight: mean 1. Each entry below 1 is filled up from one above 1 (Vose 1991). */
static void fill(mb_alias_table *table, double *weight, uint32_t *stack) {
    const uint32_t n = table->n;
    uint32_t n_small = 0, n_large = 0; /* the stack's small ones grow from its beginning, the large ones from its end */
    for (uint32_t i = 0; i < n; i++) {
        if (weight[i] < 1) {
            stack[n_small++] = i;
        } else {
            stack[n - ++n_large] = i;
        }
    }
    while (n_small > 0 && n_large > 0) {
        const uint32_t small = stack[--n_small], large = stack[n - n_large];
        table->entries[small] = (mb_alias_entry){(uint32_t)fmin(weight[small] * 0x1p32, UINT32_MAX), large};
        weight[large] -= 1 - weight[small];
        if (weight[large] < 1) {
            n_large--;
            stack[n_small++] = large;
        }
    }
    while (n_small > 0) { /* what rounding left over */
        const uint32_t i = stack[--n_small];
        table->entries[i] = (mb_alias_entry){UINT32_MAX, i};
    }
    while (n_large > 0) {
        const uint32_t i = stack[n - n_large--];
        table->entries[i] = (mb_alias_entry){UINT32_MAX, i};
    }
}

mb_status mb_alias_table_init(mb_alias_table *table, const int64_t *counts, int64_t n, double exponent, mb_error *error) {
    *table = (mb_alias_table){.entries = calloc((size_t)n, sizeof *table->entries), .n = (uint32_t)n};
    double *weight = calloc((size_t)n, sizeof *weight);
    uint32_t *stack = malloc((size_t)n * sizeof *stack);
    const bool fine = table->entries && weight && stack;
    if (fine) {
        double total = 0;
        for (uint32_t i = 0; i < table->n; i++) {
            weight[i] = pow((double)(counts[i] > 0 ? counts[i] : 1), exponent);
            total += weight[i];
        }
        for (uint32_t i = 0; i < table->n; i++) {
            weight[i] *= (double)n / total;
        }
        fill(table, weight, stack);
    }
    free(weight);
    free(stack);
    if (!fine) {
        mb_alias_table_free(table);
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the distribution of %lld words", (long long)n);
    }
    return MB_OK;
}

void mb_keep_thresholds(const int64_t *counts, int64_t n, int64_t n_total, double sample, uint32_t *out) {
    for (int64_t i = 0; i < n; i++) {
        const double ratio = counts[i] > 0 ? sample * (double)n_total / (double)counts[i] : 1;
        const double probability = sample > 0 ? sqrt(ratio) + ratio : 1;
        out[i] = probability >= 1 ? UINT32_MAX : (uint32_t)(probability * 0x1p32);
    }
}
