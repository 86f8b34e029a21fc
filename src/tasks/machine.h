/* What a result's last bits depend on beside the options: processor, compiler, libraries. */
#ifndef MB_TASKS_MACHINE_H
#define MB_TASKS_MACHINE_H

#include <jansson.h>

/* {"cpu": name, "cpu_features": [...], "compiled_for": [...], "compiler", "blas", "blas_kernel", "bf16_kernel", "libc",
 * "openmp", "jansson", "utf8proc"}, libraries by their versions; NULL without memory. */
json_t *mb_machine_describe(void);

#endif
