#include <criterion/criterion.h>
#include <math.h>

#include "tensor/dropout_mask.h"

enum { WIDTH = 999, N_ROWS = 400 };

static mb_real ones[WIDTH];

static void draw(uint32_t site, uint32_t row, double p, mb_real *out) {
    for (int j = 0; j < WIDTH; j++) {
        ones[j] = 1;
    }
    mb_dropout_site s = mb_dropout_site_make(11, 5, site, p);
    mb_dropout_row(&s, row, WIDTH, ones, out);
}

Test(dropout_mask, rate_and_scale) {
    const double rates[] = {0.1, 0.25, 0.5, 0.9};
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
        int64_t dropped = 0, n = (int64_t)WIDTH * N_ROWS;
        mb_real row[WIDTH];
        for (uint32_t i = 0; i < N_ROWS; i++) {
            draw(0, i, rates[r], row);
            for (int j = 0; j < WIDTH; j++) {
                dropped += row[j] == 0;
                cr_assert(row[j] == 0 || fabs((double)row[j] * (1 - rates[r]) - 1) < 2e-4);
            }
        }
        double deviation = sqrt((double)n * rates[r] * (1 - rates[r]));
        cr_expect(fabs((double)dropped - rates[r] * (double)n) < 4 * deviation + 2e-5 * (double)n, "p %g: %g", rates[r],
                  (double)dropped / (double)n);
    }
}

/* Fraction of elements on which two rows of masks agree; p = 0.5, so independence means one half. */
static double agreement(uint32_t site_a, uint32_t row_a, uint32_t site_b, uint32_t row_b) {
    mb_real a[WIDTH], b[WIDTH];
    draw(site_a, row_a, 0.5, a);
    draw(site_b, row_b, 0.5, b);
    int same = 0;
    for (int j = 0; j < WIDTH; j++) {
        same += (a[j] == 0) == (b[j] == 0);
    }
    return (double)same / WIDTH;
}

Test(dropout_mask, rows_and_sites_are_independent_and_repeatable) {
    cr_expect_eq(agreement(3, 8, 3, 8), 1);
    double total_rows = 0, total_sites = 0, total_lag = 0;
    for (uint32_t i = 0; i < N_ROWS; i++) {
        total_rows += agreement(0, i, 0, i + 1) / N_ROWS;
        total_sites += agreement(0, i, 1, i) / N_ROWS;
        mb_real row[WIDTH];
        draw(0, i, 0.5, row);
        int same = 0;
        for (int j = 0; j + 1 < WIDTH; j++) {
            same += (row[j] == 0) == (row[j + 1] == 0);
        }
        total_lag += (double)same / (WIDTH - 1) / N_ROWS;
    }
    /* 400,000 agreements of probability 1/2: deviation 0.0008. */
    cr_expect(fabs(total_rows - 0.5) < 0.0032, "rows agree in %.4f", total_rows);
    cr_expect(fabs(total_sites - 0.5) < 0.0032, "sites agree in %.4f", total_sites);
    cr_expect(fabs(total_lag - 0.5) < 0.0032, "neighbours agree in %.4f", total_lag);
}
