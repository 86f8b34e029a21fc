#include "tokenizer/train.h"

static mb_status check_options(const mb_vocab_train_options *options, mb_error *error) {
    if (options->n_files == 0) {
        return mb_fail(error, MB_ERROR_USAGE, "cannot train a vocabulary without a file");
    }
    if (options->vocab_size <= MB_N_SPECIALS || options->vocab_size > INT32_MAX) {
        return mb_fail(error, MB_ERROR_USAGE, "cannot train a vocabulary of %zu pieces: %d of them are the special tokens",
                       options->vocab_size, MB_N_SPECIALS);
    }
    if (options->initial != NULL && options->vocab_size < options->initial->vocab.n) {
        return mb_fail(error, MB_ERROR_USAGE, "cannot train a vocabulary of %zu pieces: the initial one has %zu already",
                       options->vocab_size, options->initial->vocab.n);
    }
    return MB_OK;
}

mb_status mb_tokenizer_train(const mb_vocab_train_options *options, mb_tokenizer **out, mb_error *error) {
    mb_charmap charmap = {0};
    mb_word_table table = {0};
    mb_symbols symbols = {0};
    mb_tokenizer_parts parts = {.config = options->config};
    mb_status status = check_options(options, error);
    if (status == MB_OK) {
        status = mb_tokenizer_check_config(&options->config, "the options", error);
    }
    if (status == MB_OK && !mb_charmap_build(&charmap, &options->config)) {
        status = mb_fail(error, MB_ERROR_MEMORY, "no memory to train a vocabulary");
    }
    if (status == MB_OK) {
        status = mb_train_count_words(options, &charmap, &table, error);
    }
    if (status == MB_OK && table.n_words == 0) {
        status = mb_fail(error, MB_ERROR_FORMAT, "cannot train a vocabulary: there is not one word in '%s'%s",
                         options->files[0], options->n_files > 1 ? " and the other files" : "");
    }
    if (status == MB_OK) {
        status = mb_train_alphabet(options, &table, &parts.vocab, &symbols, error);
    }
    mb_word_table_free(&table);
    if (status == MB_OK) {
        status = mb_train_merge(options, &symbols, &parts.vocab, error);
    }
    for (size_t i = 0; status == MB_OK && options->initial != NULL && i < options->initial->n_added; i++) {
        const mb_added_token *added = &options->initial->added[i]; /* ids are the same */
        status = mb_added_token_append(&parts, added->id, added->is_special, error);
    }
    mb_symbols_free(&symbols);
    mb_charmap_free(&charmap);
    if (status != MB_OK) {
        mb_tokenizer_parts_free(&parts);
        return status;
    }
    return mb_tokenizer_from_parts(&parts, "the trained vocabulary", out, error);
}
