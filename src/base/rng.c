#include "base/rng.h"

#include <math.h>

/* Constants of Philox4x32 (Salmon et al. 2011, table 2 and section 4.3). */
enum { ROUNDS = 10 };
static const uint32_t multiplier0 = 0xD2511F53u, multiplier1 = 0xCD9E8D57u;
static const uint32_t weyl0 = 0x9E3779B9u, weyl1 = 0xBB67AE85u;

mb_rng_block mb_rng_at(uint64_t seed, uint32_t stream, uint32_t a, uint32_t b, uint32_t c) {
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    uint32_t x0 = c, x1 = b, x2 = a, x3 = stream;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t product0 = (uint64_t)multiplier0 * x0, product1 = (uint64_t)multiplier1 * x2;
        x0 = (uint32_t)(product1 >> 32) ^ x1 ^ key0;
        x1 = (uint32_t)product1;
        x2 = (uint32_t)(product0 >> 32) ^ x3 ^ key1;
        x3 = (uint32_t)product0;
        key0 += weyl0;
        key1 += weyl1;
    }
    return (mb_rng_block){{x0, x1, x2, x3}};
}

void mb_rng_normal2(uint32_t word0, uint32_t word1, float out[2]) {
    /* (word + 1) / 2^32 lies in (0, 1], so the logarithm is finite. */
    double radius = sqrt(-2.0 * log(((double)word0 + 1.0) * 0x1p-32));
    double angle = 6.283185307179586 * ((double)word1 * 0x1p-32);
    out[0] = (float)(radius * cos(angle));
    out[1] = (float)(radius * sin(angle));
}

uint64_t mb_rng_permute(uint64_t seed, uint32_t stream, uint32_t epoch, uint64_t index, uint64_t n) {
    if (n < 2) {
        return 0;
    }
    /* A Feistel network permutes [0, 4^half_bits) with 4^half_bits >= n; walking the cycle until the value is below n restricts
     * it to [0, n). The domain is less than 4n, so a walk takes less than 4 steps on average. */
    unsigned half_bits = 1;
    while (half_bits < 32 && (UINT64_C(1) << (2 * half_bits)) < n) {
        half_bits++;
    }
    const uint32_t half_mask = (uint32_t)((UINT64_C(1) << half_bits) - 1);
    uint64_t value = index;
    do {
        uint32_t left = (uint32_t)(value >> half_bits), right = (uint32_t)value & half_mask;
        for (uint32_t round = 0; round < 4; round++) {
            uint32_t mixed = mb_rng_at(seed, stream, epoch, right, round).v[0] & half_mask;
            uint32_t next = left ^ mixed;
            left = right;
            right = next;
        }
        value = ((uint64_t)left << half_bits) | right;
    } while (value >= n);
    return value;
}
