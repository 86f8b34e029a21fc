/* Masked-LM corruption (Devlin et al. 2019, 3.1): of the tokens chosen for prediction 80% become [MASK], 10% a random token and
 * 10% stay; the model predicts the original of each.
 *
 * Each choice is a Philox number at (seed, epoch, sequence, position), so masks are redrawn each epoch and are the same whoever
 * asks, whenever and in whatever order. */
#ifndef MB_DATA_MASKING_H
#define MB_DATA_MASKING_H

#include <stdbool.h>
#include <stdint.h>

#include "minibert/status.h"
#include "minibert/tokenizer.h"

typedef struct mb_masker {
    uint64_t seed;
    float probability;
    bool whole_word;
    int32_t cls_id, sep_id, mask_id;
    int32_t specials[5]; /* the distinct special ids, increasing: never drawn as a random token */
    int32_t n_specials;
    int32_t vocab_size;
} mb_masker;

/* MB_ERROR_USAGE unless 0 < probability <= 1; MB_ERROR_MISMATCH when the vocabulary holds nothing but special tokens. */
mb_status mb_masker_init(mb_masker *masker, const mb_tokenizer *tokenizer, double probability, bool whole_word, uint64_t seed,
                         mb_error *error);

/* Masks one sequence of n positions in place. On entry ids are shard tokens (as int32_t; bit 31 set: continues a word), on
 * return plain ids. Every token but [CLS] and [SEP] is chosen with `probability`, independently, or, with whole_word, every
 * word is (all its pieces or none; the expected share of tokens is the same); each chosen piece then draws its own 80/10/10. A
 * sequence in which nothing was chosen gets one token (or word), each as likely: so short sequences have more than the
 * expected share. Writes the chosen positions (increasing, plus first_row) and their original ids, and returns their number,
 * which is 0 only for a sequence without text. rows and targets have room for n. */
int64_t mb_masker_apply(const mb_masker *masker, uint32_t epoch, uint32_t sequence, int32_t *ids, int32_t n, int32_t first_row,
                        int32_t *rows, int32_t *targets);

#endif
