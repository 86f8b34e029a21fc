/* bfloat16: the upper half of an fp32 number. Activations and packed weights of --precision bf16 are kept in it; arithmetic is
 * fp32. */
#ifndef MB_TENSOR_BF16_H
#define MB_TENSOR_BF16_H

#include <stdint.h>
#include <string.h>

#include "base/specialized.h"
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

#if defined(__AVX512BF16__) && defined(__AVX512BW__) && !defined(MB_REAL_IS_DOUBLE)
#include <immintrin.h>
#define MB_BF16_WIDE 16 /* numbers that one instruction rounds, where the compiler may use it; denormals become 0 */
/* Two of them, in one store: what is loaded whole soon after must not come from two stores, which stalls. */
static inline void mb_bf16_write_widest(const float *from, mb_bf16 *to) {
    _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + MB_BF16_WIDE), _mm512_loadu_ps(from)));
}
static inline void mb_bf16_write_wide(const float *from, mb_bf16 *to) {
    _mm256_storeu_si256((__m256i *)(void *)to, (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from)));
}
static inline void mb_bf16_add_wide(const float *from, mb_bf16 *to) {
    const __m512i bits = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)to)), 16);
    const __m512 sum = _mm512_add_ps(_mm512_castsi512_ps(bits), _mm512_loadu_ps(from));
    _mm256_storeu_si256((__m256i *)(void *)to, (__m256i)_mm512_cvtneps_pbh(sum));
}
#endif

MB_SPECIALIZED void mb_bf16_write(const mb_real *restrict from, int64_t n, mb_bf16 *restrict to) {
    int64_t i = 0;
#ifdef MB_BF16_WIDE
    for (; i + 2 * MB_BF16_WIDE <= n; i += 2 * MB_BF16_WIDE) {
        mb_bf16_write_widest(from + i, to + i);
    }
    for (; i + MB_BF16_WIDE <= n; i += MB_BF16_WIDE) {
        mb_bf16_write_wide(from + i, to + i);
    }
#endif
    for (; i < n; i++) {
        to[i] = mb_bf16_from_float((float)from[i]);
    }
}

/* to += from */
static inline void mb_bf16_add(const mb_real *restrict from, int64_t n, mb_bf16 *restrict to) {
    int64_t i = 0;
#ifdef MB_BF16_WIDE
    for (; i + MB_BF16_WIDE <= n; i += MB_BF16_WIDE) {
        mb_bf16_add_wide(from + i, to + i);
    }
#endif
    for (; i < n; i++) {
        to[i] = mb_bf16_from_float(mb_bf16_to_float(to[i]) + (float)from[i]);
    }
}

#endif
