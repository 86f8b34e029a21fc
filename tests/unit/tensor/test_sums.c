#include <criterion/criterion.h>

#include "tensor/sums.h"

enum { LONGEST = 100 };

/* Whole numbers small enough that every order of additions gives the same sum. */
Test(sums, every_length_and_address) {
    mb_real x[LONGEST + 1], y[LONGEST + 1];
    for (int i = 0; i <= LONGEST; i++) {
        x[i] = (mb_real)(i * 37 % 101 - 50);
        y[i] = (mb_real)(i * 53 % 89 - 40);
    }
    for (int begin = 0; begin < 2; begin++) {
        double sum = 0, dot = 0, squares = 0;
        for (int n = 0; n + begin <= LONGEST; n++) {
            cr_expect_eq((double)mb_sum(x + begin, n), sum, "sum of %d", n);
            cr_expect_eq((double)mb_dot(x + begin, y, n), dot, "dot of %d", n);
            cr_expect_eq((double)mb_sum_of_squares(x + begin, n, 3), squares, "squares of %d", n);
            const double at = (double)x[begin + n];
            sum += at;
            dot += at * (double)y[n];
            squares += (at - 3) * (at - 3);
        }
    }
}
