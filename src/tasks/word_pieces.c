#include "tasks/word_pieces.h"

#include <string.h>

/* A text gives no piece that begins so but continuations: "#" is punctuation, each a word of its own. */
bool mb_piece_continues(const char *piece) {
    return piece[0] == '#' && piece[1] == '#' && piece[2] != '\0';
}

static bool is_special(const mb_tokenizer *tokenizer, const char *piece) {
    for (int special = MB_SPECIAL_PAD; special <= MB_SPECIAL_MASK; special++) {
        if (strcmp(piece, mb_tokenizer_piece(tokenizer, mb_tokenizer_special(tokenizer, (mb_special)special))) == 0) {
            return true;
        }
    }
    return false;
}

void mb_word_pieces_add(mb_word_pieces *word, const mb_tokenizer *tokenizer, const char *piece) {
    const bool continues = mb_piece_continues(piece);
    const size_t n_bytes = strlen(piece) - (continues ? 2 : 0);
    if (!continues) {
        word->n_bytes = 0;
        word->is_word = !is_special(tokenizer, piece);
    }
    if (word->n_bytes + n_bytes > sizeof word->bytes) {
        word->is_word = false;
        return;
    }
    memcpy(word->bytes + word->n_bytes, piece + (continues ? 2 : 0), n_bytes);
    word->n_bytes += n_bytes;
}
