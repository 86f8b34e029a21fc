#include "tensor/tensor.h"

#include <stdio.h>
#include <stdlib.h>

static void print_shape(const mb_tensor *t) {
    (void)fputc('(', stderr);
    for (int i = 0; t != NULL && i < t->n_dims; i++) {
        fprintf(stderr, i == 0 ? "%lld" : ",%lld", (long long)t->dims[i]);
    }
    (void)fputc(')', stderr);
}

void mb_shape_abort(const char *op, const char *expected, const mb_tensor *a, const mb_tensor *b) {
    fprintf(stderr, "minibert: bug: %s expects %s, got ", op, expected);
    print_shape(a);
    (void)fputs(" and ", stderr);
    print_shape(b);
    (void)fputc('\n', stderr);
    abort();
}
