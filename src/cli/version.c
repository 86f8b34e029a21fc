/* What this binary is made of: for bug reports, and to tell why one machine is faster than another. */
#include <stdio.h>

#include "base/threads.h"
#include "cli/cli.h"

char *openblas_get_config(void); /* of the library itself; its header belongs to tensor/gemm.c */

/* X(name, compiled in). The names are GCC's for __builtin_cpu_supports. */
#ifdef __AVX2__
#define HAS_AVX2 1
#else
#define HAS_AVX2 0
#endif
#ifdef __FMA__
#define HAS_FMA 1
#else
#define HAS_FMA 0
#endif
#ifdef __AVX512F__
#define HAS_AVX512F 1
#else
#define HAS_AVX512F 0
#endif
#ifdef __AVX512BW__
#define HAS_AVX512BW 1
#else
#define HAS_AVX512BW 0
#endif
#ifdef __AVX512VNNI__
#define HAS_AVX512VNNI 1
#else
#define HAS_AVX512VNNI 0
#endif
#define CPU_FEATURES(X)         \
    X("avx2", HAS_AVX2)         \
    X("fma", HAS_FMA)           \
    X("avx512f", HAS_AVX512F)   \
    X("avx512bw", HAS_AVX512BW) \
    X("avx512vnni", HAS_AVX512VNNI)

const char *mb_cli_missing_cpu_feature(void) {
#if defined(__x86_64__)
#define MISSING(name, compiled)                        \
    if ((compiled) && !__builtin_cpu_supports(name)) { \
        return name;                                   \
    }
    CPU_FEATURES(MISSING)
#undef MISSING
#endif
    return NULL;
}

void mb_cli_print_version(FILE *out) {
    fprintf(out, "minibert %s\n", MINIBERT_VERSION);
#if defined(__clang__)
    fprintf(out, "  compiler    clang %s\n", __clang_version__);
#else
    fprintf(out, "  compiler    gcc %s\n", __VERSION__);
#endif
    fprintf(out, "  library     %s\n", openblas_get_config());
    fputs("  compiled for", out);
#define COMPILED(name, compiled)   \
    if (compiled) {                \
        fprintf(out, " %s", name); \
    }
    CPU_FEATURES(COMPILED)
#undef COMPILED
    fputs("\n  this CPU    ", out);
#if defined(__x86_64__)
#define SUPPORTED(name, compiled)       \
    if (__builtin_cpu_supports(name)) { \
        fprintf(out, " %s", name);      \
    }
    CPU_FEATURES(SUPPORTED)
#undef SUPPORTED
#endif
    fprintf(out, "; %d threads\n", mb_threads_count());
}
