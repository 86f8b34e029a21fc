/* The three steps of the vocabulary trainer: count words, split them into characters, merge pairs. */
#ifndef MB_TOKENIZER_TRAIN_H
#define MB_TOKENIZER_TRAIN_H

#include "base/buffer.h"
#include "tokenizer/tokenizer_internal.h"

typedef struct mb_word_count {
    uint64_t hash;
    uint64_t count; /* 0: an empty slot of the table */
    size_t offset;  /* of the word's bytes in `bytes` */
    size_t n_bytes;
} mb_word_count;

/* Distinct normalized words and how often they occur; open addressing. Begins as {0}. */
typedef struct mb_word_table {
    mb_word_count *slots;
    size_t n_slots, n_words;
    mb_buffer bytes;
} mb_word_table;

bool mb_word_table_add(mb_word_table *table, uint64_t hash, const unsigned char *word, size_t n_bytes, uint64_t count);
void mb_word_table_free(mb_word_table *table);

/* Counts the words of all files, in parallel over pieces of text of fixed size. Words longer than max_chars_per_word are left
 * out: they are [UNK] whatever the vocabulary. */
mb_status mb_train_count_words(const mb_vocab_train_options *options, const mb_charmap *charmap, mb_word_table *table,
                               mb_error *error);

/* Distinct words as runs of piece ids, which shrink as pairs are merged. Begins as {0}. */
typedef struct mb_symbols {
    int32_t *ids;
    size_t n_words;
    size_t *begins;   /* n_words + 1 */
    uint32_t *n_ids;  /* of each word, at most begins[i + 1] - begins[i] */
    uint64_t *counts; /* of each word */
} mb_symbols;
void mb_symbols_free(mb_symbols *symbols);

/* Fills an empty vocabulary with the initial pieces or the special tokens, the most frequent characters in code point order,
 * and the "##" forms of those that occur within a word, in code point order too; and splits the words into them. As in Hugging
 * Face's trainer, a rare character that is not kept is taken out of its words. */
mb_status mb_train_alphabet(const mb_vocab_train_options *options, const mb_word_table *table, mb_vocab *vocab,
                            mb_symbols *symbols, mb_error *error);
/* Adds merged pieces until the vocabulary is full or no pair is frequent enough. */
mb_status mb_train_merge(const mb_vocab_train_options *options, mb_symbols *symbols, mb_vocab *vocab, mb_error *error);

/* False: the caller wants to stop. */
static inline bool mb_train_report(const mb_vocab_train_options *options, const char *phase, double fraction) {
    return options->progress == NULL || options->progress(options->user, phase, fraction);
}

#endif
