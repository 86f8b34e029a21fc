/* Ten AdamW steps against PyTorch: the files are made by scripts/golden/train.py. */
#include <math.h>

#include "base/json.h"
#include "model/safetensors.h"
#include "tiny.h"

static const char directory[] = MB_TESTS_DIR "/golden/train";

static int32_t *read_ints(const json_t *object, const char *key, int64_t *n) {
    const json_t *array = json_object_get(object, key);
    *n = (int64_t)json_array_size(array);
    int32_t *out = calloc((size_t)*n + 1, sizeof *out);
    for (int64_t i = 0; i < *n; i++) {
        out[i] = (int32_t)json_integer_value(json_array_get(array, (size_t)i));
    }
    return out;
}

static mb_batch read_batch(const json_t *step) {
    mb_batch batch = {0};
    int64_t n_sequences = 0;
    int32_t *lengths = read_ints(step, "lengths", &n_sequences);
    batch.ids = read_ints(step, "ids", &batch.n_tokens);
    batch.masked_rows = read_ints(step, "rows", &batch.n_masked);
    batch.masked_targets = read_ints(step, "targets", &batch.n_masked);
    batch.n_sequences = (int32_t)n_sequences;
    batch.types = calloc((size_t)batch.n_tokens, sizeof *batch.types);
    batch.offsets = calloc((size_t)n_sequences + 1, sizeof *batch.offsets);
    for (int64_t b = 0; b < n_sequences; b++) {
        batch.offsets[b + 1] = batch.offsets[b] + lengths[b];
        batch.max_length = lengths[b] > batch.max_length ? lengths[b] : batch.max_length;
    }
    free(lengths);
    return batch;
}

static double number(const json_t *object, const char *key) {
    cr_assert(json_is_number(json_object_get(object, key)), "no '%s'", key);
    return json_number_value(json_object_get(object, key));
}

static void assert_same_weights(const mb_params *params) {
    mb_safetensors file = {0};
    mb_error error;
    char *path = mb_path_join(directory, "after.safetensors");
    ASSERT_OK(mb_safetensors_open(path, &file, &error), error);
    free(path);
    for (size_t v = 0; v < params->n_views; v++) {
        const mb_param *view = &params->views[v];
        const mb_safetensor *tensor = mb_safetensors_find(&file, view->name);
        cr_assert_not_null(tensor, "PyTorch has no '%s'", view->name);
        mb_real *expected = calloc((size_t)view->count, sizeof *expected);
        ASSERT_OK(mb_safetensors_read(&file, tensor, expected, view->count, &error), error);
        for (int64_t i = 0; i < view->count; i++) {
            double difference = fabs((double)(expected[i] - params->weights[view->offset + i]));
            cr_assert(difference < 1e-4, "%s[%ld] differs by %g", view->name, (long)i, difference);
        }
        free(expected);
    }
    mb_safetensors_close(&file);
}

Test(golden, ten_adamw_steps_equal_pytorch) {
    mb_error error;
    mb_model *model = NULL;
    mb_optimizer optimizer;
    json_t *golden = NULL;
    ASSERT_OK(mb_model_load(directory, MB_HEAD_MASKED_LM, NULL, 0, true, &model, &error), error);
    char *path = mb_path_join(directory, "steps.json");
    ASSERT_OK(mb_json_load(path, &golden, &error), error);
    free(path);
    const mb_optimizer_options options = {.beta1 = number(golden, "beta1"),
                                          .beta2 = number(golden, "beta2"),
                                          .epsilon = number(golden, "eps"),
                                          .weight_decay = number(golden, "weight_decay")};
    ASSERT_OK(mb_optimizer_init(&optimizer, mb_model_params(model), &options, &error), error);
    mb_tape *tape = mb_tape_new(true);
    const json_t *steps = json_object_get(golden, "steps");
    cr_assert_eq(json_array_size(steps), 10);
    for (size_t i = 0; i < json_array_size(steps); i++) {
        const json_t *step = json_array_get(steps, i);
        mb_batch batch = read_batch(step);
        const mb_batch *group[] = {&batch};
        mb_step_sums sums;
        ASSERT_OK(
            mb_masked_lm_accumulate(model, tape, group, 1, &(mb_masked_lm_objective){.seed = 0}, (int64_t)i, &sums, &error),
            error);
        const double norm = mb_params_grad_norm(mb_model_params(model));
        cr_assert(fabs(sums.loss / number(step, "loss") - 1) < 1e-5, "step %zu: loss %.8f, PyTorch %.8f", i, sums.loss,
                  number(step, "loss"));
        cr_assert(fabs(norm / number(step, "grad_norm") - 1) < 1e-4, "step %zu: norm %.8f, PyTorch %.8f", i, norm,
                  number(step, "grad_norm"));
        mb_optimizer_update(&optimizer, mb_model_params(model), number(golden, "lr"),
                            mb_clip_factor(norm, number(golden, "max_grad_norm")));
        mb_batch_free(&batch);
    }
    assert_same_weights(mb_model_params(model));
    json_decref(golden);
    mb_tape_free(tape);
    mb_optimizer_free(&optimizer);
    mb_model_free(model);
}
