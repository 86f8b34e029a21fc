/* Any bytes as a tokenizer.json, beside a tokenizer_config.json that an input may bring: what comes after a NUL byte. A
 * tokenizer that loads must encode and decode, and be the same after it was saved. */
#include <string.h>

#include "fuzz/support.h"
#include "minibert/tokenizer.h"

static void use(const mb_tokenizer *tokenizer) {
    static const char text[] = "The [MASK] n\u00e4ive \u4e2d\u6587 abc##d";
    mb_encoding encoding = {0};
    CHECK(mb_tokenizer_encode(tokenizer, text, sizeof text - 1, &encoding, NULL) == MB_OK);
    char *decoded = mb_tokenizer_decode(tokenizer, encoding.ids, encoding.n_tokens, true, NULL);
    CHECK(decoded != NULL);
    free(decoded);
    mb_encoding_free(&encoding);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    const uint8_t *nul = n_bytes > 0 ? memchr(data, 0, n_bytes) : NULL;
    const size_t n_json = nul ? (size_t)(nul - data) : n_bytes;
    fuzz_write("tokenizer.json", data, n_json);
    if (nul) {
        fuzz_write("tokenizer_config.json", nul + 1, n_bytes - n_json - 1);
    } else {
        fuzz_remove("tokenizer_config.json");
    }
    mb_tokenizer *tokenizer = NULL, *again = NULL;
    if (mb_tokenizer_load(fuzz_path(""), &tokenizer, NULL) == MB_OK) {
        use(tokenizer);
        CHECK(mb_tokenizer_save(tokenizer, fuzz_path("saved"), NULL) == MB_OK);
        CHECK(mb_tokenizer_load(fuzz_path("saved"), &again, NULL) == MB_OK);
        CHECK(mb_tokenizer_fingerprint(tokenizer) == mb_tokenizer_fingerprint(again));
        mb_tokenizer_free(again);
        mb_tokenizer_free(tokenizer);
    }
    return 0;
}
