#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "base/rng.h"

/* Known answers of Philox4x32-10 (Random123's kat_vectors): counter words and key words all zero, all ones, and digits of pi.
 */
Test(rng, philox_known_answers) {
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint64_t seed = known[i].key[0] | (uint64_t)known[i].key[1] << 32;
        const uint32_t *c = known[i].counter;
        mb_rng_block block = mb_rng_at(seed, c[3], c[2], c[1], c[0]);
        for (int j = 0; j < 4; j++) {
            cr_expect_eq(block.v[j], known[i].out[j], "vector %zu word %d: %08x", i, j, block.v[j]);
        }
    }
}

Test(rng, permutation_is_a_bijection_for_every_size) {
    for (uint64_t n = 1; n < 300; n += n < 20 ? 1 : 37) {
        unsigned char *seen = calloc(n, 1);
        for (uint64_t i = 0; i < n; i++) {
            uint64_t at = mb_rng_permute(5, MB_STREAM_SHUFFLE, 2, i, n);
            cr_assert(at < n && !seen[at], "n %lu", (unsigned long)n);
            seen[at] = 1;
        }
        free(seen);
    }
}

Test(rng, permutation_shuffles_and_differs_by_epoch) {
    enum { N = 10000 };
    int fixed = 0, same_next = 0, equal_epochs = 0;
    for (uint64_t i = 0; i < N; i++) {
        uint64_t a = mb_rng_permute(5, MB_STREAM_SHUFFLE, 0, i, N), b = mb_rng_permute(5, MB_STREAM_SHUFFLE, 1, i, N);
        fixed += a == i;
        equal_epochs += a == b;
        same_next += mb_rng_permute(5, MB_STREAM_SHUFFLE, 0, (i + 1) % N, N) == a + 1;
    }
    /* Each is a Poisson number of mean 1 in a random permutation. */
    cr_expect(fixed < 8 && equal_epochs < 8 && same_next < 8, "%d %d %d", fixed, equal_epochs, same_next);
}

Test(rng, normal_numbers_have_mean_0_and_variance_1) {
    enum { N = 100000 };
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < N; i++) {
        mb_rng_block block = mb_rng_at(9, MB_STREAM_TEST, 0, i, 0);
        float x[2];
        mb_rng_normal2(block.v[0], block.v[1], x);
        sum += (double)x[0] + (double)x[1];
        squares += (double)x[0] * (double)x[0] + (double)x[1] * (double)x[1];
    }
    cr_expect(fabs(sum / (2 * N)) < 0.01);
    cr_expect(fabs(squares / (2 * N) - 1) < 0.02);
}
