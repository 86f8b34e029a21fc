#include "tasks/top_k.h"

#include <stdbool.h>
#include <stdlib.h>

static bool is_worse(mb_scored a, mb_scored b) {
    return a.score < b.score || (!(a.score > b.score) && a.index > b.index);
}

mb_status mb_top_k_init(mb_top_k *top, int64_t k, mb_error *error) {
    *top = (mb_top_k){.items = calloc((size_t)k, sizeof *top->items), .k = k};
    return top->items ? MB_OK : mb_fail(error, MB_ERROR_MEMORY, "out of memory for the %lld best", (long long)k);
}

void mb_top_k_free(mb_top_k *top) {
    free(top->items);
    *top = (mb_top_k){0};
}

static void sink(mb_top_k *top, int64_t at) {
    const mb_scored item = top->items[at];
    while (2 * at + 1 < top->n) {
        int64_t child = 2 * at + 1;
        if (child + 1 < top->n && is_worse(top->items[child + 1], top->items[child])) {
            child++;
        }
        if (!is_worse(top->items[child], item)) {
            break;
        }
        top->items[at] = top->items[child];
        at = child;
    }
    top->items[at] = item;
}

static void rise(mb_top_k *top, int64_t at) {
    const mb_scored item = top->items[at];
    while (at > 0 && is_worse(item, top->items[(at - 1) / 2])) {
        top->items[at] = top->items[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    top->items[at] = item;
}

void mb_top_k_offer(mb_top_k *top, double score, int64_t index) {
    const mb_scored item = {.score = score, .index = index};
    if (top->n < top->k) {
        top->items[top->n] = item;
        rise(top, top->n++);
    } else if (is_worse(top->items[0], item)) {
        top->items[0] = item;
        sink(top, 0);
    }
}

static int compare_best_first(const void *left, const void *right) {
    const mb_scored *a = left, *b = right;
    return is_worse(*b, *a) ? -1 : is_worse(*a, *b);
}

void mb_top_k_sort(mb_top_k *top) {
    qsort(top->items, (size_t)top->n, sizeof *top->items, compare_best_first);
}
