#include <string.h>

#include "cli/cli.h"
#include "tasks/check.h"

static const char *text_of(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

static double number_of(const json_t *object, const char *key) {
    return json_number_value(json_object_get(object, key));
}

static const char *verdict(const json_t *entry) {
    return json_is_true(json_object_get(entry, "ok")) ? "ok" : "WRONG";
}

static void print_products(const json_t *result) {
    const json_t *machine = json_object_get(result, "machine"), *entry;
    size_t i;
    printf("%s; bf16 by %s\n\nproducts against sums in double\n", text_of(machine, "cpu"), text_of(machine, "bf16_kernel"));
    json_array_foreach(json_object_get(result, "products"), i, entry) {
        printf("  %-12s %-14s largest error %.1e  %s\n", text_of(entry, "kernel"), text_of(entry, "shape"),
               number_of(entry, "max_error"), verdict(entry));
    }
}

static void print_gradients(const json_t *list) {
    const json_t *entry;
    size_t i;
    if (list) {
        printf("\n%-64s %10s %10s %9s %8s\n", "gradients against differences", "gradient", "difference", "off by", "bf16 cos");
    }
    json_array_foreach(list, i, entry) {
        printf("  %-62s %10.6f %10.6f %8.3f%% %8.5f  %s\n", text_of(entry, "tensor"), number_of(entry, "gradient"),
               number_of(entry, "difference"), 100 * number_of(entry, "relative_error"), number_of(entry, "bf16_cosine"),
               verdict(entry));
    }
}

static void print_roofline(json_t *roofline) {
    const json_t *entry;
    const char *shape;
    json_t *rate;
    size_t i;
    if (!roofline) {
        return;
    }
    printf("\na training step in %s: %.1f ms, %.0f tokens/s; all its products at their own speed: %.0f%% of it\n",
           text_of(roofline, "precision"), number_of(roofline, "step_ms"), number_of(roofline, "tokens_per_second"),
           100 * number_of(roofline, "gemm_bound_fraction"));
    printf("memory: %.1f GB/s; products alone:", number_of(roofline, "memory_gbytes_per_second"));
    json_object_foreach(json_object_get(roofline, "gemm_gflops"), shape, rate) {
        printf("  %s %.0f", shape, json_real_value(rate));
    }
    printf(" GFLOP/s\n\n%-21s %-9s %-16s %5s %8s %6s %8s %7s %9s\n", "operation", "pass", "shape", "calls", "ms", "share",
           "GFLOP/s", "GB/s", "of limit");
    json_array_foreach(json_object_get(roofline, "operations"), i, entry) {
        printf("%-21s %-9s %-16s %5.0f %8.2f %5.1f%% %8.0f %7.1f %8.0f%%\n", text_of(entry, "operation"),
               text_of(entry, "pass"), text_of(entry, "shape"), number_of(entry, "calls"), number_of(entry, "ms"),
               100 * number_of(entry, "share"), number_of(entry, "gflops"), number_of(entry, "gbytes_per_second"),
               100 * number_of(entry, "of_limit"));
    }
}

static mb_status run(mb_cli *cli, void *data, mb_error *error) {
    mb_check_options *options = data;
    json_t *result = NULL;
    options->seed = cli->common.seed;
    mb_status status = mb_check(options, &cli->job, &result, error);
    if (status != MB_OK) {
        return status;
    }
    if (options->json) {
        status = mb_cli_print_json(result, error);
    } else {
        print_products(result);
        print_gradients(json_object_get(result, "gradients"));
        print_roofline(json_object_get(result, "roofline"));
        status = mb_cli_check_output(error);
    }
    if (status == MB_OK && !json_is_true(json_object_get(result, "ok"))) {
        status = mb_fail(error, MB_ERROR_MISMATCH,
                         "this build computes wrongly on this machine (above: WRONG); please report it with "
                         "'minibert --version'%s",
                         options->gradients ? "" : " and 'minibert check --gradients'");
    }
    json_decref(result);
    return status;
}

const mb_command mb_command_check = {
    .name = "check",
    .synopsis = "[--gradients] [--roofline]",
    .summary = "Check that minibert computes rightly on this machine, and how fast it can be",
    .details =
        "Products of every kind are compared with sums in double. --gradients compares the gradient of each tensor of a small\n"
        "model with differences of its loss, and bf16's gradient with fp32's. --roofline measures products, memory and each\n"
        "operation of a training step; 'of limit' is the least time that its FLOPs and bytes need, over the time it took\n"
        "(above 100%: it found its numbers in the cache). Exit code 1 if anything is wrong.\n\n"
        "  minibert check --roofline --size mini --precision bf16",
    .table = mb_check_option_table,
    .options_bytes = sizeof(mb_check_options),
    .run = run,
};
