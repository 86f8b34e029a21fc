/* Parity with PyTorch: models written by transformers, and what it computes for them in double precision
 * (scripts/golden/model.py). Tolerances are relative to the largest number of the tensor compared. */
#include <math.h>
#include <stdint.h>

#include "autograd/ops.h"
#include "model/safetensors.h"
#include "support.h"

#define GOLDEN MB_TESTS_DIR "/golden/"

static const double logits_tolerance = 1e-5, gradient_tolerance = 1e-5;

static int32_t *golden_ints(const mb_safetensors *golden, const char *name, int64_t *count) {
    const mb_safetensor *tensor = mb_safetensors_find(golden, name);
    cr_assert_not_null(tensor, "no %s", name);
    cr_assert_str_eq(tensor->dtype, "I32");
    *count = (int64_t)(tensor->n_bytes / 4);
    int32_t *values = malloc(tensor->n_bytes); /* the file's bytes need not be aligned */
    memcpy(values, tensor->data, tensor->n_bytes);
    return values;
}

static mb_model_input golden_input(const mb_safetensors *golden) {
    mb_model_input input = {0};
    int64_t n_offsets, n_types;
    input.ids = golden_ints(golden, "ids", &input.n_tokens);
    input.types = golden_ints(golden, "types", &n_types);
    input.sequences.offsets = golden_ints(golden, "offsets", &n_offsets);
    input.sequences.n = (int32_t)n_offsets - 1;
    for (int32_t b = 0; b < input.sequences.n; b++) {
        const int32_t length = input.sequences.offsets[b + 1] - input.sequences.offsets[b];
        input.sequences.max_length = length > input.sequences.max_length ? length : input.sequences.max_length;
    }
    return input;
}

static void free_input(const mb_model_input *input) {
    free((void *)(uintptr_t)input->ids);
    free((void *)(uintptr_t)input->types);
    free((void *)(uintptr_t)input->sequences.offsets);
}

static double largest(const mb_real *values, int64_t count) {
    double max = 0;
    for (int64_t i = 0; i < count; i++) {
        max = fmax(max, fabs((double)values[i]));
    }
    return max;
}

/* max |got - expected| <= tolerance * max(max |expected|, floor) */
static void check_values(const mb_safetensors *golden, const char *name, const mb_real *got, int64_t count, double tolerance,
                         double floor) {
    const mb_safetensor *tensor = mb_safetensors_find(golden, name);
    mb_error error;
    cr_assert_not_null(tensor, "no %s", name);
    mb_real *expected = malloc((size_t)count * sizeof *expected);
    ASSERT_OK(mb_safetensors_read(golden, tensor, expected, count, &error), error);
    double worst = 0;
    for (int64_t i = 0; i < count; i++) {
        worst = fmax(worst, fabs((double)got[i] - (double)expected[i]));
    }
    const double scale = fmax(largest(expected, count), floor);
    cr_expect(worst <= tolerance * scale, "%s: off by %.2e where the largest is %.2e", name, worst, scale);
    free(expected);
}

static void check_tensor(const mb_safetensors *golden, const char *name, const mb_tensor *got, double tolerance) {
    check_values(golden, name, mb_tensor_real(got), mb_tensor_count(got), tolerance, 0);
}

/* Every named gradient. Some are zero but for rounding (a key's bias shifts all scores of a query alike), so a tensor is
 * measured against at least a twentieth of the largest gradient of the model. */
static void check_gradients(const mb_safetensors *golden, mb_model *model) {
    const mb_params *params = mb_model_params(model);
    const double floor = 0.05 * largest(params->grads, params->count);
    size_t n_golden = 0;
    for (size_t i = 0; i < golden->n_tensors; i++) {
        n_golden += strncmp(golden->tensors[i].name, "grad.", 5) == 0;
    }
    cr_expect_eq(n_golden, params->n_views, "PyTorch has %zu parameters, the table %zu", n_golden, params->n_views);
    for (size_t i = 0; i < params->n_views; i++) {
        const mb_param *view = &params->views[i];
        char name[128];
        snprintf(name, sizeof name, "grad.%s", view->name);
        check_values(golden, name, params->grads + view->offset, view->count, gradient_tolerance, floor);
    }
}

static void check_pretraining(const char *golden_path, mb_activation activation) {
    mb_error error;
    mb_safetensors golden;
    mb_model_config config;
    mb_model *model;
    ASSERT_OK(mb_safetensors_open(golden_path, &golden, &error), error);
    ASSERT_OK(mb_model_config_load(GOLDEN "model_pretraining/config.json", &config, &error), error);
    config.activation = activation;
    ASSERT_OK(mb_model_new(&config, MB_HEAD_PRETRAINING, 1, &model, &error), error);
    ASSERT_OK(mb_model_load_weights(model, GOLDEN "model_pretraining/model.safetensors", &error), error);

    const mb_model_input input = golden_input(&golden);
    int64_t n_masked, n_targets, n_next;
    int32_t *rows = golden_ints(&golden, "rows", &n_masked), *targets = golden_ints(&golden, "targets", &n_targets);
    int32_t *next_sentence = golden_ints(&golden, "next_sentence", &n_next);
    mb_tape *tape = mb_tape_new(true);
    mb_tape_begin(tape, 0, 0);
    mb_tensor *all_hidden[3];
    mb_tensor *hidden = mb_model_encode(model, tape, &input, all_hidden);
    cr_assert_eq(hidden, all_hidden[2]);
    check_tensor(&golden, "hidden.0", all_hidden[0], logits_tolerance);
    check_tensor(&golden, "hidden.1", all_hidden[1], logits_tolerance);
    check_tensor(&golden, "hidden.2", all_hidden[2], logits_tolerance);
    check_tensor(&golden, "masked_lm_logits", mb_model_masked_lm_logits(model, tape, hidden, rows, n_masked), logits_tolerance);
    mb_tensor *masked_lm = mb_model_masked_lm_loss(model, tape, hidden, &(mb_masked_tokens){n_masked, rows, targets, NULL},
                                                   1.0 / (double)n_masked, NULL);
    check_tensor(&golden, "masked_lm_loss", masked_lm, logits_tolerance);
    mb_tensor *next_logits = mb_model_next_sentence_logits(model, tape, &input, hidden);
    check_tensor(&golden, "next_sentence_logits", next_logits, logits_tolerance);
    mb_tensor *next = mb_cross_entropy(tape, next_logits, next_sentence, 1.0 / (double)n_next);
    mb_tensor *loss = mb_add(tape, masked_lm, next);
    check_tensor(&golden, "loss", loss, logits_tolerance);
    cr_assert_eq(mb_tape_backward(tape, loss), MB_OK);
    check_gradients(&golden, model);
    free(rows);
    free(targets);
    free(next_sentence);
    free_input(&input);
    mb_tape_free(tape);
    mb_model_free(model);
    mb_safetensors_close(&golden);
}

Test(model_golden, pretraining_gelu) {
    check_pretraining(GOLDEN "model_gelu.safetensors", MB_ACTIVATION_GELU);
}
Test(model_golden, pretraining_gelu_new) {
    check_pretraining(GOLDEN "model_gelu_new.safetensors", MB_ACTIVATION_GELU_TANH);
}
Test(model_golden, pretraining_relu) {
    check_pretraining(GOLDEN "model_relu.safetensors", MB_ACTIVATION_RELU);
}

static void check_classifier(const char *name, int32_t n_labels_expected, const char *last_label) {
    char directory[256], golden_path[256];
    mb_error error;
    mb_safetensors golden;
    mb_model *model;
    snprintf(directory, sizeof directory, GOLDEN "%s", name);
    snprintf(golden_path, sizeof golden_path, GOLDEN "%s.safetensors", name);
    ASSERT_OK(mb_safetensors_open(golden_path, &golden, &error), error);
    ASSERT_OK(mb_model_load(directory, MB_HEAD_CLASSIFIER, NULL, 1, true, &model, &error), error);
    cr_expect_eq(mb_model_n_new_views(model), 0);
    cr_assert_eq(mb_model_get_config(model)->n_labels, n_labels_expected);
    cr_expect_str_eq(mb_model_get_config(model)->labels[n_labels_expected - 1], last_label);
    const mb_model_input input = golden_input(&golden);
    int64_t n_labels;
    int32_t *labels = golden_ints(&golden, "labels", &n_labels);
    mb_tape *tape = mb_tape_new(true);
    mb_tape_begin(tape, 0, 0);
    check_tensor(&golden, "logits", mb_model_classifier_logits(model, tape, &input, mb_model_encode(model, tape, &input, NULL)),
                 logits_tolerance);
    mb_tape_begin(tape, 0, 0);
    mb_tensor *logits = mb_model_classify(model, tape, &input);
    check_tensor(&golden, "logits", logits, logits_tolerance);
    mb_tensor *loss = mb_cross_entropy(tape, logits, labels, 1.0 / (double)n_labels);
    check_tensor(&golden, "loss", loss, logits_tolerance);
    cr_assert_eq(mb_tape_backward(tape, loss), MB_OK);
    check_gradients(&golden, model);
    free(labels);
    free_input(&input);
    mb_tape_free(tape);
    mb_model_free(model);
    mb_safetensors_close(&golden);
}

Test(model_golden, classifier) {
    check_classifier("model_classifier", 3, "好");
}
/* Every bias, the mean of the tokens, another activation in the head, a pattern of layers that no single number describes. */
Test(model_golden, modernbert_classifier) {
    check_classifier("model_modernbert_classifier", 3, "LABEL_2");
}

Test(model_golden, modernbert) {
    mb_error error;
    mb_safetensors golden;
    mb_model *model;
    ASSERT_OK(mb_safetensors_open(GOLDEN "model_modernbert.safetensors", &golden, &error), error);
    ASSERT_OK(mb_model_load(GOLDEN "model_modernbert", MB_HEAD_MASKED_LM, NULL, 1, true, &model, &error), error);
    cr_expect_eq(mb_model_n_new_views(model), 0);
    const mb_model_input input = golden_input(&golden);
    int64_t n_masked, n_targets;
    int32_t *rows = golden_ints(&golden, "rows", &n_masked), *targets = golden_ints(&golden, "targets", &n_targets);
    for (int recording = 0; recording < 2; recording++) {
        mb_tape *tape = mb_tape_new(recording);
        mb_tensor *all_hidden[4];
        mb_tape_begin(tape, 0, 0);
        mb_tensor *hidden = mb_model_encode(model, tape, &input, all_hidden);
        cr_assert_eq(hidden, all_hidden[3]);
        for (int layer = 0; layer < 4; layer++) {
            char name[16];
            snprintf(name, sizeof name, "hidden.%d", layer);
            check_tensor(&golden, name, all_hidden[layer], logits_tolerance);
        }
        mb_tensor *logits = mb_model_masked_lm_logits(model, tape, hidden, rows, n_masked);
        check_tensor(&golden, "masked_lm_logits", logits, logits_tolerance);
        check_tensor(&golden, "loss",
                     mb_model_masked_lm_loss(model, tape, hidden, &(mb_masked_tokens){n_masked, rows, targets, NULL},
                                             1.0 / (double)n_masked, NULL),
                     logits_tolerance);
        memset(mb_model_params(model)->grads, 0, (size_t)mb_model_params(model)->count * sizeof(mb_real));
        mb_tensor *loss = mb_model_masked_lm(model, tape, &input, &(mb_masked_tokens){n_masked, rows, targets, NULL},
                                             1.0 / (double)n_masked, NULL);
        check_tensor(&golden, "loss", loss, logits_tolerance);
        if (recording) {
            cr_assert_eq(mb_tape_backward(tape, loss), MB_OK);
            check_gradients(&golden, model);
        }
        mb_tape_free(tape);
    }
    free(rows);
    free(targets);
    free_input(&input);
    mb_model_free(model);
    mb_safetensors_close(&golden);
}
