/* A batch in parts has the gradient, and an example the probabilities, that it has whole. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "tasks/classifier.h"

enum { N_EXAMPLES = 90, N_LABELS = 3, VOCABULARY = 50 };

#define ASSERT_OK(call, error) cr_assert_eq((call), MB_OK, "%s", (error).message)

static mb_model *make_model(double dropout) {
    mb_model_config config;
    mb_error error;
    mb_model *model;
    ASSERT_OK(mb_model_config_preset("tiny", &config, &error), error);
    config.vocab_size = VOCABULARY;
    config.hidden_size = 16;
    config.n_heads = 2;
    config.intermediate_size = 24;
    config.max_positions = 4500;
    config.hidden_dropout = config.attention_dropout = config.classifier_dropout = dropout;
    ASSERT_OK(mb_model_config_set_labels(&config, (const char *const[]){"a", "b", "c"}, N_LABELS, &error), error);
    ASSERT_OK(mb_model_new(&config, MB_HEAD_CLASSIFIER, 3, &model, &error), error);
    mb_model_config_free(&config);
    mb_params_initialize(mb_model_params(model), 3, 0.3);
    return model;
}

/* Examples of 20 to 219 tokens, 10,000 together: parts of 4,096 end in the middle. `same`: all alike. */
static mb_classifier_set make_set(bool same) {
    mb_classifier_set set = {.n = N_EXAMPLES};
    set.starts = calloc(N_EXAMPLES + 1, sizeof *set.starts);
    set.labels = calloc(N_EXAMPLES, sizeof *set.labels);
    for (uint32_t i = 0; i < N_EXAMPLES; i++) {
        const int32_t length = same ? 100 : 20 + (int32_t)(mb_rng_at(1, MB_STREAM_TEST, i, 0, 0).v[0] % 200);
        set.starts[i + 1] = set.starts[i] + length;
        set.max_length = length > set.max_length ? length : set.max_length;
        set.labels[i] = same ? 1 : (int32_t)(i % N_LABELS);
    }
    set.ids = calloc((size_t)set.starts[N_EXAMPLES], sizeof *set.ids);
    set.types = calloc((size_t)set.starts[N_EXAMPLES], sizeof *set.types);
    for (uint32_t i = 0; i < (uint32_t)set.starts[N_EXAMPLES]; i++) {
        set.ids[i] = (int32_t)(mb_rng_at(2, MB_STREAM_TEST, same ? i % 100 : i, 0, 0).v[0] % VOCABULARY);
    }
    return set;
}

static mb_step_sums accumulate(mb_model *model, const mb_classifier_set *set, int64_t batch_size, int64_t grad_accum) {
    mb_params *params = mb_model_params(model);
    mb_classifier_batch batch = {0};
    mb_step_sums sums;
    mb_error error;
    ASSERT_OK(mb_classifier_batch_new(set, batch_size, &batch, &error), error);
    const mb_classifier_trainee trainee = {.model = model, .tape = mb_tape_new(true), .seed = 4};
    memset(params->grads, 0, (size_t)params->count * sizeof *params->grads);
    ASSERT_OK(mb_classifier_accumulate(&trainee, set, &batch, grad_accum, 0, &sums, &error), error);
    mb_tape_free(trainee.tape);
    mb_classifier_batch_free(&batch);
    return sums;
}

Test(classifier, a_batch_in_parts_has_the_gradient_of_the_whole) {
    mb_model *model = make_model(0);
    mb_params *params = mb_model_params(model);
    mb_classifier_set set = make_set(false);
    cr_assert_gt(set.starts[N_EXAMPLES], 2 * 4096);
    const mb_step_sums parts = accumulate(model, &set, N_EXAMPLES, 1);
    mb_real *grads = malloc((size_t)params->count * sizeof *grads);
    memcpy(grads, params->grads, (size_t)params->count * sizeof *grads);
    const mb_step_sums singly = accumulate(model, &set, 1, N_EXAMPLES); /* the same examples, each by itself */
    cr_expect_eq(parts.n_targets, N_EXAMPLES);
    cr_expect_eq(parts.n_tokens, set.starts[N_EXAMPLES]);
    cr_expect_eq(singly.n_tokens, set.starts[N_EXAMPLES]);
    cr_expect_eq(parts.n_correct, singly.n_correct);
    cr_expect_float_eq(parts.loss, singly.loss, 1e-5);
    for (int64_t i = 0; i < params->count; i++) {
        cr_assert(fabs((double)(grads[i] - params->grads[i])) < 1e-5, "gradient %ld: %g and %g", (long)i, (double)grads[i],
                  (double)params->grads[i]);
    }
    free(grads);
    mb_classifier_set_free(&set);
    mb_model_free(model);
}

/* 90 equal examples are three parts, 40 + 40 + 10. With the same masks in the first two the loss would be that of 40 and 10:
 * parts of a batch, and batches, draw their own. */
Test(classifier, parts_drop_out_other_numbers) {
    mb_model *model = make_model(0.5);
    mb_classifier_set set = make_set(true);
    const double all = accumulate(model, &set, N_EXAMPLES, 1).loss * 90;
    set.n = 40;
    const double first = accumulate(model, &set, 40, 1).loss * 40; /* is part 0 of batch 0 in either case */
    set.n = N_EXAMPLES;
    const double rest = all - first;
    set.n = 10;
    const double ten = accumulate(model, &set, 10, 1).loss * 10;
    cr_expect(fabs(rest - first - ten) > 1e-2, "40 examples lose %f, 10 %f, 90 %f", first, ten, all);
    set.n = N_EXAMPLES;
    mb_classifier_set_free(&set);
    mb_model_free(model);
}

enum { HIDDEN_ID = 1, FIRST_ID = 2, LAST_ID = 3, WORD_ID = 4, SHORT_EXAMPLES = 20 };

/* What a step of all examples reads, which must fit into one part, in the order of the set: FIRST_ID words LAST_ID, `n_hidden`
 * of the words hidden. The words of example e are WORD_ID + e. */
static void read_hidden(mb_model *model, const mb_classifier_set *set, double probability, int64_t step, int32_t *ids,
                        int64_t *n_hidden) {
    mb_classifier_batch batch = {0};
    mb_step_sums sums;
    mb_error error;
    ASSERT_OK(mb_classifier_batch_new(set, set->n, &batch, &error), error);
    const mb_classifier_trainee trainee = {
        .model = model, .tape = mb_tape_new(true), .seed = 4, .word_dropout = {probability, HIDDEN_ID, FIRST_ID, LAST_ID}};
    ASSERT_OK(mb_classifier_accumulate(&trainee, set, &batch, 1, step, &sums, &error), error);
    cr_assert_eq(batch.n_tokens, set->starts[set->n]);
    *n_hidden = 0;
    for (int32_t i = 0; i < batch.n; i++) {
        const int32_t *read = batch.ids + batch.offsets[i], length = batch.offsets[i + 1] - batch.offsets[i];
        int32_t word = HIDDEN_ID;
        cr_assert(read[0] == FIRST_ID && read[length - 1] == LAST_ID);
        for (int32_t j = 1; j < length - 1; j++) {
            word = read[j] != HIDDEN_ID ? read[j] : word;
        }
        for (int32_t j = 1; j < length - 1; j++) {
            cr_assert(read[j] == HIDDEN_ID || read[j] == word);
            *n_hidden += read[j] == HIDDEN_ID;
        }
        const int64_t example = word == HIDDEN_ID ? i : word - WORD_ID;
        memcpy(ids + set->starts[example], read, (size_t)length * sizeof *ids);
    }
    mb_tape_free(trainee.tape);
    mb_classifier_batch_free(&batch);
}

Test(classifier, word_dropout_hides_other_words_each_epoch) {
    mb_model *model = make_model(0);
    mb_classifier_set set = make_set(true);
    set.n = SHORT_EXAMPLES;
    for (int64_t i = 0; i < set.n; i++) {
        for (int64_t j = set.starts[i]; j < set.starts[i + 1]; j++) {
            set.ids[j] = j == set.starts[i] ? FIRST_ID : j == set.starts[i + 1] - 1 ? LAST_ID : WORD_ID + (int32_t)i;
        }
    }
    const int64_t n = set.starts[set.n], n_words = n - 2 * set.n;
    int32_t *first = calloc((size_t)n, sizeof *first), *second = calloc((size_t)n, sizeof *second);
    int64_t n_hidden;
    read_hidden(model, &set, 0, 0, first, &n_hidden);
    cr_assert_eq(n_hidden, 0);
    read_hidden(model, &set, 1, 0, first, &n_hidden);
    cr_assert_eq(n_hidden, n_words);
    read_hidden(model, &set, 0.3, 0, first, &n_hidden);
    const double deviation = sqrt(0.3 * 0.7 * (double)n_words);
    cr_assert(fabs((double)n_hidden - 0.3 * (double)n_words) < 4 * deviation, "%ld of %ld", (long)n_hidden, (long)n_words);
    read_hidden(model, &set, 0.3, 0, second, &n_hidden);
    cr_assert_arr_eq(first, second, (size_t)n * sizeof *first, "the same step, the same words");
    read_hidden(model, &set, 0.3, 1, second, &n_hidden);
    for (int64_t length = n / set.n, i = 0; i < set.n; i++) {
        int64_t n_epochs = 0, n_examples = 0; /* hidden in one of both: by chance 0.42 of the places */
        for (int64_t j = i * length, other = (i + 1) % set.n * length; j < (i + 1) * length; j++, other++) {
            n_epochs += (first[j] == HIDDEN_ID) != (second[j] == HIDDEN_ID);
            n_examples += (first[j] == HIDDEN_ID) != (first[other] == HIDDEN_ID);
        }
        cr_assert_gt(n_epochs, length / 5, "the next epoch");
        cr_assert_gt(n_examples, length / 5, "another example");
    }
    free(first);
    free(second);
    set.n = N_EXAMPLES;
    mb_classifier_set_free(&set);
    mb_model_free(model);
}

Test(classifier, probabilities_do_not_depend_on_the_parts) {
    mb_model *model = make_model(0.1);
    mb_classifier_set set = make_set(false);
    mb_tape *tape = mb_tape_new(false);
    float *by[2];
    for (int k = 0; k < 2; k++) {
        mb_classifier_batch batch = {0};
        mb_error error;
        by[k] = calloc(N_EXAMPLES * N_LABELS, sizeof **by);
        ASSERT_OK(mb_classifier_batch_new(&set, k == 0 ? 32 : 1, &batch, &error), error);
        ASSERT_OK(mb_classifier_predict(model, tape, &set, &batch, 0, N_EXAMPLES, by[k], &error), error);
        mb_classifier_batch_free(&batch);
    }
    for (int i = 0; i < N_EXAMPLES * N_LABELS; i++) {
        cr_assert_float_eq(by[0][i], by[1][i], 1e-6);
    }
    free(by[0]);
    free(by[1]);
    mb_tape_free(tape);
    mb_classifier_set_free(&set);
    mb_model_free(model);
}

/* One example longer than a part is a part. */
Test(classifier, a_long_example_is_computed_whole) {
    mb_model *model = make_model(0);
    int64_t starts[] = {0, 30, 4330, 4360};
    int32_t *ids = calloc(4360, sizeof *ids), *types = calloc(4360, sizeof *types), labels[] = {0, 1, 2};
    const mb_classifier_set set = {.n = 3, .starts = starts, .ids = ids, .types = types, .labels = labels, .max_length = 4300};
    const mb_step_sums sums = accumulate(model, &set, 3, 1);
    cr_expect_eq(sums.n_tokens, 4360);
    cr_expect(isfinite(sums.loss));
    free(ids);
    free(types);
    mb_model_free(model);
}
