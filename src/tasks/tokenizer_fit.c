#include "tasks/tokenizer_fit.h"

#include <stdlib.h>

mb_status mb_tokenizer_fit_check(const mb_tokenizer *tokenizer, const mb_model_config *config, const char *dir,
                                 mb_error *error) {
    const size_t n_pieces = mb_tokenizer_vocab_size(tokenizer);
    if (n_pieces > (size_t)config->vocab_size) {
        return mb_fail(error, MB_ERROR_MISMATCH,
                       "'%s': the tokenizer has %zu pieces but the model has embeddings for %d: they do not belong together",
                       dir, n_pieces, (int)config->vocab_size);
    }
    return MB_OK;
}

mb_status mb_tokenizer_fit_length(mb_tokenizer **tokenizer, int32_t max_length, mb_error *error) {
    mb_tokenizer_config config = *mb_tokenizer_get_config(*tokenizer);
    if (config.model_max_length == max_length) {
        return MB_OK;
    }
    config.model_max_length = max_length;
    const size_t n = mb_tokenizer_vocab_size(*tokenizer);
    const char **pieces = calloc(n, sizeof *pieces);
    if (pieces == NULL) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        pieces[i] = mb_tokenizer_piece(*tokenizer, (int32_t)i);
    }
    mb_tokenizer *limited = NULL;
    mb_status status = mb_tokenizer_new(pieces, n, &config, &limited, error);
    free(pieces);
    if (status == MB_OK) {
        mb_tokenizer_free(*tokenizer);
        *tokenizer = limited;
    }
    return status;
}

int32_t mb_tokenizer_fit_max_length(const mb_tokenizer *tokenizer, const mb_model_config *config, int64_t wanted) {
    const int64_t length = wanted > 0 ? wanted : mb_tokenizer_get_config(tokenizer)->model_max_length;
    return length > config->max_positions || length <= 0 ? config->max_positions : (int32_t)length;
}
