#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "autograd/ops/activation.h"
#include "tensor/bf16.h"

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

/* (rows, 2 width) on a bf16 tape: each result is within its rounding and what mb_gelu_bf16 states of f(left) right. */
Test(activation, gated_in_bf16) {
    enum { ROWS = 5, WIDTH = 50, COUNT = ROWS * WIDTH };
    const double step = 1.0 / 256, value_error = 9e-5, slope_error = 3e-4;
    mb_tape *tape = mb_tape_new(true);
    mb_tape_begin(tape, 0, 0);
    mb_tape_set_dtype(tape, MB_BF16);
    mb_tensor *z = mb_tape_tensor(tape, 2, (int64_t[]){ROWS, 2 * WIDTH});
    cr_assert_not_null(z);
    z->needs_grad = z->is_parameter = true; /* so that its gradient stays */
    z->grad = calloc(2 * COUNT, sizeof(mb_real));
    mb_bf16 *numbers = z->data;
    mb_real cotangent[COUNT], y[COUNT], dz[2 * COUNT], values[2 * COUNT];
    for (int i = 0; i < 2 * COUNT; i++) {
        numbers[i] = mb_bf16_from_float((float)(6 * sin(1.3 * i)));
        cotangent[i % COUNT] = (mb_real)(0.25 * (i % 7 - 3));
    }
    mb_bf16_read(numbers, 2 * COUNT, values);
    mb_tensor *out = mb_gated_activation(tape, z, MB_ACTIVATION_GELU, 0);
    cr_assert_not_null(out);
    mb_bf16_read(out->data, COUNT, y);
    cr_assert_eq(mb_tape_backward_from(tape, out, cotangent), MB_OK);
    mb_bf16_read(z->grad, 2 * COUNT, dz);
    for (int i = 0; i < COUNT; i++) {
        const int at = i / WIDTH * 2 * WIDTH + i % WIDTH;
        const double x = (double)values[at], gate = (double)values[at + WIDTH], d = (double)cotangent[i];
        const double f = x * cdf(x), slope = cdf(x) + x * density(x);
        cr_expect_leq(fabs((double)y[i] - f * gate), step * fabs(f * gate) + value_error * fabs(gate), "y[%d]", i);
        cr_expect_leq(fabs((double)dz[at] - d * gate * slope), step * fabs(d * gate * slope) + slope_error * fabs(d * gate),
                      "left %d", i);
        cr_expect_leq(fabs((double)dz[at + WIDTH] - d * f), step * fabs(d * f) + value_error * fabs(d), "right %d", i);
    }
    free(z->grad);
    mb_tape_free(tape);
}
