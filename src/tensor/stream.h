/* Stores past the caches, for results that newer ones would displace before they are read: a plain store reads the line that it
 * overwrites. Other threads see them after a locked instruction of this one, which every OpenMP barrier has. */
#ifndef MB_TENSOR_STREAM_H
#define MB_TENSOR_STREAM_H

#include <stdint.h>
#include <string.h>
#ifdef __AVX__
#include <immintrin.h>
#endif

/* Copies whole cache lines if `to` begins with one, anything else as memcpy does. */
static inline void mb_stream_copy(void *restrict to, const void *restrict from, size_t n_bytes) {
#ifdef __AVX__
    if ((uintptr_t)to % 64 == 0 && n_bytes % 64 == 0) {
#ifdef __AVX512F__
        for (size_t i = 0; i < n_bytes; i += sizeof(__m512i)) {
            _mm512_stream_si512((__m512i *)((char *)to + i), _mm512_loadu_si512((const char *)from + i));
        }
#else
        for (size_t i = 0; i < n_bytes; i += sizeof(__m256i)) {
            _mm256_stream_si256((__m256i *)((char *)to + i), _mm256_loadu_si256((const __m256i *)((const char *)from + i)));
        }
#endif
        return;
    }
#endif
    memcpy(to, from, n_bytes);
}

/* Asks for n_bytes that will soon be written, so that nothing waits for their lines then: a processor foresees lines that
 * follow each other, but not a few in every row. Any address will do. */
static inline void mb_prefetch_write(const void *at, size_t n_bytes) {
    for (size_t i = 0; i < n_bytes; i += 64) {
        __builtin_prefetch((const char *)at + i, 1);
    }
}

#endif
