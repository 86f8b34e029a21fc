/* The words of a text as its tokenizer sees them: "windows" is one word, whether it is one piece or win, ##dow, ##s. */
#ifndef MB_TASKS_WORD_PIECES_H
#define MB_TASKS_WORD_PIECES_H

#include <stdbool.h>
#include <stddef.h>

#include "minibert/tokenizer.h"

enum { MB_PIECES_WORD_BYTES = 512 };

/* A word being put together. Begins as {0} at each line. */
typedef struct mb_word_pieces {
    char bytes[MB_PIECES_WORD_BYTES];
    size_t n_bytes;
    bool is_word; /* false: it holds a special token ([UNK]: the vocabulary cannot spell it), or is too long */
} mb_word_pieces;

/* Whether this piece continues the word before it. */
bool mb_piece_continues(const char *piece);
/* Adds a piece; one that continues no word begins a new one. */
void mb_word_pieces_add(mb_word_pieces *word, const mb_tokenizer *tokenizer, const char *piece);

#endif
