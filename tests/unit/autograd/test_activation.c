#include <criterion/criterion.h>
#include <math.h>

#include "autograd/ops/activation.h"

static double cdf(double x) {
    return 0.5 * erfc(-x / sqrt(2));
}
static double density(double x) {
    return exp(-x * x / 2) / sqrt(2 * acos(-1));
}

/* Within what its comment states, far out too. */
Test(activation, gelu_for_bf16) {
    for (double x = -40; x <= 40; x += 1.0 / 512) {
        mb_real slope;
        const double y = (double)mb_gelu_bf16((mb_real)x, &slope);
        cr_assert(fabs(y - x * cdf(x)) < 9e-5, "f(%g): %g, not %g", x, y, x * cdf(x));
        cr_assert(fabs((double)slope - (cdf(x) + x * density(x))) < 3e-4, "f'(%g): %g", x, (double)slope);
    }
    mb_real slope;
    cr_expect(isnan(mb_gelu_bf16((mb_real)NAN, &slope)));
}
