#include <math.h>

#include "autograd/tape.h"
#include "support.h"

enum { LENGTH = 48, HIDDEN = 96, HEADS = 3, HEAD_SIZE = HIDDEN / HEADS, VOCABULARY = 60 };

static mb_model *new_modern(bool near) {
    mb_model_config config = tiny_config();
    config.vocab_size = VOCABULARY;
    config.hidden_size = HIDDEN;
    config.n_heads = HEADS;
    config.max_positions = LENGTH;
    mb_model *model = new_modern_masked_lm(&config, 0.02);
    if (near) {
        mb_model_begin_near(model);
    }
    return model;
}

static mb_model_input sequence_of(const int32_t *ids) {
    static const int32_t offsets[] = {0, LENGTH};
    return (mb_model_input){.n_tokens = LENGTH, .ids = ids, .sequences = {.n = 1, .offsets = offsets, .max_length = LENGTH}};
}

/* How far the first layer's scores of a head rise at each distance, the random part of the weights left in: what a query that
 * is the shared direction alone scores with such a key. */
static double score_at(const mb_model *model, int32_t head, int32_t distance) {
    const mb_params *params = mb_model_params((mb_model *)(uintptr_t)model);
    const mb_real *qkv = mb_params_weights(params, &params->views[mb_params_find(params, "model.layers.0.attn.Wqkv.weight")]);
    const double theta = mb_model_get_config(model)->global_theta;
    double q[HEAD_SIZE] = {0}, k[HEAD_SIZE] = {0}, score = 0;
    for (int64_t row = 0; row < HEAD_SIZE; row++) {
        for (int64_t i = 0; i < HIDDEN; i++) {
            const double x = (i % 2 == 0 ? 1 : -1) * sqrt(0.5); /* the direction is half of a normalised embedding */
            q[row] += (double)qkv[(head * HEAD_SIZE + row) * HIDDEN + i] * x;
            k[row] += (double)qkv[(HIDDEN + head * HEAD_SIZE + row) * HIDDEN + i] * x;
        }
    }
    for (int64_t j = 0, half = HEAD_SIZE / 2; j < half; j++) {
        const double angle = pow(theta, -2.0 * (double)j / HEAD_SIZE) * distance;
        score +=
            (q[j] * k[j] + q[j + half] * k[j + half]) * cos(angle) + (q[j + half] * k[j] - q[j] * k[j + half]) * sin(angle);
    }
    return score / sqrt(HEAD_SIZE);
}

Test(near_start, each_head_looks_at_its_place) {
    mb_model *model = new_modern(true), *plain = new_modern(false);
    for (int32_t head = 0; head < HEADS; head++) {
        int32_t best = -40;
        for (int32_t distance = -40; distance <= 40; distance++) {
            best = score_at(model, head, distance) > score_at(model, head, best) ? distance : best;
        }
        cr_expect_eq(best, 3 * (head - 1), "head %d looks %d away", head, best);
        cr_expect_float_eq(score_at(model, head, best), 4, 0.6, "head %d scores %.2f", head, score_at(model, head, best));
        cr_expect_lt(fabs(score_at(plain, head, best)), 0.5, "head %d scores %.2f", head, score_at(plain, head, best));
    }
    mb_model_free(model);
    mb_model_free(plain);
}

/* Of a change of one token, what another one sees. */
static double change_seen(mb_model *model, int32_t at, int32_t from) {
    int32_t ids[LENGTH];
    mb_tape *tape = mb_tape_new(false);
    double square = 0;
    mb_real before[HIDDEN];
    for (int32_t i = 0; i < LENGTH; i++) {
        ids[i] = 5 + (7 * i + i * i) % (VOCABULARY - 5);
    }
    for (int changed = 0; changed < 2; changed++) {
        const mb_model_input input = sequence_of(ids);
        mb_tape_begin(tape, 0, 0);
        const mb_real *row = mb_tensor_real(mb_model_encode(model, tape, &input, NULL)) + (int64_t)from * HIDDEN;
        for (int64_t i = 0; i < HIDDEN; i++) {
            before[i] = changed ? row[i] - before[i] : row[i];
            square += changed ? (double)before[i] * (double)before[i] : 0;
        }
        ids[at] = 5 + (ids[at] + 1) % (VOCABULARY - 5);
    }
    mb_tape_free(tape);
    return sqrt(square);
}

Test(near_start, what_is_near_counts_for_more) {
    mb_model *model = new_modern(true), *plain = new_modern(false);
    const double near = change_seen(model, 22, 20), far = change_seen(model, 42, 20);
    cr_expect_gt(near, 5 * far, "near %.4f, far %.4f", near, far);
    const double plain_near = change_seen(plain, 22, 20), plain_far = change_seen(plain, 42, 20);
    cr_expect_lt(plain_near, 2 * plain_far, "at random near %.4f, far %.4f", plain_near, plain_far);
    mb_model_free(model);
    mb_model_free(plain);
}

/* CBOW from the first step: the best guess for a masked token is what stands on both sides of it. */
Test(near_start, the_guess_is_the_neighbour) {
    enum { MASK = 4, NEIGHBOUR = 11, ELSEWHERE = 17, MIDDLE = LENGTH / 2 };
    mb_model *model = new_modern(true);
    int32_t ids[LENGTH];
    for (int32_t i = 0; i < LENGTH; i++) {
        ids[i] = i == MIDDLE ? MASK : abs(i - MIDDLE) <= 6 ? NEIGHBOUR : ELSEWHERE;
    }
    const mb_model_input input = sequence_of(ids);
    const int32_t row = MIDDLE;
    mb_tape *tape = mb_tape_new(false);
    mb_tape_begin(tape, 0, 0);
    mb_tensor *hidden = mb_model_encode(model, tape, &input, NULL);
    const mb_real *logits = mb_tensor_real(mb_model_masked_lm_logits(model, tape, hidden, &row, 1));
    int32_t best = 0;
    for (int32_t id = 0; id < VOCABULARY; id++) {
        best = id != MASK && logits[id] > logits[best] ? id : best;
    }
    cr_expect_eq(best, NEIGHBOUR, "the guess is %d", best);
    cr_expect_gt(logits[NEIGHBOUR] - logits[ELSEWHERE], 0.3, "%.3f and %.3f", (double)logits[NEIGHBOUR],
                 (double)logits[ELSEWHERE]);
    mb_tape_free(tape);
    mb_model_free(model);
}

Test(near_start, another_layout_stays_as_it_is) {
    mb_model *a = new_tiny(MB_HEAD_MASKED_LM), *b = new_tiny(MB_HEAD_MASKED_LM);
    mb_model_begin_near(a);
    const mb_params *left = mb_model_params(a), *right = mb_model_params(b);
    cr_expect_eq(memcmp(left->weights, right->weights, (size_t)left->count * sizeof *left->weights), 0);
    mb_model_free(a);
    mb_model_free(b);
}

/* With the bias alone the probabilities are the frequencies, one added to each. */
Test(near_start, output_bias_begins_at_the_frequencies) {
    mb_model *model = new_modern(false);
    const mb_params *params = mb_model_params(model);
    const mb_real *bias = mb_params_weights(params, &params->views[mb_params_find(params, "decoder.bias")]);
    uint64_t counts[VOCABULARY], total = 0;
    for (int i = 0; i < VOCABULARY; i++) {
        counts[i] = (uint64_t)(i % 7 * i);
        total += counts[i] + 1;
    }
    mb_model_begin_output_bias(model, counts);
    for (int i = 0; i < VOCABULARY; i++) {
        cr_expect_float_eq(exp((double)bias[i]) / VOCABULARY, (double)(counts[i] + 1) / (double)total, 1e-7, "piece %d", i);
    }
    mb_model_free(model);
}
