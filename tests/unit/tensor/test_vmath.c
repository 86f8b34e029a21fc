#include <criterion/criterion.h>
#include <math.h>

#include "tensor/vmath.h"

/* The errors that vmath.h states, against libm in double over a fine grid. */

Test(vmath, exp_is_accurate_to_its_stated_error) {
    double worst = 0;
    for (double x = -87; x <= 88; x += 0.0007) {
        float in = (float)x;
        worst = fmax(worst, fabs((double)mb_exp(in) / exp((double)in) - 1));
    }
    cr_expect(worst < 2e-7, "relative error %.3g", worst);
}

Test(vmath, exp_saturates_below_without_denormals_and_keeps_nan) {
    cr_expect(mb_exp(-1e30f) > 0 && mb_exp(-1e30f) < 1.7e-38f);
    cr_expect(mb_exp(-INFINITY) > 0 && mb_exp(-INFINITY) < 1.7e-38f);
    cr_expect(isnan(mb_exp(NAN)));
    cr_expect_eq(mb_exp(0), 1);
}

Test(vmath, normal_cdf_and_density) {
    double worst_cdf = 0, worst_density = 0;
    for (double x = -9; x <= 9; x += 0.0003) {
        float in = (float)x, density, cdf = mb_normal_cdf(in, &density);
        worst_cdf = fmax(worst_cdf, fabs((double)cdf - 0.5 * erfc(-(double)in / sqrt(2))));
        worst_density = fmax(worst_density, fabs((double)density - exp(-0.5 * (double)in * (double)in) / sqrt(2 * M_PI)));
    }
    cr_expect(worst_cdf < 1.5e-7, "%.3g", worst_cdf);
    cr_expect(worst_density < 1e-7, "%.3g", worst_density);
}

Test(vmath, normal_cdf_far_out) {
    float density;
    for (float x = 9; x < 1e30f; x *= 1.5f) {
        cr_expect(mb_normal_cdf(-x, &density) >= 0 && mb_normal_cdf(-x, &density) < 1e-15f, "%g", (double)x);
        cr_expect_eq(mb_normal_cdf(x, &density), 1, "%g", (double)x);
    }
    const float cdf = mb_normal_cdf(NAN, &density);
    cr_expect(isnan(cdf) && isnan(density));
}

Test(vmath, tanh_is_accurate_near_zero_too) {
    double worst = 0;
    for (double x = -12; x <= 12; x += 0.00031) {
        float in = (float)x;
        worst = fmax(worst, fabs((double)mb_tanh(in) / tanh((double)in) - 1));
    }
    cr_expect(worst < 1e-6, "relative error %.3g", worst);
    cr_expect_eq(mb_tanh(0), 0);
}
