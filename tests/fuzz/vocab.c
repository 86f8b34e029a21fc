/* Any bytes as a vocab.txt. A vocabulary that loads has a different piece for each id. */
#include "fuzz/support.h"
#include "minibert/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    mb_tokenizer *tokenizer = NULL;
    if (mb_tokenizer_load(fuzz_write("vocab.txt", data, n_bytes), &tokenizer, NULL) == MB_OK) {
        const size_t n = mb_tokenizer_vocab_size(tokenizer);
        for (size_t id = 0; id < n; id++) {
            CHECK(mb_tokenizer_id(tokenizer, mb_tokenizer_piece(tokenizer, (int32_t)id)) == (int32_t)id);
        }
        mb_tokenizer_free(tokenizer);
    }
    return 0;
}
