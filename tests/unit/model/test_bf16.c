#include <math.h>
#include <omp.h>

#include "autograd/ops.h"
#include "support.h"
#include "tensor/bf16.h"

/* The same model, batch and dropout in fp32 and in bf16: losses and gradients must nearly agree (about 3 digits are kept). */

enum { N_TOKENS = 90, N_SEQUENCES = 4, N_MASKED = 17, N_LABELS = 3, VOCABULARY = 301 };

static int32_t ids[N_TOKENS], masked_rows[N_MASKED], targets[N_MASKED], labels[N_SEQUENCES] = {0, 2, 1, 1};
static const int32_t offsets[N_SEQUENCES + 1] = {0, 41, 48, 49, N_TOKENS};

static mb_model_input make_input(void) {
    for (int32_t i = 0; i < N_TOKENS; i++) {
        ids[i] = (i * 37 + i * i * 11) % VOCABULARY;
    }
    for (int32_t i = 0; i < N_MASKED; i++) {
        masked_rows[i] = i * 5;
        targets[i] = (i * 53 + 7) % VOCABULARY;
    }
    return (mb_model_input){
        .n_tokens = N_TOKENS, .ids = ids, .sequences = {.n = N_SEQUENCES, .offsets = offsets, .max_length = 41}};
}

/* Heads of 20 and a feed-forward of 290: nothing is a multiple of a block, and that is more than what is packed at once. */
static mb_model *make(mb_layout layout, mb_head head) {
    mb_model_config config;
    mb_model *model;
    mb_error error;
    ASSERT_OK(mb_model_config_preset("tiny", &config, &error), error);
    config.vocab_size = VOCABULARY;
    config.hidden_size = 60;
    config.n_heads = 3;
    config.n_layers = 3;
    config.max_positions = 64;
    if (layout == MB_LAYOUT_MODERNBERT) {
        mb_model_config_make_modern(&config);
        config.local_attention = 12;
    }
    config.intermediate_size = 290;
    config.hidden_dropout = config.embedding_dropout = config.attention_dropout = config.classifier_dropout = 0.1;
    if (head == MB_HEAD_CLASSIFIER) {
        ASSERT_OK(mb_model_config_set_labels(&config, (const char *const[]){"a", "b", "c"}, N_LABELS, &error), error);
    }
    ASSERT_OK(mb_model_new(&config, head, 5, &model, &error), error);
    mb_model_config_free(&config);
    return model;
}

/* Means over some draws of dropout: four classified sequences alone leave a few thousandths of noise in the loss. */
static double loss_and_gradients(mb_model *model, mb_head head, mb_real *grads) {
    enum { N_DRAWS = 8 };
    const mb_model_input input = make_input();
    mb_params *params = mb_model_params(model);
    memset(params->grads, 0, (size_t)params->count * sizeof *params->grads);
    mb_tape *tape = mb_tape_new(true);
    double sum = 0;
    for (uint64_t draw = 0; draw < N_DRAWS; draw++) {
        mb_tape_begin(tape, 7, draw);
        mb_tensor *loss =
            head == MB_HEAD_CLASSIFIER
                ? mb_cross_entropy(tape, mb_model_classify(model, tape, &input), labels, 0.25)
                : mb_model_masked_lm(model, tape, &input, &(mb_masked_tokens){N_MASKED, masked_rows, targets, NULL},
                                     1.0 / N_MASKED, NULL);
        cr_assert_not_null(loss);
        sum += (double)mb_tensor_real(loss)[0];
        cr_assert_eq(mb_tape_backward(tape, loss), MB_OK);
    }
    memcpy(grads, params->grads, (size_t)params->count * sizeof *grads);
    mb_tape_free(tape);
    return sum / N_DRAWS;
}

static double cosine(const mb_real *a, const mb_real *b, int64_t n) {
    double dot = 0, aa = 0, bb = 0;
    for (int64_t i = 0; i < n; i++) {
        dot += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return aa == 0 && bb == 0 ? 1 : dot / sqrt(aa * bb);
}

static void compare(mb_layout layout, mb_head head) {
    mb_model *model = make(layout, head);
    mb_params *params = mb_model_params(model);
    const size_t n_bytes = (size_t)params->count * sizeof(mb_real);
    mb_real *fp32 = malloc(n_bytes), *bf16 = malloc(n_bytes);
    mb_error error;
    const double loss32 = loss_and_gradients(model, head, fp32);
    ASSERT_OK(mb_model_set_dtype(model, MB_BF16, true, &error), error);
    const double loss16 = loss_and_gradients(model, head, bf16);
    cr_expect(fabs(loss16 / loss32 - 1) < 2e-3, "layout %d, head %d: loss %f, in fp32 %f", layout, head, loss16, loss32);
    cr_expect(loss16 != loss32, "nothing was rounded");
    for (size_t i = 0; i < params->n_views; i++) {
        const mb_param *view = &params->views[i];
        if (strstr(view->name, "key.bias")) {
            continue; /* softmax does not see it: its gradient is rounding alone */
        }
        const double c = cosine(fp32 + view->offset, bf16 + view->offset, view->count);
        cr_expect(c > 0.99, "layout %d, head %d: gradient of %s has cosine %f", layout, head, view->name, c);
    }
    free(fp32);
    free(bf16);
    mb_model_free(model);
}

Test(bf16, bert_masked_lm) {
    compare(MB_LAYOUT_BERT, MB_HEAD_MASKED_LM);
}
Test(bf16, bert_classifier) {
    compare(MB_LAYOUT_BERT, MB_HEAD_CLASSIFIER);
}
Test(bf16, modernbert_masked_lm) {
    compare(MB_LAYOUT_MODERNBERT, MB_HEAD_MASKED_LM);
}
Test(bf16, modernbert_classifier) {
    compare(MB_LAYOUT_MODERNBERT, MB_HEAD_CLASSIFIER);
}

Test(bf16, gradients_do_not_depend_on_the_number_of_threads) {
    mb_model *model = make(MB_LAYOUT_MODERNBERT, MB_HEAD_MASKED_LM);
    const mb_params *params = mb_model_params(model);
    const size_t n_bytes = (size_t)params->count * sizeof(mb_real);
    mb_real *first = malloc(n_bytes), *other = malloc(n_bytes);
    mb_error error;
    ASSERT_OK(mb_model_set_dtype(model, MB_BF16, true, &error), error);
    for (int threads = 1; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        loss_and_gradients(model, MB_HEAD_MASKED_LM, threads == 1 ? first : other);
        cr_expect(threads == 1 || memcmp(first, other, n_bytes) == 0, "%d threads give another gradient", threads);
    }
    free(first);
    free(other);
    mb_model_free(model);
}

/* Packed copies follow the weights when they are told to, and a tape in inference gives what a recording one gives. */
Test(bf16, hidden_states) {
    mb_model *model = make(MB_LAYOUT_BERT, MB_HEAD_NONE);
    mb_params *params = mb_model_params(model);
    mb_model_set_dropout(model, 0, 0, 0);
    const mb_model_input input = make_input();
    mb_error error;
    mb_real *kept[4];
    for (int round = 0; round < 4; round++) {
        if (round == 1) {
            ASSERT_OK(mb_model_set_dtype(model, MB_BF16, false, &error), error);
        }
        if (round == 3) { /* the feed-forward of the first layer learns something */
            const mb_param *view = &params->views[mb_params_find(params, "bert.encoder.layer.0.intermediate.dense.weight")];
            for (int64_t i = 0; i < view->count; i++) {
                params->weights[view->offset + i] *= 30;
            }
            mb_model_pack_weights(model);
        }
        mb_tape *tape = mb_tape_new(round == 2);
        mb_tape_begin(tape, 0, 0);
        mb_tensor *hidden = mb_to_real(tape, mb_model_encode(model, tape, &input, NULL));
        kept[round] = malloc(N_TOKENS * 60 * sizeof(mb_real));
        memcpy(kept[round], hidden->data, N_TOKENS * 60 * sizeof(mb_real));
        mb_tape_free(tape);
    }
    for (int64_t i = 0; i < N_TOKENS; i++) {
        cr_expect(cosine(kept[0] + i * 60, kept[1] + i * 60, 60) > 0.9999, "token %ld", (long)i);
    }
    cr_expect_eq(memcmp(kept[1], kept[2], N_TOKENS * 60 * sizeof(mb_real)), 0, "a recording tape gives something else");
    cr_expect(cosine(kept[1], kept[3], N_TOKENS * 60) < 0.999, "the packed copy is an old one");
    for (int i = 0; i < 4; i++) {
        free(kept[i]);
    }
    mb_model_free(model);
}
