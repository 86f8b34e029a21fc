/* Optimal string alignment distance (Damerau-Levenshtein without repeated edits of one substring): insert, delete, replace,
 * and swap of two neighbours each cost 1, which is what typing errors are made of. */
#include "base/nearest.h"

#include <stdbool.h>
#include <string.h>

enum { MAX_NAME = 64 };

static size_t min_of(size_t a, size_t b) {
    return a < b ? a : b;
}

static bool same(char a, char b) {
    return (a == '_' ? '-' : a) == (b == '_' ? '-' : b);
}

/* SIZE_MAX for names too long to be one of ours. */
static size_t edit_distance(const char *a, const char *b) {
    const size_t n_a = strlen(a), n_b = strlen(b);
    if (n_a > MAX_NAME || n_b > MAX_NAME) {
        return (size_t)-1;
    }
    size_t rows[3][MAX_NAME + 1]; /* the rows i-2, i-1 and i of the table */
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= n_b; j++) {
        above[j] = j;
        before[j] = 0;
    }
    for (size_t i = 1; i <= n_a; i++) {
        row[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            const size_t replace = above[j - 1] + (same(a[i - 1], b[j - 1]) ? 0 : 1);
            row[j] = min_of(replace, min_of(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1])) {
                row[j] = min_of(row[j], before[j - 2] + 1);
            }
        }
        size_t *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[n_b];
}

const char *mb_nearest_name(const char *wanted, const char *const *names, size_t n) {
    const size_t length = strlen(wanted);
    const size_t limit = length < 3 ? 1 : min_of(2 + length / 8, (length + 2) / 3);
    const char *best = NULL;
    size_t best_distance = limit + 1;
    for (size_t i = 0; i < n; i++) {
        if (!names[i]) {
            continue;
        }
        const size_t distance = edit_distance(wanted, names[i]);
        if (distance < best_distance) {
            best_distance = distance;
            best = names[i];
        }
    }
    return best;
}
