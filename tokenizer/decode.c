#include <string.h>

#include "base/buffer.h"
#include "tokenizer/tokenizer_internal.h"

/* Pieces that Hugging Face's WordPiece decoder glues to the word before: its clean-up, as far as one piece can show it. */
static bool attaches(const char *piece) {
    static const char *const beginnings[] = {".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re"};
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++) {
        if (strncmp(piece, beginnings[i], strlen(beginnings[i])) == 0) {
            return true;
        }
    }
    return false;
}

char *mb_tokenizer_decode(const mb_tokenizer *tokenizer, const int32_t *ids, size_t n_ids, bool skip_special, mb_error *error) {
    mb_buffer text = {0};
    bool is_first = true, has_memory = mb_buffer_append(&text, "", 0);
    for (size_t i = 0; i < n_ids && has_memory; i++) {
        const char *piece = mb_tokenizer_piece(tokenizer, ids[i]);
        if (piece == NULL) {
            mb_buffer_free(&text);
            mb_fail(error, MB_ERROR_USAGE, "cannot decode id %d: the vocabulary has ids 0 to %zu", (int)ids[i],
                    tokenizer->vocab.n - 1);
            return NULL;
        }
        if (skip_special && tokenizer->is_special[ids[i]]) {
            continue;
        }
        bool continues = !is_first && strncmp(piece, "##", 2) == 0;
        if (!is_first && !continues && !attaches(piece)) {
            has_memory = mb_buffer_append(&text, " ", 1);
        }
        has_memory = has_memory && mb_buffer_append_text(&text, continues ? piece + 2 : piece);
        is_first = false;
    }
    if (!has_memory) {
        mb_buffer_free(&text);
        mb_fail(error, MB_ERROR_MEMORY, "no memory for the text of %zu ids", n_ids);
        return NULL;
    }
    return text.data;
}
