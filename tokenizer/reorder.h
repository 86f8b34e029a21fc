/* Canonical ordering (The Unicode Standard, 3.11), for the rare words in which it can be seen. */
#ifndef MB_TOKENIZER_REORDER_H
#define MB_TOKENIZER_REORDER_H

#include "tokenizer/normalize.h"

/* Decomposes and orders the characters from text[*position] to the end of the word, without those that clean_text deletes, into
 * reader->marks and reader->spans; *position moves to the word's end. False: no memory. */
bool mb_reorder_run(mb_word_reader *reader, const unsigned char *text, size_t n_text, size_t *position, size_t *n_marks);

#endif
