#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "minibert/tokenizer.h"
#include "small_model.h"
#include "tasks/fill_mask.h"

static char *dir, *output;

static void begin(void) {
    dir = small_model_dir(MB_HEAD_MASKED_LM);
    output = NULL;
}

static void end(void) {
    mb_path_remove(dir, NULL);
    free(dir);
    free(output);
}

TestSuite(fill_mask, .init = begin, .fini = end);

/* Runs the task; what it wrote is in `output`. */
static mb_status fill(int64_t top_k, int format, const char **texts, size_t n, mb_error *error) {
    size_t n_bytes;
    free(output);
    output = NULL;
    FILE *rows = open_memstream(&output, &n_bytes);
    const mb_fill_mask_options options = {.model = dir, .top_k = top_k, .format = format, .texts = {.items = texts, .n = n}};
    const mb_status status = mb_fill_mask(&options, NULL, rows, error);
    fclose(rows);
    return status;
}

Test(fill_mask, all_pieces_share_a_probability_of_one_and_fall) {
    mb_error error;
    const char *text = "the [MASK] sat.";
    cr_assert_eq(fill(1000, 0, &text, 1, &error), MB_OK, "%s", error.message);
    double sum = 0, last = 1;
    int n = 0;
    for (char *line = strtok(output, "\n"); line; line = strtok(NULL, "\n")) {
        char piece[20], filled[60], expected[60];
        double probability;
        cr_assert_eq(sscanf(line, "%19[^\t]\t%lf\t%59[^\n]", piece, &probability, filled), 3, "'%s'", line);
        cr_expect_leq(probability, last);
        last = probability;
        sum += probability;
        n++;
        if (strncmp(piece, "##", 2) == 0) {
            snprintf(expected, sizeof expected, "the%s sat.", piece + 2);
        } else {
            snprintf(expected, sizeof expected, "the %s sat.", piece);
        }
        cr_expect_str_eq(filled, expected);
    }
    cr_expect_eq(n, 24);
    cr_expect_float_eq(sum, 1, 1e-4);
}

/* Against the logits of the model itself. */
Test(fill_mask, the_best_piece_is_the_largest_logit) {
    mb_error error;
    mb_model *model = NULL;
    mb_tokenizer *tokenizer = NULL;
    const char *text = "the [MASK] sat.";
    cr_assert_eq(mb_model_load(dir, MB_HEAD_MASKED_LM, NULL, 0, false, &model, &error), MB_OK, "%s", error.message);
    cr_assert_eq(mb_tokenizer_load(dir, &tokenizer, &error), MB_OK);
    mb_encoding encoding = {0};
    cr_assert_eq(mb_tokenizer_encode_pair(tokenizer, text, strlen(text), NULL, 0, 0, &encoding, &error), MB_OK);
    const int32_t offsets[2] = {0, (int32_t)encoding.n_tokens}, row = 2;
    const mb_model_input input = {
        .n_tokens = offsets[1], .ids = encoding.ids, .sequences = {.n = 1, .offsets = offsets, .max_length = offsets[1]}};
    mb_tape *tape = mb_tape_new(false);
    mb_tape_begin(tape, 0, 0);
    const mb_tensor *logits = mb_model_masked_lm_logits(model, tape, mb_model_encode(model, tape, &input, NULL), &row, 1);
    cr_assert_not_null(logits);
    int32_t best = 0;
    double sum = 0;
    for (int32_t i = 0; i < 24; i++) {
        best = mb_tensor_real(logits)[i] > mb_tensor_real(logits)[best] ? i : best;
        sum += exp((double)mb_tensor_real(logits)[i]);
    }
    char expected[80];
    snprintf(expected, sizeof expected, "%s\t%.6g\t", mb_tokenizer_piece(tokenizer, best),
             exp((double)mb_tensor_real(logits)[best]) / sum);
    cr_assert_eq(fill(1, 0, &text, 1, &error), MB_OK, "%s", error.message);
    cr_expect_eq(strncmp(output, expected, 5), 0, "'%s' does not begin with '%s'", output, expected);
    mb_tape_free(tape);
    mb_encoding_free(&encoding);
    mb_tokenizer_free(tokenizer);
    mb_model_free(model);
}

static int count(const char *text, const char *part) {
    int n = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part)) {
        n++;
    }
    return n;
}

Test(fill_mask, several_masks_and_several_texts) {
    mb_error error;
    const char *texts[] = {"[MASK] cat [MASK]", "a\tb [MASK]"};
    cr_assert_eq(fill(3, 0, texts, 2, &error), MB_OK, "%s", error.message);
    cr_expect_eq(count(output, "\n"), 3 + 3 + 1 + 3);
    cr_expect_eq(count(output, "\n\n"), 1);
    cr_expect_eq(count(output, "\t"), 9 * 2, "a tab of the text must not make a column");
    cr_expect_eq(count(output, " cat [MASK]\n"), 3);
    cr_expect_eq(count(output, "\t[MASK] cat"), 3);
    cr_assert_eq(fill(2, 1, texts, 2, &error), MB_OK, "%s", error.message);
    cr_expect_eq(count(output, "\n"), 6);
    cr_expect_eq(count(output, "{\"text\": 0, \"mask\": 1, \"token\": \""), 2);
    cr_expect_eq(count(output, "{\"text\": 1, \"mask\": 0, \"token\": \""), 2);
}

Test(fill_mask, texts_are_checked_before_anything_is_written) {
    mb_error error;
    const char *none[] = {"a [MASK]", "no mask here"};
    cr_expect_eq(fill(3, 0, none, 2, &error), MB_ERROR_USAGE);
    cr_expect(strstr(error.message, "text 2 has no [MASK]"), "%s", error.message);
    cr_expect_str_eq(output, "");
    const char *longer = "[MASK] a b c d e f a b c d e f a b c d e f a b c d e f a b c d e f a b c d e f";
    cr_expect_eq(fill(3, 0, &longer, 1, &error), MB_ERROR_USAGE);
    cr_expect(strstr(error.message, "39 tokens, the model reads 32"), "%s", error.message);
}

Test(fill_mask, a_model_without_the_head_is_refused) {
    mb_error error;
    mb_path_remove(dir, NULL);
    free(dir);
    dir = small_model_dir(MB_HEAD_NONE);
    const char *text = "[MASK]";
    cr_expect_eq(fill(3, 0, &text, 1, &error), MB_ERROR_MISMATCH);
    cr_expect(strstr(error.message, "BertForMaskedLM"), "%s", error.message);
}
