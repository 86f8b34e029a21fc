/* Squares of 32-bit numbers transposed in registers: rounds of exchanges between rows that are 8, 4, 2 and 1 apart. */
#ifndef MB_TENSOR_TRANSPOSE_H
#define MB_TENSOR_TRANSPOSE_H

#include <stdint.h>

typedef uint32_t mb_lanes8 __attribute__((vector_size(32)));
typedef uint32_t mb_lanes16 __attribute__((vector_size(64)));

/* A vector from and to any address, in one instruction: of memcpy the compiler may make two of half the width, through memory,
 * and what is then loaded whole waits for both (gcc 12 tuned for Intel: a product takes three times as long). */
typedef uint32_t mb_lanes8_anywhere __attribute__((vector_size(32), aligned(1), may_alias));
typedef uint32_t mb_lanes16_anywhere __attribute__((vector_size(64), aligned(1), may_alias));
static inline void mb_load8(mb_lanes8 *lanes, const void *from) {
    *lanes = *(const mb_lanes8_anywhere *)from;
}
static inline void mb_load16(mb_lanes16 *lanes, const void *from) {
    *lanes = *(const mb_lanes16_anywhere *)from;
}
static inline void mb_store16(void *to, const mb_lanes16 *lanes) {
    *(mb_lanes16_anywhere *)to = *lanes;
}

/* Of the rows r[i] and r[i + distance]: `low` and `high` are the numbers that the two get, counted through both. */
#define MB_EXCHANGE(type, n, distance, low, high)                    \
    for (int i = 0; i < (n); i++) {                                  \
        if (!(i & (distance))) {                                     \
            const type a = r[i], b = r[i + (distance)];              \
            r[i] = __builtin_shufflevector(a, b, low);               \
            r[i + (distance)] = __builtin_shufflevector(a, b, high); \
        }                                                            \
    }
#define MB_LOW8 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define MB_HIGH8 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
#define MB_LOW4 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27
#define MB_HIGH4 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31
#define MB_LOW2 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define MB_HIGH2 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define MB_LOW1 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30
#define MB_HIGH1 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31

typedef uint16_t mb_halves32 __attribute__((vector_size(64)));
typedef uint64_t mb_pairs8 __attribute__((vector_size(64)));

/* 32 numbers of 16 bits of two rows, number by number side by side: within each 128 bits, then these into place. */
static inline void mb_interleave32(const uint16_t *even, const uint16_t *odd, mb_lanes16 out[2]) {
#ifdef __AVX512BW__
    mb_lanes16 lanes[2];
    mb_load16(&lanes[0], even);
    mb_load16(&lanes[1], odd);
    const mb_halves32 e = (mb_halves32)lanes[0], o = (mb_halves32)lanes[1];
    const mb_pairs8 low = (mb_pairs8)__builtin_shufflevector(e, o, 0, 32, 1, 33, 2, 34, 3, 35, 8, 40, 9, 41, 10, 42, 11, 43, 16,
                                                             48, 17, 49, 18, 50, 19, 51, 24, 56, 25, 57, 26, 58, 27, 59);
    const mb_pairs8 high = (mb_pairs8)__builtin_shufflevector(e, o, 4, 36, 5, 37, 6, 38, 7, 39, 12, 44, 13, 45, 14, 46, 15, 47,
                                                              20, 52, 21, 53, 22, 54, 23, 55, 28, 60, 29, 61, 30, 62, 31, 63);
    out[0] = (mb_lanes16)__builtin_shufflevector(low, high, 0, 1, 8, 9, 2, 3, 10, 11);
    out[1] = (mb_lanes16)__builtin_shufflevector(low, high, 4, 5, 12, 13, 6, 7, 14, 15);
#else
    uint32_t pairs[32];
#pragma omp simd
    for (int i = 0; i < 32; i++) {
        pairs[i] = (uint32_t)even[i] | (uint32_t)odd[i] << 16;
    }
    mb_load16(&out[0], pairs);
    mb_load16(&out[1], pairs + 16);
#endif
}

static inline void mb_transpose16(mb_lanes16 r[16]) {
    MB_EXCHANGE(mb_lanes16, 16, 8, MB_LOW8, MB_HIGH8)
    MB_EXCHANGE(mb_lanes16, 16, 4, MB_LOW4, MB_HIGH4)
    MB_EXCHANGE(mb_lanes16, 16, 2, MB_LOW2, MB_HIGH2)
    MB_EXCHANGE(mb_lanes16, 16, 1, MB_LOW1, MB_HIGH1)
}

#define MB_LOW4_OF_8 0, 1, 2, 3, 8, 9, 10, 11
#define MB_HIGH4_OF_8 4, 5, 6, 7, 12, 13, 14, 15
#define MB_LOW2_OF_8 0, 1, 8, 9, 4, 5, 12, 13
#define MB_HIGH2_OF_8 2, 3, 10, 11, 6, 7, 14, 15
#define MB_LOW1_OF_8 0, 8, 2, 10, 4, 12, 6, 14
#define MB_HIGH1_OF_8 1, 9, 3, 11, 5, 13, 7, 15

static inline void mb_transpose8(mb_lanes8 r[8]) {
    MB_EXCHANGE(mb_lanes8, 8, 4, MB_LOW4_OF_8, MB_HIGH4_OF_8)
    MB_EXCHANGE(mb_lanes8, 8, 2, MB_LOW2_OF_8, MB_HIGH2_OF_8)
    MB_EXCHANGE(mb_lanes8, 8, 1, MB_LOW1_OF_8, MB_HIGH1_OF_8)
}

#endif
