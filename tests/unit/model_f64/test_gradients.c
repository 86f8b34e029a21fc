/* The whole model's gradient against central differences in double, on elements of every view of the parameter table.
 *
 * The five-point formula f' = (f(-2h) - 8 f(-h) + 8 f(h) - f(2h)) / 12h has an error of order h^4: with h = 1e-3 both that and
 * rounding stay near 1e-12, so that 1e-6 relative means something even for a gradient of 1e-5. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/ops.h"
#include "base/rng.h"
#include "base/threads.h"
#include "model/model.h"

#define ASSERT_OK(call, error) cr_assert_eq((call), MB_OK, "%s", (error).message)

static const double tolerance = 1e-6;
enum { SAMPLES_PER_VIEW = 24, N_TOKENS = 15, N_SEQUENCES = 3, N_MASKED = 5 };

static const int32_t offsets[] = {0, 5, 6, 15}; /* one sequence is a single token */
static const int32_t ids[N_TOKENS] = {2, 5, 36, 7, 3, 2, 2, 11, 12, 13, 13, 3, 30, 31, 3};
static const int32_t types[N_TOKENS] = {0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1};
static const int32_t rows[N_MASKED] = {1, 2, 5, 9, 14}, targets[N_MASKED] = {8, 36, 0, 13, 20};
static const int32_t next_sentence[N_SEQUENCES] = {0, 1, 1}, labels[N_SEQUENCES] = {3, 0, 1};
static const mb_model_input input = {
    .n_tokens = N_TOKENS, .ids = ids, .types = types, .sequences = {.n = N_SEQUENCES, .offsets = offsets, .max_length = 9}};

typedef struct setting {
    mb_head head;
    mb_activation activation;
    double dropout; /* the masks depend on (seed, step) alone, so the loss is still a function of the weights */
} setting;

static mb_model *make_model(const setting *of) {
    mb_model_config config;
    mb_error error;
    mb_model *model;
    const char *names[] = {"a", "b", "c", "d"};
    ASSERT_OK(mb_model_config_preset("tiny", &config, &error), error);
    config.vocab_size = 37;
    config.hidden_size = 12;
    config.n_heads = 3;
    config.intermediate_size = 20;
    config.max_positions = 9;
    config.activation = of->activation;
    config.hidden_dropout = config.attention_dropout = config.classifier_dropout = of->dropout;
    ASSERT_OK(mb_model_config_set_labels(&config, names, 4, &error), error);
    ASSERT_OK(mb_model_new(&config, of->head, 1, &model, &error), error);
    mb_model_config_free(&config);
    /* Away from the start, where biases are 0, gammas 1 and all else so small that most gradients vanish. */
    mb_params *params = mb_model_params(model);
    for (int64_t i = 0; i < params->count; i++) {
        float normal[2];
        const mb_rng_block words = mb_rng_at(11, MB_STREAM_TEST, (uint32_t)i, 0, 0);
        mb_rng_normal2(words.v[0], words.v[1], normal);
        params->weights[i] += 0.3 * (double)normal[0];
    }
    return model;
}

static mb_tensor *forward(mb_model *model, mb_tape *tape) {
    mb_tape_begin(tape, 3, 4);
    if (mb_model_get_head(model) == MB_HEAD_CLASSIFIER) {
        return mb_cross_entropy(tape, mb_model_classify(model, tape, &input), labels, 1.0 / N_SEQUENCES);
    }
    if (mb_model_get_head(model) == MB_HEAD_MASKED_LM) { /* of the last layer the masked rows alone */
        return mb_model_masked_lm(model, tape, &input, &(mb_masked_tokens){N_MASKED, rows, targets, NULL}, 1.0 / N_MASKED,
                                  NULL);
    }
    mb_tensor *hidden = mb_model_encode(model, tape, &input, NULL);
    if (mb_model_get_head(model) == MB_HEAD_TOKEN_CLASSIFIER) {
        mb_tensor *logits = mb_gather_rows(tape, mb_model_classifier_logits(model, tape, &input, hidden), rows, 3);
        return mb_cross_entropy(tape, logits, labels, 1.0 / N_SEQUENCES);
    }
    mb_tensor *masked_lm =
        mb_model_masked_lm_loss(model, tape, hidden, &(mb_masked_tokens){N_MASKED, rows, targets, NULL}, 1.0 / N_MASKED, NULL);
    mb_tensor *next = mb_model_next_sentence_logits(model, tape, &input, hidden);
    return mb_add(tape, masked_lm, mb_cross_entropy(tape, next, next_sentence, 1.0 / N_SEQUENCES));
}

static double loss_at(mb_model *model, mb_tape *tape, double *weight, double value) {
    const double kept = *weight;
    *weight = value;
    const double loss = mb_tensor_real(forward(model, tape))[0];
    *weight = kept;
    return loss;
}

static double difference_quotient(mb_model *model, mb_tape *tape, double *weight) {
    const double h = 1e-3, w = *weight;
    return (loss_at(model, tape, weight, w - 2 * h) - 8 * loss_at(model, tape, weight, w - h) +
            8 * loss_at(model, tape, weight, w + h) - loss_at(model, tape, weight, w + 2 * h)) /
           (12 * h);
}

/* Samples of one view: where, and the gradient by differences and by backward. */
typedef struct samples {
    double numeric[SAMPLES_PER_VIEW], analytic[SAMPLES_PER_VIEW];
} samples;

static samples take_samples(mb_model *model, mb_tape *tape, const mb_param *view, const double *gradients) {
    samples taken;
    for (uint32_t s = 0; s < SAMPLES_PER_VIEW; s++) {
        const mb_rng_block words = mb_rng_at(5, MB_STREAM_TEST, (uint32_t)view->offset, s, 0);
        int64_t element = (int64_t)mb_rng_below(words.v[0], (uint32_t)view->count);
        element = s == 0 ? 0 : s == 1 ? view->count - 1 : element;
        if (strstr(view->name, "word_embeddings") && s < 4) {
            element = 12 * ids[3 * s] + (int64_t)s; /* rows that the batch uses */
        }
        taken.analytic[s] = gradients[view->offset + element];
        taken.numeric[s] = difference_quotient(model, tape, mb_model_params(model)->weights + view->offset + element);
    }
    return taken;
}

/* The worst relative error, with backward's gradient times `sign`. Gradients below 1e-5 count as 1e-5: some are exactly zero
 * (a key's bias, a word that does not occur). */
static double worst_error(const samples *taken, double sign) {
    double worst = 0;
    for (int s = 0; s < SAMPLES_PER_VIEW; s++) {
        const double analytic = sign * taken->analytic[s], numeric = taken->numeric[s];
        worst = fmax(worst, fabs(analytic - numeric) / fmax(1e-5, fmax(fabs(analytic), fabs(numeric))));
    }
    return worst;
}

static double largest(const samples *taken) {
    double max = 0;
    for (int s = 0; s < SAMPLES_PER_VIEW; s++) {
        max = fmax(max, fabs(taken->analytic[s]));
    }
    return max;
}

static void check_model(const setting *of) {
    mb_threads_set(1); /* tiny products: threads would only wait for each other */
    mb_model *model = make_model(of);
    mb_params *params = mb_model_params(model);
    mb_tape *tape = mb_tape_new(true);
    cr_assert_eq(mb_tape_backward(tape, forward(model, tape)), MB_OK);
    /* A copy: mb_linear_cross_entropy adds to the gradients in every forward. */
    double *gradients = malloc((size_t)params->count * sizeof *gradients);
    memcpy(gradients, params->grads, (size_t)params->count * sizeof *gradients);
    double worst = 0;
    for (size_t i = 0; i < params->n_views; i++) {
        const mb_param *view = &params->views[i];
        const samples taken = take_samples(model, tape, view, gradients);
        worst = fmax(worst, worst_error(&taken, 1));
        cr_expect(worst_error(&taken, 1) < tolerance, "%s: relative error %.2e", view->name, worst_error(&taken, 1));
        if (strstr(view->name, "self.key.bias")) {
            cr_expect(largest(&taken) < 1e-12, "a key's bias cannot change the softmax, yet %s has a gradient", view->name);
        } else { /* the check can fail: the same view with the wrong sign */
            cr_expect(worst_error(&taken, -1) > 1, "%s: a wrong sign would go unnoticed", view->name);
        }
    }
    cr_log_info("worst relative error %.2e", worst);
    free(gradients);
    mb_tape_free(tape);
    mb_model_free(model);
}

Test(model_gradients, pretraining) {
    check_model(&(setting){MB_HEAD_PRETRAINING, MB_ACTIVATION_GELU, 0});
}
Test(model_gradients, pretraining_with_dropout) {
    check_model(&(setting){MB_HEAD_PRETRAINING, MB_ACTIVATION_GELU, 0.1});
}
Test(model_gradients, pretraining_gelu_tanh) {
    check_model(&(setting){MB_HEAD_PRETRAINING, MB_ACTIVATION_GELU_TANH, 0});
}
Test(model_gradients, masked_lm) {
    check_model(&(setting){MB_HEAD_MASKED_LM, MB_ACTIVATION_GELU, 0});
}
Test(model_gradients, masked_lm_with_dropout) {
    check_model(&(setting){MB_HEAD_MASKED_LM, MB_ACTIVATION_GELU, 0.1});
}
Test(model_gradients, classifier) {
    check_model(&(setting){MB_HEAD_CLASSIFIER, MB_ACTIVATION_GELU, 0});
}
Test(model_gradients, classifier_with_dropout) {
    check_model(&(setting){MB_HEAD_CLASSIFIER, MB_ACTIVATION_GELU, 0.2});
}
Test(model_gradients, token_classifier) {
    check_model(&(setting){MB_HEAD_TOKEN_CLASSIFIER, MB_ACTIVATION_GELU, 0.1});
}
