/* Is this build right on this machine, and how close to its limits does a training step come? */
#ifndef MB_TASKS_CHECK_H
#define MB_TASKS_CHECK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/job.h"
#include "base/options.h"
#include "minibert/status.h"
#include "model/config.h"

typedef struct mb_check_options {
    bool gradients, roofline, json;
    int arch, size; /* indices in the option's choices */
    int64_t batch_size, seq_length, vocab_size, seed;
} mb_check_options;

extern const mb_option mb_check_option_table[];

/* *result (the caller's reference): {"machine": {...}, "products": [{"kernel", "shape", "max_error", "bound", "ok"}],
 * "gradients": [...], "roofline": {...}, "ok": bool}, the last but one where they are asked for.
 *
 * Products: every kernel that this processor has against sums in double, on shapes with and without remainders.
 *
 * Gradients: a small model of --arch; for each tensor the derivative of the masked-LM loss along its gradient by central
 * differences, and in bf16 the cosine to the fp32 gradient. */
mb_status mb_check(const mb_check_options *options, const mb_job *job, json_t **result, mb_error *error);

/* A training step of the model that the options describe, in the job's precision, operation by operation (roofline.c):
 * {"gemm_gflops": {shape: x}, "memory_gbytes_per_second": x, "operations": [{"operation", "shape", "pass", "calls", "ms",
 * "share", "gflops", "gbytes_per_second", "of_limit"}], "step_ms", "tokens_per_second", "gemm_bound_fraction"}. FLOPs and bytes
 * are those that the operation needs at least: what it does twice counts once. */
mb_status mb_roofline(const mb_check_options *options, const mb_job *job, json_t **result, mb_error *error);

/* The shape that --size, --arch and so on name. The caller frees it. */
mb_status mb_check_config(const mb_check_options *options, mb_model_config *out, mb_error *error);

#endif
