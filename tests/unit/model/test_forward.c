#include <math.h>

#include "autograd/ops.h"
#include "base/threads.h"
#include "support.h"

static mb_real *copy_values(const mb_tensor *tensor) {
    cr_assert_not_null(tensor);
    const size_t n_bytes = (size_t)mb_tensor_count(tensor) * sizeof(mb_real);
    mb_real *copy = malloc(n_bytes);
    memcpy(copy, tensor->data, n_bytes);
    return copy;
}

static double distance(const mb_real *a, const mb_real *b, int64_t count) {
    double max = 0;
    for (int64_t i = 0; i < count; i++) {
        max = fmax(max, fabs((double)a[i] - (double)b[i]));
    }
    return max;
}

/* Weights large enough that the numbers compared are not all nearly alike. */
static mb_model *make_model(mb_head head) {
    mb_model *model = new_tiny(head);
    mb_params_initialize(mb_model_params(model), 3, 0.5);
    return model;
}

Test(forward, inference_gives_what_a_recording_tape_gives) {
    mb_model *model = make_model(MB_HEAD_CLASSIFIER);
    const mb_model_input input = tiny_input();
    mb_real *hidden[2], *logits[2];
    for (int recording = 0; recording < 2; recording++) {
        mb_tape *tape = mb_tape_new(recording);
        for (int step = 0; step < 4; step++) { /* the arena of an inference tape settles after its first steps */
            mb_tape_begin(tape, 1, (uint64_t)step);
            mb_tensor *out = mb_model_encode(model, tape, &input, NULL);
            mb_real *previous = step ? hidden[recording] : NULL;
            hidden[recording] = copy_values(out);
            cr_expect(!previous || distance(previous, hidden[recording], TINY_TOKENS * 12) == 0, "step %d differs", step);
            free(previous);
            mb_tensor *scores = mb_model_classifier_logits(model, tape, &input, out);
            if (step) {
                free(logits[recording]);
            }
            logits[recording] = copy_values(scores);
        }
        mb_tape_free(tape);
    }
    cr_expect_eq(distance(hidden[0], hidden[1], TINY_TOKENS * 12), 0);
    cr_expect_eq(distance(logits[0], logits[1], 3 * 4), 0);
    for (int i = 0; i < 2; i++) {
        free(hidden[i]);
        free(logits[i]);
    }
    mb_model_free(model);
}

Test(forward, all_hidden_states_are_kept_where_asked_for) {
    mb_model *model = make_model(MB_HEAD_NONE);
    const mb_model_input input = tiny_input();
    mb_tensor *all[2][3];
    mb_tape *tapes[2];
    for (int recording = 0; recording < 2; recording++) {
        tapes[recording] = mb_tape_new(recording);
        mb_tape_begin(tapes[recording], 0, 0);
        cr_assert_eq(mb_model_encode(model, tapes[recording], &input, all[recording]), all[recording][2]);
    }
    for (int layer = 0; layer < 3; layer++) {
        cr_expect_eq(distance(all[0][layer]->data, all[1][layer]->data, TINY_TOKENS * 12), 0);
        cr_expect(layer == 0 || distance(all[0][layer]->data, all[0][layer - 1]->data, TINY_TOKENS * 12) > 0.1);
    }
    mb_tape_free(tapes[0]);
    mb_tape_free(tapes[1]);
    mb_model_free(model);
}

/* Packing: what stands beside a sequence in the batch does not reach it. */
Test(forward, a_sequence_alone_gives_what_it_gives_in_a_batch) {
    mb_model *model = make_model(MB_HEAD_NONE);
    const mb_model_input batch = tiny_input();
    mb_tape *tape = mb_tape_new(false);
    mb_tape_begin(tape, 0, 0);
    mb_real *together = copy_values(mb_model_encode(model, tape, &batch, NULL));
    for (int32_t b = 0; b < batch.sequences.n; b++) {
        const int32_t begin = batch.sequences.offsets[b], length = batch.sequences.offsets[b + 1] - begin;
        const int32_t offsets[2] = {0, length};
        const mb_model_input single = {.n_tokens = length,
                                       .ids = batch.ids + begin,
                                       .types = batch.types + begin,
                                       .sequences = {.n = 1, .offsets = offsets, .max_length = length}};
        mb_tape_begin(tape, 0, 0);
        const mb_tensor *alone = mb_model_encode(model, tape, &single, NULL);
        cr_expect(distance(alone->data, together + begin * 12, length * 12) < 1e-5, "sequence %d", b);
    }
    free(together);
    mb_tape_free(tape);
    mb_model_free(model);
}

Test(forward, no_types_means_type_zero) {
    static const int32_t zeros[TINY_TOKENS];
    mb_model *model = make_model(MB_HEAD_NONE);
    mb_model_input input = tiny_input();
    mb_tape *tape = mb_tape_new(false);
    input.types = zeros;
    mb_tape_begin(tape, 0, 0);
    mb_real *given = copy_values(mb_model_encode(model, tape, &input, NULL));
    input.types = NULL;
    mb_tape_begin(tape, 0, 0);
    cr_expect_eq(distance(mb_model_encode(model, tape, &input, NULL)->data, given, TINY_TOKENS * 12), 0);
    input.types = tiny_input().types;
    mb_tape_begin(tape, 0, 0);
    cr_expect(distance(mb_model_encode(model, tape, &input, NULL)->data, given, TINY_TOKENS * 12) > 0.1);
    free(given);
    mb_tape_free(tape);
    mb_model_free(model);
}

Test(forward, masked_lm_loss_is_the_cross_entropy_of_the_logits) {
    mb_model *model = make_model(MB_HEAD_MASKED_LM);
    const mb_model_input input = tiny_input();
    const int32_t rows[] = {1, 5, 5, 14}, targets[] = {0, 36, 7, 12};
    mb_tape *tape = mb_tape_new(false);
    mb_tape_begin(tape, 0, 0);
    mb_tensor *hidden = mb_model_encode(model, tape, &input, NULL);
    mb_tensor *logits = mb_model_masked_lm_logits(model, tape, hidden, rows, 4);
    cr_expect(logits->dims[0] == 4 && logits->dims[1] == 37);
    int64_t n_correct = 0, expected_correct = 0;
    for (int i = 0; i < 4; i++) {
        const mb_real *row = mb_tensor_real(logits) + 37 * i;
        int best = 0;
        for (int v = 1; v < 37; v++) {
            best = row[v] > row[best] ? v : best;
        }
        expected_correct += best == targets[i];
    }
    const mb_tensor *loss =
        mb_model_masked_lm_loss(model, tape, hidden, &(mb_masked_tokens){4, rows, targets, NULL}, 0.25, &n_correct);
    const mb_tensor *direct = mb_cross_entropy(tape, logits, targets, 0.25);
    cr_expect_float_eq(mb_tensor_real(loss)[0], mb_tensor_real(direct)[0], 1e-5);
    cr_expect_eq(n_correct, expected_correct);
    int64_t n_correct_of_rows = 0;
    const mb_tensor *of_rows =
        mb_model_masked_lm(model, tape, &input, &(mb_masked_tokens){4, rows, targets, NULL}, 0.25, &n_correct_of_rows);
    cr_expect_float_eq(mb_tensor_real(of_rows)[0], mb_tensor_real(direct)[0], 1e-5);
    cr_expect_eq(n_correct_of_rows, expected_correct);
    mb_tape_free(tape);
    mb_model_free(model);
}

static mb_tensor *training_loss(mb_model *model, mb_tape *tape, const mb_model_input *input, uint64_t step) {
    static const int32_t labels[] = {0, 3, 2};
    mb_tape_begin(tape, 1, step);
    mb_tensor *logits = mb_model_classifier_logits(model, tape, input, mb_model_encode(model, tape, input, NULL));
    return mb_cross_entropy(tape, logits, labels, 1.0 / 3);
}

Test(forward, a_frozen_encoder_gets_no_gradient) {
    mb_model *model = make_model(MB_HEAD_CLASSIFIER);
    mb_params *params = mb_model_params(model);
    const mb_model_input input = tiny_input();
    mb_tape *tape = mb_tape_new(true);
    for (int frozen = 1; frozen >= 0; frozen--) {
        mb_model_freeze_encoder(model, frozen);
        memset(params->grads, 0, (size_t)params->count * sizeof *params->grads);
        cr_assert_eq(mb_tape_backward(tape, training_loss(model, tape, &input, 0)), MB_OK);
        for (size_t i = 0; i < params->n_views; i++) {
            const mb_param *view = &params->views[i];
            const bool is_head = strstr(view->name, "pooler") || strstr(view->name, "classifier");
            double sum = 0;
            for (int64_t j = 0; j < view->count; j++) {
                sum += fabs((double)params->grads[view->offset + j]);
            }
            cr_expect_eq(view->frozen, frozen && !is_head);
            cr_expect(view->frozen ? sum == 0 : sum > 0, "%s: %g", view->name, sum);
        }
    }
    mb_tape_free(tape);
    mb_model_free(model);
}

/* Of BERT's two layers the upper one learns at half the rate of the head, the embeddings at an eighth, the words among them at
 * three times that; so do ModernBERT's. */
Test(forward, rates_fall_from_layer_to_layer) {
    mb_model_config config = tiny_config();
    config.n_layers = 2;
    mb_model *models[] = {make_model(MB_HEAD_CLASSIFIER), new_modern_masked_lm(&config, 0.02)};
    static const struct {
        const char *part;
        double rate;
    } rates[] = {{".embeddings.", 0.125}, {"word_embeddings", 0.375}, {"tok_embeddings", 0.375}, {"layer.0.", 0.25},
                 {"layers.0.", 0.25},     {"layer.1.", 0.5},          {"layers.1.", 0.5}};
    for (int m = 0; m < 2; m++) {
        const mb_params *params = mb_model_params(models[m]);
        mb_model_set_rates(models[m], 0.5, 3);
        for (size_t i = 0; i < params->n_views; i++) {
            double expected = 1;
            for (size_t k = 0; k < sizeof rates / sizeof *rates; k++) {
                expected = strstr(params->views[i].name, rates[k].part) ? rates[k].rate : expected;
            }
            cr_expect_eq(params->views[i].rate, expected, "%s: %g", params->views[i].name, params->views[i].rate);
        }
        mb_model_free(models[m]);
    }
}

Test(forward, dropout_depends_on_the_step_alone_and_is_off_in_inference) {
    mb_model *model = make_model(MB_HEAD_CLASSIFIER);
    const mb_model_input input = tiny_input();
    mb_tape *recording = mb_tape_new(true), *inference = mb_tape_new(false);
    const double without = (double)mb_tensor_real(training_loss(model, recording, &input, 0))[0];
    mb_model_set_dropout(model, 0.2, 0.2, 0.2);
    const double first = (double)mb_tensor_real(training_loss(model, recording, &input, 0))[0];
    const double second = (double)mb_tensor_real(training_loss(model, recording, &input, 1))[0];
    const double again = (double)mb_tensor_real(training_loss(model, recording, &input, 0))[0];
    const double inferred = (double)mb_tensor_real(training_loss(model, inference, &input, 0))[0];
    cr_expect_neq(first, second);
    cr_expect_neq(first, without);
    cr_expect_eq(first, again);
    cr_expect_eq(inferred, without);
    mb_tape_free(recording);
    mb_tape_free(inference);
    mb_model_free(model);
}

Test(forward, results_do_not_depend_on_the_number_of_threads) {
    mb_model *model = make_model(MB_HEAD_CLASSIFIER);
    mb_params *params = mb_model_params(model);
    const mb_model_input input = tiny_input();
    mb_tape *tape = mb_tape_new(true);
    mb_real *expected = NULL;
    mb_model_set_dropout(model, 0.1, 0.1, 0.1);
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        mb_threads_set(n_threads);
        memset(params->grads, 0, (size_t)params->count * sizeof *params->grads);
        cr_assert_eq(mb_tape_backward(tape, training_loss(model, tape, &input, 0)), MB_OK);
        if (!expected) {
            expected = malloc((size_t)params->count * sizeof *expected);
            memcpy(expected, params->grads, (size_t)params->count * sizeof *expected);
        }
        cr_expect_eq(memcmp(expected, params->grads, (size_t)params->count * sizeof *expected), 0, "%d threads", n_threads);
    }
    free(expected);
    mb_tape_free(tape);
    mb_model_free(model);
}

/* ModernBERT's stream, whose sums go on without a norm; the first token, the mean. */
static mb_model *make_modern(bool mean_pooling) {
    mb_model_config config = tiny_config();
    mb_error error;
    mb_model *model;
    mb_model_config_make_modern(&config);
    config.head_activation = MB_ACTIVATION_GELU;
    config.mean_pooling = mean_pooling;
    config.local_attention = 4;
    config.hidden_dropout = config.embedding_dropout = config.attention_dropout = config.classifier_dropout = 0;
    ASSERT_OK(mb_model_config_set_labels(&config, (const char *const[]){"a", "b", "c", "d"}, 4, &error), error);
    ASSERT_OK(mb_model_new(&config, MB_HEAD_CLASSIFIER, 7, &model, &error), error);
    mb_model_config_free(&config);
    mb_params_initialize(mb_model_params(model), 3, 0.5);
    return model;
}

static void classifies_as_from_all_hidden_states(mb_model *model) {
    mb_params *params = mb_model_params(model);
    const mb_model_input input = tiny_input();
    static const int32_t labels[] = {0, 3, 2};
    mb_real *logits[3], *grads[2];
    for (int i = 0; i < 3; i++) {
        mb_tape *tape = mb_tape_new(i < 2);
        mb_tape_begin(tape, 1, 0);
        memset(params->grads, 0, (size_t)params->count * sizeof *params->grads);
        mb_tensor *out = i > 0 ? mb_model_classify(model, tape, &input)
                               : mb_model_classifier_logits(model, tape, &input, mb_model_encode(model, tape, &input, NULL));
        logits[i] = copy_values(out);
        if (i < 2) {
            cr_assert_eq(mb_tape_backward(tape, mb_cross_entropy(tape, out, labels, 1.0 / 3)), MB_OK);
            grads[i] = malloc((size_t)params->count * sizeof **grads);
            memcpy(grads[i], params->grads, (size_t)params->count * sizeof **grads);
        }
        mb_tape_free(tape);
    }
    cr_expect_lt(distance(logits[0], logits[1], 12), 2e-5); /* products of other shapes: sums of another order */
    cr_expect_lt(distance(logits[1], logits[2], 12), 1e-6);
    cr_expect_lt(distance(grads[0], grads[1], params->count), 2e-5);
    for (int i = 0; i < 3; i++) {
        free(logits[i]);
        free(i < 2 ? grads[i] : NULL);
    }
    mb_model_free(model);
}

Test(forward, a_classifier_computes_only_what_it_reads) {
    classifies_as_from_all_hidden_states(make_model(MB_HEAD_CLASSIFIER));
    classifies_as_from_all_hidden_states(make_modern(false));
    classifies_as_from_all_hidden_states(make_modern(true));
}
