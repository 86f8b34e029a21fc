/* Every bf16 product of this executable's tests takes the AMX kernel, and the paths of a second-level cache of 2 MB with it: by
 * the processor if it has AMX, else by the emulator. The linker puts these functions before the program's
 * (tests/CMakeLists.txt). */
#include <criterion/criterion.h>
#include <unistd.h>

#include "tensor/gemm_bf16_kernel.h"
#include "unit/amx/amx_emulator.h"

const mb_bf16_kernel *__real_mb_bf16_choose_kernel(void);
const mb_bf16_kernel *__wrap_mb_bf16_choose_kernel(void);
long __real_sysconf(int name);
long __wrap_sysconf(int name);

const mb_bf16_kernel *__wrap_mb_bf16_choose_kernel(void) {
    const mb_bf16_kernel *amx = mb_bf16_find_kernel("amx");
    if (__real_mb_bf16_choose_kernel() != amx) { /* which has asked the system for the tiles */
        amx_emulator_install();
    }
    return amx;
}

long __wrap_sysconf(int name) {
    return name == _SC_LEVEL2_CACHE_SIZE ? 2 << 20 : __real_sysconf(name);
}

/* Without the linker's option all tests here would pass on another kernel. */
Test(amx, is_what_every_product_takes) {
    cr_expect_str_eq(mb_bf16_choose_kernel()->name, "amx");
    cr_expect_eq(sysconf(_SC_LEVEL2_CACHE_SIZE), 2 << 20);
}
