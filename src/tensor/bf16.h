/* bfloat16: the upper half of an fp32 number. Activations and packed weights of --precision bf16 are kept in it; arithmetic is
 * fp32. */
#ifndef MB_TENSOR_BF16_H
#define MB_TENSOR_BF16_H

#include <stdint.h>
#include <string.h>

#include "tensor/tensor.h"

typedef uint16_t mb_bf16;

static inline float mb_bf16_to_float(mb_bf16 x) {
    const uint32_t bits = (uint32_t)x << 16;
    float out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

/* To nearest, ties to even; a NaN stays one. */
static inline mb_bf16 mb_bf16_from_float(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t nearest = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16, quiet = bits >> 16 | 0x40;
    return (mb_bf16)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : nearest);
}

static inline void mb_bf16_read(const mb_bf16 *restrict from, int64_t n, mb_real *restrict to) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        to[i] = (mb_real)mb_bf16_to_float(from[i]);
    }
}

static inline void mb_bf16_write(const mb_real *restrict from, int64_t n, mb_bf16 *restrict to) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        to[i] = mb_bf16_from_float((float)from[i]);
    }
}

#endif
