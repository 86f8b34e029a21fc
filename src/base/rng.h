/* Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 *
 * A number is a pure function of (seed, stream, three counters). There is no state to save, to share or to replay: the mask
 * of a token or the dropout of an element is the same on any thread, in any order, and after a resume. */
#ifndef MB_BASE_RNG_H
#define MB_BASE_RNG_H

#include <stdint.h>

#include "base/wraps.h"

/* What a number is for; two purposes never share a stream. The upper bits may carry a site (e.g. which dropout). */
typedef enum mb_rng_stream {
    MB_STREAM_INIT = 1,    /* parameter initialisation: a = parameter index, b = element block */
    MB_STREAM_MASK,        /* masked-LM masks */
    MB_STREAM_SHUFFLE,     /* order of sequences or examples */
    MB_STREAM_DROPOUT,     /* dropout masks */
    MB_STREAM_NSP,         /* next-sentence pairs */
    MB_STREAM_SPLIT,       /* held-out documents */
    MB_STREAM_CLASSES,     /* samples of an output layer's classes */
    MB_STREAM_WORDS,       /* word dropout: a = epoch, b = example, c = position / 4 */
    MB_STREAM_TEST = 1000, /* the test suite */
} mb_rng_stream;

/* Multipliers and key increments of Philox4x32: Salmon et al. 2011, table 2 and section 4.3. */
#define MB_PHILOX_M0 0xD2511F53u
#define MB_PHILOX_M1 0xCD9E8D57u
#define MB_PHILOX_W0 0x9E3779B9u
#define MB_PHILOX_W1 0xBB67AE85u

typedef struct mb_rng_block {
    uint32_t v[4];
} mb_rng_block;

/* The 128-bit block at (stream, a, b, c) under `seed`. */
MB_WRAPS static inline mb_rng_block mb_rng_at(uint64_t seed, uint32_t stream, uint32_t a, uint32_t b, uint32_t c) {
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    uint32_t x0 = c, x1 = b, x2 = a, x3 = stream;
    for (int round = 0; round < 10; round++) {
        uint64_t product0 = (uint64_t)MB_PHILOX_M0 * x0, product1 = (uint64_t)MB_PHILOX_M1 * x2;
        x0 = (uint32_t)(product1 >> 32) ^ x1 ^ key0;
        x1 = (uint32_t)product1;
        x2 = (uint32_t)(product0 >> 32) ^ x3 ^ key1;
        x3 = (uint32_t)product0;
        key0 += MB_PHILOX_W0;
        key1 += MB_PHILOX_W1;
    }
    return (mb_rng_block){{x0, x1, x2, x3}};
}

/* Uniform in [0, 1) with 24 bits, from one word. */
static inline float mb_rng_uniform(uint32_t word) {
    return (float)(word >> 8) * 0x1p-24f;
}

/* Uniform integer in [0, n) from one word, by multiply-shift (Lemire 2019 without the rejection: bias < n / 2^32). */
static inline uint32_t mb_rng_below(uint32_t word, uint32_t n) {
    return (uint32_t)(((uint64_t)word * n) >> 32);
}

/* Two independent standard normal numbers from two words (Box-Muller). */
void mb_rng_normal2(uint32_t word0, uint32_t word1, float out[2]);

/* A bijection of [0, n) that depends on (seed, stream, epoch) alone and is evaluated at one index in O(1): a four-round
 * Feistel network with cycle walking. This is the shuffle: no permutation is ever stored, so resuming costs nothing. */
uint64_t mb_rng_permute(uint64_t seed, uint32_t stream, uint32_t epoch, uint64_t index, uint64_t n);

#endif
