#include "tasks/machine.h"

#include <gnu/libc-version.h>
#include <string.h>
#include <utf8proc.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "tensor/gemm_bf16.h"

/* Of the library itself; its header belongs to tensor/gemm.c. The kernel is chosen at run time, by the processor. */
char *openblas_get_config(void);
char *openblas_get_corename(void);

/* Those that change what is computed, or the order in which it is added up. The names are GCC's. */
#define CPU_FEATURES(X) \
    X("avx2") X("fma") X("avx512f") X("avx512bw") X("avx512dq") X("avx512vl") X("avx512vnni") X("avx512bf16")

static json_t *supported_features(void) {
    json_t *list = json_array();
    int failed = list == NULL;
#if defined(__x86_64__)
#define ADD(name)                                                 \
    if (__builtin_cpu_supports(name)) {                           \
        failed |= json_array_append_new(list, json_string(name)); \
    }
    CPU_FEATURES(ADD)
#undef ADD
#endif
    return failed ? (json_decref(list), NULL) : list;
}

static json_t *compiled_features(void) {
    static const char *const names[] = {
#if defined(__AVX2__)
        "avx2",
#endif
#if defined(__FMA__)
        "fma",
#endif
#if defined(__AVX512F__)
        "avx512f",
#endif
#if defined(__AVX512BF16__)
        "avx512bf16",
#endif
        NULL
    };
    json_t *list = json_array();
    int failed = list == NULL;
    for (const char *const *name = names; *name != NULL; name++) {
        failed |= json_array_append_new(list, json_string(*name));
    }
    return failed ? (json_decref(list), NULL) : list;
}

/* The processor's name for itself: 48 bytes from three leaves of CPUID. */
static void cpu_name(char out[49]) {
    strcpy(out, "unknown");
#if defined(__x86_64__)
    enum { FIRST_LEAF = 0x80000002, N_LEAVES = 3 };
    unsigned int words[4 * N_LEAVES];
    for (unsigned int i = 0; i < N_LEAVES; i++) {
        unsigned int *w = words + 4 * i;
        if (!__get_cpuid(FIRST_LEAF + i, &w[0], &w[1], &w[2], &w[3])) {
            return;
        }
    }
    memcpy(out, words, sizeof words);
    out[sizeof words] = '\0';
#endif
}

json_t *mb_machine_describe(void) {
    char name[49];
    cpu_name(name);
#if defined(__clang__)
    static const char compiler[] = "clang " __clang_version__;
#else
    static const char compiler[] = "gcc " __VERSION__;
#endif
    return json_pack("{s:s%, s:o, s:o, s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:s}", "cpu", name, strlen(name), "cpu_features",
                     supported_features(), "compiled_for", compiled_features(), "compiler", compiler, "blas",
                     openblas_get_config(), "blas_kernel", openblas_get_corename(), "bf16_kernel", mb_bf16_kernel_name(),
                     "libc", gnu_get_libc_version(), "openmp", _OPENMP, "jansson", jansson_version_str(), "utf8proc",
                     utf8proc_version());
}
