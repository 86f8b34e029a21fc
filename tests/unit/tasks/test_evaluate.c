#include <math.h>

#include "tasks/text_model.h"
#include "training_support.h"

static const char *write_model(workplace *w, bool nsp) {
    const char *corpus = write_language(w, "corpus.txt", 1, 300), *tokenizer = write_tokenizer(w, "tokenizer", "zebra");
    const char *out = path_of(w, "model");
    mb_pretrain_options o = small_pretrain(&corpus, out, tokenizer);
    json_t *result = NULL;
    mb_error error;
    o.steps = 100;
    o.nsp = nsp;
    ASSERT_OK(mb_pretrain(&o, NULL, &result, &error), error);
    json_decref(result);
    return out;
}

static mb_evaluate_options options_for(const char *model, const char *data) {
    mb_evaluate_options o = {0};
    set_defaults(mb_evaluate_option_table, &o);
    o.model = model;
    o.data = data;
    return o;
}

static json_t *evaluate(const mb_evaluate_options *o) {
    json_t *result = NULL;
    mb_error error;
    ASSERT_OK(mb_evaluate(o, NULL, NULL, &result, &error), error);
    return result;
}

Test(evaluate, a_masked_lm_on_text_with_masks_of_the_seed_alone) {
    workplace w = workplace_begin();
    const char *model = write_model(&w, true), *text = write_language(&w, "text.txt", 5, 90);
    mb_evaluate_options o = options_for(model, text);
    json_t *first = evaluate(&o);
    o.batch_size = 7;
    json_t *second = evaluate(&o);
    cr_assert_eq(number(first, "masked_tokens"), number(second, "masked_tokens"));
    cr_assert_float_eq(number(first, "loss"), number(second, "loss"), 1e-5);
    cr_assert_eq(number(first, "accuracy"), number(second, "accuracy"));
    cr_assert_float_eq(number(first, "perplexity"), exp(number(first, "loss")), 1e-9);
    cr_assert_float_eq(number(first, "unigram_entropy"), log(LANGUAGE_WORDS), 0.1);
    o.seed = 17;
    json_t *other = evaluate(&o);
    cr_assert_neq(number(first, "loss"), number(other, "loss"));
    json_decref(first);
    json_decref(second);
    json_decref(other);
    workplace_end(&w);
}

/* log p(target | the rest) by the full distribution, as fill-mask sees it. */
static double log_probability(const mb_text_model *m, int32_t *ids, int32_t n, int32_t position) {
    mb_tape *tape = mb_tape_new(false);
    const int32_t offsets[] = {0, n}, target = ids[position];
    const mb_model_input input = {.n_tokens = n, .ids = ids, .sequences = {.n = 1, .offsets = offsets, .max_length = n}};
    ids[position] = mb_tokenizer_special(m->tokenizer, MB_SPECIAL_MASK);
    mb_tape_begin(tape, 0, 0);
    mb_tensor *hidden = mb_model_encode(m->model, tape, &input, NULL);
    const mb_tensor *logits = mb_model_masked_lm_logits(m->model, tape, hidden, &position, 1);
    double sum = 0;
    for (int64_t v = 0; v < logits->dims[1]; v++) {
        sum += exp((double)mb_tensor_real(logits)[v]);
    }
    const double result = (double)mb_tensor_real(logits)[target] - log(sum);
    ids[position] = target;
    mb_tape_free(tape);
    return result;
}

Test(evaluate, pseudo_log_likelihood_is_the_sum_over_tokens_masked_one_by_one) {
    workplace w = workplace_begin();
    const char *model = write_model(&w, false);
    static const char *const lines[] = {"dog elk fox gnu hen ibis", "fox dog toad", "", "owl"};
    const char *text = write_text(&w, "lines.txt", "dog elk fox gnu hen ibis\nfox dog toad\n\nowl");
    mb_evaluate_options o = options_for(model, text);
    o.pll = true;
    char *rows = NULL;
    size_t n_bytes = 0;
    json_t *result = NULL;
    mb_error error;
    FILE *file = open_memstream(&rows, &n_bytes);
    ASSERT_OK(mb_evaluate(&o, NULL, file, &result, &error), error);
    cr_assert_null(result);
    cr_assert_eq(fclose(file), 0);

    mb_text_model m;
    mb_encoding encoding = {0};
    ASSERT_OK(mb_text_model_load(model, MB_HEAD_MASKED_LM, NULL, &m, &error), error);
    char *rest = rows;
    for (size_t i = 0; i < 4; i++) {
        double expected = 0;
        ASSERT_OK(mb_tokenizer_encode_pair(m.tokenizer, lines[i], strlen(lines[i]), NULL, 0, 0, &encoding, &error), error);
        for (int32_t t = 1; t + 1 < (int32_t)encoding.n_tokens; t++) {
            expected += log_probability(&m, encoding.ids, (int32_t)encoding.n_tokens, t);
        }
        const double score = atof(strsep(&rest, "\n"));
        cr_assert_float_eq(score, expected, 1e-4, "line %zu: %.6f, expected %.6f", i + 1, score, expected);
    }
    cr_assert_str_empty(rest);
    free(rows);
    mb_encoding_free(&encoding);
    mb_text_model_free(&m);
    workplace_end(&w);
}

Test(evaluate, refuses_what_it_cannot_measure) {
    workplace w = workplace_begin();
    const char *text = write_language(&w, "text.txt", 5, 9);
    mb_evaluate_options o = options_for(path_of(&w, "nowhere"), text);
    json_t *result = NULL;
    mb_error error;
    cr_assert_eq(mb_evaluate(&o, NULL, NULL, &result, &error), MB_ERROR_IO);
    ASSERT_SAYS(error, "nowhere");
    cr_assert_null(result);
    workplace_end(&w);
}
