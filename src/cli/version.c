/* What this binary is made of: for bug reports, and to tell why one machine is faster than another. */
#include <stdio.h>

#include "base/threads.h"
#include "cli/cli.h"

char *openblas_get_config(void); /* of the library itself; its header belongs to tensor/gemm.c */

/* The compiler's macro of an instruction set is 1, or not defined, and then the text is its name. */
#define TEXT_OF(macro) #macro
#define IS_ONE(macro) (TEXT_OF(macro)[0] == '1')

/* X(name, compiled in). The names are GCC's for __builtin_cpu_supports. */
#define CPU_FEATURES(X)                       \
    X("bmi2", IS_ONE(__BMI2__))               \
    X("avx2", IS_ONE(__AVX2__))               \
    X("fma", IS_ONE(__FMA__))                 \
    X("avx512f", IS_ONE(__AVX512F__))         \
    X("avx512bw", IS_ONE(__AVX512BW__))       \
    X("avx512dq", IS_ONE(__AVX512DQ__))       \
    X("avx512vl", IS_ONE(__AVX512VL__))       \
    X("avx512vbmi", IS_ONE(__AVX512VBMI__))   \
    X("avx512vbmi2", IS_ONE(__AVX512VBMI2__)) \
    X("avx512vnni", IS_ONE(__AVX512VNNI__))   \
    X("avx512bf16", IS_ONE(__AVX512BF16__))

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
    (void)fputs("  compiled for", out);
#define COMPILED(name, compiled)   \
    if (compiled) {                \
        fprintf(out, " %s", name); \
    }
    CPU_FEATURES(COMPILED)
#undef COMPILED
    (void)fputs("\n  this CPU    ", out);
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
