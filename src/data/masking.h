/* Masked-LM corruption (Devlin et al. 2019, 3.1): of the tokens chosen for prediction 80% become [MASK], 10% a random token and
 * 10% stay (or all become [MASK]); the model predicts the original of each.
 *
 * Each choice is a Philox number at (seed, epoch, sequence, position), so masks are redrawn each epoch and are the same whoever
 * asks, whenever and in whatever order. */
#ifndef MB_DATA_MASKING_H
#define MB_DATA_MASKING_H

#include <stdbool.h>
#include <stdint.h>

#include "minibert/status.h"
#include "minibert/tokenizer.h"

/* What is chosen together. */
typedef enum mb_mask_unit {
    MB_MASK_PIECES,
    MB_MASK_WORDS, /* all pieces of a word */
    MB_MASK_SPANS, /* runs of words (Joshi et al. 2020, "SpanBERT", 3.1): of length k with probability ~ 0.2 * 0.8^(k-1), k <=
                      10 */
} mb_mask_unit;

typedef enum mb_mask_style {
    MB_MASK_STYLE_BERT, /* 80% [MASK], 10% a random token, 10% as it is */
    MB_MASK_STYLE_MASK, /* [MASK] */
} mb_mask_style;

typedef struct mb_masker {
    uint64_t seed;
    mb_mask_unit unit;
    mb_mask_style style;
    float probability; /* that a unit begins at a piece, a word, or a word that may begin a span */
    int32_t cls_id, sep_id, mask_id;
    int32_t specials[5]; /* the distinct special ids, increasing: never drawn as a random token */
    int32_t n_specials;
    int32_t vocab_size;
} mb_masker;

/* MB_ERROR_USAGE unless 0 < probability <= 1; MB_ERROR_MISMATCH when the vocabulary holds nothing but special tokens. */
mb_status mb_masker_init(mb_masker *masker, const mb_tokenizer *tokenizer, double probability, mb_mask_unit unit,
                         mb_mask_style style, uint64_t seed, mb_error *error);
/* Another share of the tokens, in (0, 1]. */
void mb_masker_set_probability(mb_masker *masker, double probability);

/* Masks one sequence of n positions in place. On entry ids are shard tokens (as int32_t; bit 31 set: continues a word), on
 * return plain ids. Every token but [CLS] and [SEP] is chosen with the masker's probability, independently; with words, every
 * word is (all its pieces or none), and with spans, words are that a span covers, at the same expected share of tokens. A span
 * ends at a [SEP], and words just behind a [CLS] or [SEP], which fewer spans can reach, are chosen less often. Each chosen
 * piece draws its own 80/10/10. A sequence in which nothing was chosen gets one token (or word), each as likely: so short
 * sequences have more than the expected share. Writes the chosen positions (increasing, plus first_row) and their original ids,
 * and returns their number, which is 0 only for a sequence without text. rows and targets have room for n. */
int64_t mb_masker_apply(const mb_masker *masker, uint32_t epoch, uint32_t sequence, int32_t *ids, int32_t n, int32_t first_row,
                        int32_t *rows, int32_t *targets);

#endif
