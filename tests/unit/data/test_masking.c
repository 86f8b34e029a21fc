#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/masking.h"
#include "data/shard.h"
#include "unit/data/support.h"

enum { LENGTH = 128 };

static mb_masker masker_of(double probability, mb_mask_unit unit, uint64_t seed) {
    mb_tokenizer *tokenizer = test_tokenizer_new();
    mb_masker masker;
    mb_error error;
    cr_assert_eq(mb_masker_init(&masker, tokenizer, probability, unit, MB_MASK_STYLE_BERT, seed, &error), MB_OK, "%s",
                 error.message);
    mb_tokenizer_free(tokenizer);
    return masker;
}

/* [CLS] words of 1..4 pieces [SEP], with a [SEP] in the middle; as shard tokens. */
static void make_sequence(uint32_t stream, int32_t n, int32_t *ids) {
    uint32_t k = 0;
    uint32_t left = 0;
    for (int32_t i = 0; i < n; i++) {
        const uint32_t id = TEST_FIRST_TEXT_ID + test_random(stream, k++, TEST_VOCAB_SIZE - TEST_FIRST_TEXT_ID);
        if (i == 0 || i == n - 1 || i == n / 2) {
            ids[i] = i == 0 ? TEST_CLS : TEST_SEP;
            left = 0;
            continue;
        }
        ids[i] = (int32_t)(left > 0 ? id | MB_SHARD_CONTINUES : id);
        left = left > 0 ? left - 1 : test_random(stream, k++, 4);
    }
}

/* |successes - n p| within z standard deviations; z = 5 fails once in 1.7 million if all is well (and the seeds are fixed). */
static void expect_rate(const char *what, double successes, double n, double p) {
    const double z = (successes - n * p) / sqrt(n * p * (1 - p));
    cr_expect_lt(fabs(z), 5, "%s: %.0f of %.0f, expected %.4f, z = %.2f", what, successes, n, p, z);
}

typedef struct tally {
    double n_text, n_masked, to_mask, to_random, kept;
    double of_id[TEST_VOCAB_SIZE];
} tally;

/* Masks many sequences and checks each one's invariants. */
static tally run(const mb_masker *masker, int32_t length, uint32_t n_sequences, uint32_t epoch) {
    tally sums = {0};
    for (uint32_t s = 0; s < n_sequences; s++) {
        int32_t before[LENGTH], ids[LENGTH], rows[LENGTH], targets[LENGTH];
        make_sequence(s, length, before);
        memcpy(ids, before, sizeof(ids));
        const int64_t n = mb_masker_apply(masker, epoch, s, ids, length, 1000, rows, targets);
        cr_assert_gt(n, 0, "every sequence has a masked token");
        bool is_masked[LENGTH] = {false};
        for (int64_t k = 0; k < n; k++) {
            const int32_t row = rows[k] - 1000;
            cr_assert(row > 0 && row < length && (k == 0 || rows[k] > rows[k - 1]), "rows increase");
            const int32_t original = MB_SHARD_ID((uint32_t)before[row]);
            cr_assert_eq(targets[k], original);
            cr_assert(original != TEST_CLS && original != TEST_SEP, "special tokens are never masked");
            cr_assert(ids[row] == TEST_MASK || (ids[row] >= TEST_FIRST_TEXT_ID && ids[row] < TEST_VOCAB_SIZE),
                      "id %d is no random replacement", ids[row]);
            is_masked[row] = true;
            sums.to_mask += ids[row] == TEST_MASK;
            sums.kept += ids[row] == original;
            sums.to_random += ids[row] != TEST_MASK && ids[row] != original;
            if (ids[row] != TEST_MASK && ids[row] != original) {
                sums.of_id[ids[row]]++;
            }
        }
        for (int32_t i = 0; i < length; i++) {
            cr_assert(is_masked[i] || ids[i] == MB_SHARD_ID((uint32_t)before[i]), "what is not chosen stays");
            if (masker->unit != MB_MASK_PIECES && i > 0 && before[i] < 0) {
                cr_assert_eq(is_masked[i], is_masked[i - 1], "a word is masked whole");
            }
        }
        sums.n_text += length - (length > 2 ? 3 : 2);
        sums.n_masked += (double)n;
    }
    return sums;
}

static void check_rates(const tally *sums, double probability, mb_mask_unit unit) {
    if (unit == MB_MASK_PIECES) { /* choices of whole words are not independent: their variance is larger */
        expect_rate("chosen", sums->n_masked, sums->n_text, probability);
    } else {
        cr_expect_float_eq(sums->n_masked / sums->n_text, probability, 0.003);
    }
    const double n_others = TEST_VOCAB_SIZE - TEST_FIRST_TEXT_ID;
    expect_rate("to [MASK]", sums->to_mask, sums->n_masked, 0.8);
    expect_rate("to a random token", sums->to_random, sums->n_masked, 0.1 * (1 - 1 / n_others));
    expect_rate("kept", sums->kept, sums->n_masked, 0.1 + 0.1 / n_others);
    for (int id = TEST_FIRST_TEXT_ID; id < TEST_VOCAB_SIZE; id++) {
        expect_rate("a random token", sums->of_id[id], sums->to_random, 1 / n_others);
    }
}

Test(masking, rates_are_within_binomial_bounds) {
    static const double probabilities[] = {0.15, 0.3, 0.05, 0.8};
    for (size_t i = 0; i < sizeof(probabilities) / sizeof(probabilities[0]); i++) {
        for (int unit = MB_MASK_PIECES; unit <= MB_MASK_WORDS; unit++) {
            const mb_masker masker = masker_of(probabilities[i], (mb_mask_unit)unit, 7 + i);
            const tally sums = run(&masker, LENGTH, 4000, 3);
            check_rates(&sums, probabilities[i], (mb_mask_unit)unit);
        }
    }
}

/* Spans: the share of the tokens, the share of the first words and of words far from any [CLS] or [SEP], and the runs of words.
 */
Test(masking, spans_cover_the_wanted_share_in_runs_of_words) {
    enum { WORDS = LENGTH - 2, N = 20000 };
    static const double shares[] = {0.15, 0.3};
    for (size_t p = 0; p < 2; p++) {
        const mb_masker masker = masker_of(shares[p], MB_MASK_SPANS, 11);
        double first = 0, inner = 0, n_runs = 0, longest = 0;
        for (uint32_t s = 0; s < N; s++) { /* words of one piece */
            int32_t ids[LENGTH], rows[LENGTH], targets[LENGTH];
            for (int i = 0; i < LENGTH; i++) {
                ids[i] = i == 0 ? TEST_CLS : i == LENGTH - 1 ? TEST_SEP : TEST_FIRST_TEXT_ID + i % 7;
            }
            const int64_t n = mb_masker_apply(&masker, 0, s, ids, LENGTH, 0, rows, targets);
            double run = 0;
            for (int64_t k = 0; k < n; k++) {
                first += rows[k] == 1;
                inner += rows[k] > 10;
                const bool goes_on = k > 0 && rows[k] == rows[k - 1] + 1;
                n_runs += !goes_on && rows[k] > 10;
                run = goes_on ? run + 1 : 1;
                longest = run > longest ? run : longest;
            }
        }
        const double inner_share = inner / (N * (WORDS - 10.0));
        cr_expect_float_eq(inner_share, shares[p], 0.003, "%.4f", inner_share);
        /* The chance that a span begins at a word: what the first word has, which no other span reaches. By hand for 0.15:
         * 1 - product over k of (1 - q S_k) = 0.15 at q = 0.0422; the mean of the lengths, sum of S_k, is 3.797. */
        cr_expect_float_eq(first / N, p == 0 ? 0.04223 : 0.09119, 0.007, "%.4f", first / N);
        /* Spans that touch are one run, so runs are longer than 3.8 words. */
        cr_expect(inner / n_runs > 3.8 && inner / n_runs < 6, "runs of %.2f words", inner / n_runs);
        cr_expect_gt(longest, 10);
    }
}

Test(masking, spans_keep_words_whole_and_the_replacements_rates) {
    const mb_masker masker = masker_of(0.15, MB_MASK_SPANS, 3);
    const tally sums = run(&masker, LENGTH, 4000, 3); /* looks at every word */
    expect_rate("to [MASK]", sums.to_mask, sums.n_masked, 0.8);
    cr_expect(sums.n_masked / sums.n_text > 0.125 && sums.n_masked / sums.n_text < 0.15, "%.4f", sums.n_masked / sums.n_text);
}

Test(masking, the_mask_style_puts_mask_everywhere) {
    mb_masker masker = masker_of(0.3, MB_MASK_PIECES, 3);
    masker.style = MB_MASK_STYLE_MASK;
    const tally sums = run(&masker, LENGTH, 200, 3);
    cr_expect_eq(sums.to_mask, sums.n_masked);
    expect_rate("chosen", sums.n_masked, sums.n_text, 0.3);
}

Test(masking, all_is_chosen_at_probability_one) {
    const mb_masker masker = masker_of(1, MB_MASK_PIECES, 1);
    const tally sums = run(&masker, LENGTH, 50, 0);
    cr_assert_eq(sums.n_masked, sums.n_text);
}

Test(masking, short_sequences_have_one_token_each_as_likely) {
    /* Two text tokens at 1e-9: nothing is ever chosen by chance. */
    const mb_masker masker = masker_of(1e-9, MB_MASK_PIECES, 5);
    double first = 0, n = 4000;
    for (uint32_t s = 0; s < (uint32_t)n; s++) {
        int32_t ids[] = {TEST_CLS, 10, 11, TEST_SEP}, rows[4], targets[4];
        cr_assert_eq(mb_masker_apply(&masker, 0, s, ids, 4, 0, rows, targets), 1);
        cr_assert(rows[0] == 1 || rows[0] == 2);
        first += rows[0] == 1;
    }
    expect_rate("the first of two", first, n, 0.5);
    const mb_masker whole = masker_of(1e-9, MB_MASK_WORDS, 5);
    first = 0;
    for (uint32_t s = 0; s < (uint32_t)n; s++) { /* two words of two pieces, parted by [SEP]; the second was cut off in front */
        int32_t ids[] = {TEST_CLS,
                         10,
                         (int32_t)(11 | MB_SHARD_CONTINUES),
                         TEST_SEP,
                         (int32_t)(12 | MB_SHARD_CONTINUES),
                         (int32_t)(13 | MB_SHARD_CONTINUES),
                         TEST_SEP};
        int32_t rows[7], targets[7];
        cr_assert_eq(mb_masker_apply(&whole, 0, s, ids, 7, 0, rows, targets), 2);
        cr_assert((rows[0] == 1 && rows[1] == 2) || (rows[0] == 4 && rows[1] == 5));
        first += rows[0] == 1;
    }
    expect_rate("the first of two words", first, n, 0.5);
    int32_t ids[] = {TEST_CLS, TEST_SEP}, rows[2], targets[2];
    cr_assert_eq(mb_masker_apply(&masker, 0, 0, ids, 2, 0, rows, targets), 0, "there is nothing to mask");
}

static int64_t masks_of(const mb_masker *masker, uint32_t epoch, uint32_t sequence, int32_t *ids, int32_t *rows) {
    int32_t targets[LENGTH];
    make_sequence(1, LENGTH, ids);
    return mb_masker_apply(masker, epoch, sequence, ids, LENGTH, 0, rows, targets);
}

Test(masking, depend_on_seed_epoch_and_sequence_alone) {
    const mb_masker masker = masker_of(0.15, MB_MASK_PIECES, 9), same = masker_of(0.15, MB_MASK_PIECES, 9),
                    other = masker_of(0.15, MB_MASK_PIECES, 10);
    int32_t ids[LENGTH], rows[LENGTH];
    const int64_t n = masks_of(&masker, 2, 5, ids, rows);
    const struct {
        const mb_masker *masker;
        uint32_t epoch, sequence;
        bool equal;
    } cases[] = {
        {&masker, 2, 5, true}, {&same, 2, 5, true}, {&other, 2, 5, false}, {&masker, 3, 5, false}, {&masker, 2, 6, false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int32_t ids2[LENGTH], rows2[LENGTH];
        const int64_t n2 = masks_of(cases[i].masker, cases[i].epoch, cases[i].sequence, ids2, rows2);
        const bool equal =
            n == n2 && memcmp(rows, rows2, (size_t)n * sizeof(*rows)) == 0 && memcmp(ids, ids2, sizeof(ids)) == 0;
        cr_expect_eq(equal, cases[i].equal, "case %zu", i);
    }
}

Test(masking, bad_probabilities_are_refused) {
    static const double bad[] = {0, -0.1, 1.0001, 15, NAN, INFINITY};
    mb_tokenizer *tokenizer = test_tokenizer_new();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        mb_masker masker;
        mb_error error;
        cr_expect_eq(mb_masker_init(&masker, tokenizer, bad[i], MB_MASK_PIECES, MB_MASK_STYLE_BERT, 0, &error), MB_ERROR_USAGE,
                     "%g", bad[i]);
    }
    mb_tokenizer_free(tokenizer);
    const char *const specials[] = {"[MASK]", "[SEP]", "[UNK]", "[PAD]", "[CLS]"};
    const mb_tokenizer_config config = mb_tokenizer_config_default();
    mb_error error;
    mb_masker masker;
    cr_assert_eq(mb_tokenizer_new(specials, 5, &config, &tokenizer, &error), MB_OK);
    cr_expect_eq(mb_masker_init(&masker, tokenizer, 0.15, MB_MASK_PIECES, MB_MASK_STYLE_BERT, 0, &error), MB_ERROR_MISMATCH);
    mb_tokenizer_free(tokenizer);
}

/* Special ids scattered over the vocabulary: the others, and only they, are drawn. */
Test(masking, random_tokens_skip_special_ids_wherever_they_lie) {
    const char *const pieces[] = {"a", "[MASK]", "b", "[SEP]", "[UNK]", "c", "[PAD]", "[CLS]", "d"};
    const mb_tokenizer_config config = mb_tokenizer_config_default();
    mb_tokenizer *tokenizer;
    mb_error error;
    mb_masker masker;
    cr_assert_eq(mb_tokenizer_new(pieces, 9, &config, &tokenizer, &error), MB_OK);
    cr_assert_eq(mb_masker_init(&masker, tokenizer, 1, MB_MASK_PIECES, MB_MASK_STYLE_BERT, 3, &error), MB_OK);
    double counts[9] = {0}, n = 0;
    for (uint32_t s = 0; s < 3000; s++) {
        int32_t ids[] = {7, 4, 4, 4, 4, 3}, rows[6], targets[6]; /* the text is [UNK]: any other id is a replacement */
        cr_assert_eq(mb_masker_apply(&masker, 0, s, ids, 6, 0, rows, targets), 4);
        for (int i = 1; i < 5; i++) {
            counts[ids[i]]++;
            n++;
        }
    }
    cr_expect_eq(counts[3] + counts[6] + counts[7], 0);
    expect_rate("a", counts[0], n, 0.025);
    expect_rate("b", counts[2], n, 0.025);
    expect_rate("c", counts[5], n, 0.025);
    expect_rate("d", counts[8], n, 0.025);
    mb_tokenizer_free(tokenizer);
}
