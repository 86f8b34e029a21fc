#include "base/rng.h"

#include <math.h>

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
