/* Any bytes as a token shard: as they are, and with checksums that hold, as an attacker would make them. */
#include <string.h>

#include "base/file.h"
#include "data/shard.h"
#include "fuzz/support.h"

enum { HEADER_BYTES = 32, FOOTER_BYTES = 64 };

/* The checksums of the byte table in data/shard.c. */
static void repair(uint8_t *bytes, size_t n_bytes) {
    uint8_t *footer = bytes + n_bytes - FOOTER_BYTES;
    const uint64_t size = n_bytes, content = mb_hash_bytes(bytes + HEADER_BYTES, n_bytes - HEADER_BYTES - FOOTER_BYTES);
    memcpy(footer + 24, &size, 8);
    memcpy(footer + 32, &content, 8);
    mb_hash hash;
    mb_hash_begin(&hash);
    mb_hash_add(&hash, bytes, HEADER_BYTES);
    mb_hash_add(&hash, footer, 48);
    const uint64_t frame = mb_hash_end(&hash);
    memcpy(footer + 48, &frame, 8);
}

static void use(const char *path, bool verify) {
    mb_shard shard;
    if (mb_shard_open(path, verify, &shard, NULL) != MB_OK) {
        return;
    }
    uint64_t begin = 0;
    for (uint64_t d = 0; d < shard.n_documents; d++) {
        const uint64_t end = mb_shard_document_end(&shard, d);
        CHECK(end > begin && mb_shard_document_of(&shard, begin) == d && mb_shard_document_of(&shard, end - 1) == d);
        begin = end;
    }
    CHECK(begin == shard.n_tokens);
    for (uint64_t t = 0; t < shard.n_tokens; t++) {
        CHECK((shard.tokens[t] & ~MB_SHARD_CONTINUES) < shard.vocab_size);
        CHECK(mb_shard_line_of(&shard, t) < shard.n_lines);
    }
    mb_shard_close(&shard);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    use(fuzz_write("tokens.shard", data, n_bytes), true);
    use(fuzz_path("tokens.shard"), false);
    if (n_bytes >= HEADER_BYTES + FOOTER_BYTES) {
        uint8_t *bytes = malloc(n_bytes);
        CHECK(bytes != NULL);
        memcpy(bytes, data, n_bytes);
        repair(bytes, n_bytes);
        use(fuzz_write("tokens.shard", bytes, n_bytes), true);
        free(bytes);
    }
    return 0;
}
