/* Canonical ordering (The Unicode Standard, 3.11), for the rare words in which it can be seen. */
#ifndef MB_TOKENIZER_REORDER_H
#define MB_TOKENIZER_REORDER_H

#include "tokenizer/normalize.h"

/* Decomposes and orders the characters from words->position to the end of the word, without those that clean_text deletes, into
 * the reader's marks and spans; words->position moves to the word's end. With MB_COMPAT_GOOGLE they are lower-cased first.
 * False: no memory. */
bool mb_reorder_run(mb_words *words, size_t *n_marks);

#endif
