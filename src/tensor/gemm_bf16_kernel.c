#include "tensor/gemm_bf16_kernel.h"

#include <stdlib.h>

enum { BLOCK = MB_BF16_BLOCK, HALF = BLOCK / 2, TILE_NUMBERS = HALF * BLOCK };

/* --- C: on any processor --- */

static void nothing(void) {}

static void generic_block(int64_t k, mb_bf16_lines a, int64_t n_rows, const mb_bf16 *panel, bool add, float *sums,
                          mb_bf16_finished *before) {
    (void)before;
    for (int64_t i = 0; i < n_rows; i++) {
        float row[BLOCK];
        for (int j = 0; j < BLOCK; j++) {
            row[j] = add ? sums[i * BLOCK + j] : 0;
        }
        for (int64_t p = 0; p < k / 2; p++) {
            const mb_bf16 *pair = a.data + i * a.stride + 2 * p / BLOCK * a.chunk + 2 * p % BLOCK;
            const float even = mb_bf16_to_float(pair[0]), odd = mb_bf16_to_float(pair[1]);
            const mb_bf16 *restrict left = panel + p / HALF * BLOCK * BLOCK + p % HALF * BLOCK, *restrict right =
                                                                                                    left + TILE_NUMBERS;
#pragma omp simd
            for (int j = 0; j < HALF; j++) {
                row[j] += odd * mb_bf16_to_float(left[2 * j + 1]) + even * mb_bf16_to_float(left[2 * j]);
                row[HALF + j] += odd * mb_bf16_to_float(right[2 * j + 1]) + even * mb_bf16_to_float(right[2 * j]);
            }
        }
        memcpy(sums + i * BLOCK, row, sizeof row);
    }
}

static const mb_bf16_kernel generic = {"generic", nothing, nothing, generic_block};

#if defined(__x86_64__) && !defined(MB_REAL_IS_DOUBLE)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- AVX512-BF16 (Cooper Lake, Zen 4): 8 rows of 32 sums stay in 16 registers --- */

#define AVX512_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))
enum { STRIP = 8 };

AVX512_TARGET static void avx512_strip(int64_t k, mb_bf16_lines a, const mb_bf16 *panel, bool add, float *sums) {
    __m512 left[STRIP], right[STRIP];
#pragma GCC unroll 8
    for (int i = 0; i < STRIP; i++) {
        left[i] = add ? _mm512_load_ps(sums + i * BLOCK) : _mm512_setzero_ps();
        right[i] = add ? _mm512_load_ps(sums + i * BLOCK + 16) : _mm512_setzero_ps();
    }
    for (int64_t q = 0; q < k; q += BLOCK) {
        for (int64_t p = 0; p < BLOCK; p += 2) {
            const __m512bh b_left = (__m512bh)_mm512_loadu_si512(panel + p * HALF);
            const __m512bh b_right = (__m512bh)_mm512_loadu_si512(panel + p * HALF + TILE_NUMBERS);
#pragma GCC unroll 8
            for (int i = 0; i < STRIP; i++) {
                int pair;
                memcpy(&pair, a.data + i * a.stride + p, sizeof pair);
                const __m512bh both = (__m512bh)_mm512_set1_epi32(pair);
                left[i] = _mm512_dpbf16_ps(left[i], both, b_left);
                right[i] = _mm512_dpbf16_ps(right[i], both, b_right);
            }
        }
        a.data += a.chunk;
        panel += BLOCK * BLOCK;
    }
#pragma GCC unroll 8
    for (int i = 0; i < STRIP; i++) {
        _mm512_store_ps(sums + i * BLOCK, left[i]);
        _mm512_store_ps(sums + i * BLOCK + 16, right[i]);
    }
}

static void avx512_block(int64_t k, mb_bf16_lines a, int64_t n_rows, const mb_bf16 *panel, bool add, float *sums,
                         mb_bf16_finished *before) {
    (void)before;
    for (int64_t i = 0; i < n_rows; i += STRIP) {
        avx512_strip(k, a, panel, add, sums + i * BLOCK);
        a.data += STRIP * a.stride;
    }
}

static const mb_bf16_kernel avx512 = {"avx512_bf16", nothing, nothing, avx512_block};

/* --- AMX (Sapphire Rapids): 32 x 32 sums are four tiles, and each tile of A or B that is loaded is used twice --- */

#define AMX_TARGET __attribute__((target("amx-tile,amx-bf16")))
enum { TILE_ROWS = 16, TILE_BYTES = 64, PART = 4 };

typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t column_bytes[16];
    uint8_t rows[16];
} tile_config;

/* In memory as a whole: gcc's _tile_loadconfig tells the optimiser of its first bytes only. */
static const tile_config all_tiles = {
    .palette = 1,
    .column_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {16, 16, 16, 16, 16, 16, 16, 16},
};

AMX_TARGET static void amx_begin(void) {
    _tile_loadconfig(&all_tiles);
}

AMX_TARGET static void amx_end(void) {
    _tile_release();
}

AMX_TARGET static void amx_block(int64_t k, mb_bf16_lines a, int64_t n_rows, const mb_bf16 *panel, bool add, float *sums,
                                 mb_bf16_finished *before) {
    (void)n_rows;
    const int64_t a_bytes = a.stride * (int64_t)sizeof *a.data, b_bytes = TILE_BYTES, c_bytes = BLOCK * (int64_t)sizeof *sums;
    float *lower = sums + TILE_ROWS * BLOCK;
    if (add) {
        _tile_loadd(0, sums, c_bytes);
        _tile_loadd(1, sums + 16, c_bytes);
        _tile_loadd(2, lower, c_bytes);
        _tile_loadd(3, lower + 16, c_bytes);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t p = 0; p < k; p += 2 * TILE_ROWS) {
        const mb_bf16 *b = panel + p * BLOCK;
        _tile_loadd(4, a.data, a_bytes);
        _tile_loadd(6, b, b_bytes);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + TILE_NUMBERS, b_bytes);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a.data + TILE_ROWS * a.stride, a_bytes);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        a.data += a.chunk;
        if (before != NULL) {
            mb_bf16_hand_on(before, PART);
        }
    }
    _tile_stored(0, sums, c_bytes);
    _tile_stored(1, sums + 16, c_bytes);
    _tile_stored(2, lower, c_bytes);
    _tile_stored(3, lower + 16, c_bytes);
}

static const mb_bf16_kernel amx = {"amx", amx_begin, amx_end, amx_block};

/* --- which of them --- */

static uint64_t enabled_states(void) {
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* CPUID leaf 7; XCR0 says whether the system saves the registers (Intel SDM, volume 1, chapters 13 to 18). */
static bool has_avx512_bf16(void) {
    unsigned a, b, c, d;
    const uint64_t zmm = 0xe6;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || (enabled_states() & zmm) != zmm) {
        return false;
    }
    const unsigned needed = bit_AVX512F | bit_AVX512BW | bit_AVX512VL;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & needed) == needed && __get_cpuid_count(7, 1, &a, &b, &c, &d) &&
           (a & 1u << 5);
}

static bool has_amx_bf16(void) {
    unsigned a, b, c, d;
    const uint64_t tiles = 3u << 17;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || (enabled_states() & tiles) != tiles) {
        return false;
    }
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & 1u << 22) || !(d & 1u << 24)) {
        return false;
    }
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 }; /* Linux gives a process the tiles when it asks */
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

static const mb_bf16_kernel *const kernels[] = {&amx, &avx512, &generic};

static const mb_bf16_kernel *choose(void) {
    const char *wish = getenv("MINIBERT_BF16_KERNEL");
    const bool lesser = wish && *wish;
    if ((!lesser || strcmp(wish, amx.name) == 0) &&
        has_amx_bf16()) { /* asks the system for the tiles, so only if they are wanted */
        return &amx;
    }
    return (!lesser || strcmp(wish, generic.name) != 0) && has_avx512_bf16() ? &avx512 : &generic;
}
#else
static const mb_bf16_kernel *const kernels[] = {&generic};

static const mb_bf16_kernel *choose(void) {
    return &generic;
}
#endif

const mb_bf16_kernel *mb_bf16_find_kernel(const char *name) {
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        if (strcmp(kernels[i]->name, name) == 0) {
            return kernels[i];
        }
    }
    return NULL;
}

const mb_bf16_kernel *mb_bf16_choose_kernel(void) {
    static const mb_bf16_kernel *chosen; /* the same answer whoever asks first */
    const mb_bf16_kernel *kernel = __atomic_load_n(&chosen, __ATOMIC_ACQUIRE);
    if (!kernel) {
        kernel = choose();
        __atomic_store_n(&chosen, kernel, __ATOMIC_RELEASE);
    }
    return kernel;
}

const char *mb_bf16_kernel_name(void) {
    return mb_bf16_choose_kernel()->name;
}

bool mb_bf16_is_fast(void) {
    return mb_bf16_choose_kernel() != &generic;
}
