#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "data/shard.h"
#include "unit/data/support.h"

/* The smallest shard with everything in it: 7 tokens (so there is padding), 4 lines, 2 documents. */
static char *write_small(const char *dir) {
    char *path = mb_path_join(dir, "small.shard");
    mb_shard_writer *writer = NULL;
    mb_error error;
    cr_assert_eq(mb_shard_writer_open(path, 0x1122334455667788u, 30, &writer, &error), MB_OK);
    mb_shard_writer_add_line(writer, (uint32_t[]){5, 6 | MB_SHARD_CONTINUES}, 2, true);
    mb_shard_writer_add_line(writer, (uint32_t[]){7}, 1, false);
    mb_shard_writer_add_line(writer, (uint32_t[]){8, 9, 29}, 3, true);
    mb_shard_writer_add_line(writer, (uint32_t[]){10}, 1, false);
    cr_assert_eq(mb_shard_writer_commit(writer, &error), MB_OK, "%s", error.message);
    return path;
}

enum { HEADER = 32, FOOTER = 64, SMALL_BYTES = HEADER + 32 + 8 * 4 + 8 * 2 + FOOTER };

static mb_status open_bytes(const char *dir, const void *bytes, size_t n_bytes, bool verify_checksum, mb_error *error) {
    char *path = test_file_bytes(dir, "changed.shard", bytes, n_bytes);
    mb_shard shard;
    mb_status status = mb_shard_open(path, verify_checksum, &shard, error);
    if (status == MB_OK) {
        mb_shard_close(&shard);
    } else {
        cr_assert_null(shard.path);
        cr_assert_eq(shard.map.n_bytes, 0);
    }
    free(path);
    return status;
}

Test(shard, gives_back_what_was_written) {
    char *dir = test_dir_new(), *path = write_small(dir);
    mb_shard shard;
    mb_error error;
    cr_assert_eq(mb_shard_open(path, true, &shard, &error), MB_OK, "%s", error.message);
    cr_assert_eq(shard.map.n_bytes, SMALL_BYTES);
    cr_assert_eq(shard.fingerprint, 0x1122334455667788u);
    cr_assert_eq(shard.vocab_size, 30);
    cr_assert_eq(shard.n_tokens, 7);
    cr_assert_eq(shard.n_lines, 4);
    cr_assert_eq(shard.n_documents, 2);
    cr_assert_arr_eq(shard.tokens, ((uint32_t[]){5, 6 | MB_SHARD_CONTINUES, 7, 8, 9, 29, 10}), 28);
    cr_assert_arr_eq(shard.line_ends, ((uint64_t[]){2, 3, 6, 7}), 32);
    cr_assert_arr_eq(shard.document_ends, ((uint64_t[]){2, 4}), 16);
    cr_assert_eq(MB_SHARD_ID(shard.tokens[1]), 6);
    const uint64_t lines[] = {0, 0, 1, 2, 2, 2, 3}, documents[] = {0, 0, 0, 1, 1, 1, 1};
    for (uint64_t i = 0; i < 7; i++) {
        cr_expect_eq(mb_shard_line_of(&shard, i), lines[i]);
        cr_expect_eq(mb_shard_document_of(&shard, i), documents[i]);
    }
    mb_shard_close(&shard);
    mb_shard_close(&shard);
    free(path);
    test_dir_free(dir);
}

Test(shard, every_truncation_is_refused) {
    char *dir = test_dir_new(), *path = write_small(dir);
    mb_buffer bytes = {0};
    mb_error error;
    cr_assert_eq(mb_file_read(path, &bytes, &error), MB_OK);
    cr_assert_eq(bytes.n_bytes, SMALL_BYTES);
    for (size_t n = 0; n < bytes.n_bytes; n++) {
        cr_assert_eq(open_bytes(dir, bytes.data, n, false, &error), MB_ERROR_FORMAT, "%zu bytes", n);
        cr_assert_not_null(strstr(error.message, "changed.shard"));
    }
    cr_assert(mb_buffer_append(&bytes, "12345678", 8));
    cr_assert_eq(open_bytes(dir, bytes.data, bytes.n_bytes, false, &error), MB_ERROR_FORMAT, "trailing bytes");
    mb_buffer_free(&bytes);
    free(path);
    test_dir_free(dir);
}

Test(shard, every_flipped_bit_is_refused) {
    char *dir = test_dir_new(), *path = write_small(dir);
    mb_buffer bytes = {0};
    mb_error error;
    cr_assert_eq(mb_file_read(path, &bytes, &error), MB_OK);
    for (size_t i = 0; i < bytes.n_bytes; i++) {
        for (int bit = 0; bit < 8; bit++) {
            bytes.data[i] = (char)(bytes.data[i] ^ (1 << bit));
            cr_assert_eq(open_bytes(dir, bytes.data, bytes.n_bytes, true, &error), MB_ERROR_FORMAT, "byte %zu bit %d", i, bit);
            if (i < HEADER || i >= bytes.n_bytes - FOOTER) { /* the frame is protected without reading the content */
                cr_assert_eq(open_bytes(dir, bytes.data, bytes.n_bytes, false, &error), MB_ERROR_FORMAT, "byte %zu", i);
            }
            bytes.data[i] = (char)(bytes.data[i] ^ (1 << bit));
        }
    }
    cr_assert_eq(open_bytes(dir, bytes.data, bytes.n_bytes, true, &error), MB_OK, "the original");
    mb_buffer_free(&bytes);
    free(path);
    test_dir_free(dir);
}

/* A file whose checksums are right but whose numbers are not: what the checksums cannot catch. */
Test(shard, well_sealed_nonsense_is_refused) {
    enum { N_TOKENS = SMALL_BYTES - FOOTER, N_LINES = N_TOKENS + 8, N_DOCUMENTS = N_TOKENS + 16, SIZE = N_TOKENS + 24 };
    enum { CONTENT_HASH = N_TOKENS + 32, FOOTER_ZERO = N_TOKENS + 40, FRAME_HASH = N_TOKENS + 48 };
    enum { TOKENS = HEADER, LINES = HEADER + 32, DOCUMENTS = LINES + 32 };
    static const struct {
        const char *what;
        size_t offset, n_bytes;
        uint64_t value;
        const char *message;
    } cases[] = {
        {"first magic", 0, 8, 1, "not a token shard"},
        {"version", 8, 4, MB_SHARD_VERSION + 1, "another format version"},
        {"vocabulary of no piece", 12, 4, 0, "outside the vocabulary"},
        {"vocabulary one too small", 12, 4, 29, "outside the vocabulary"},
        {"reserved", 24, 8, 1, "header is damaged"},
        {"reserved", FOOTER_ZERO, 8, 1, "header is damaged"},
        {"no tokens", N_TOKENS, 8, 0, "counts"},
        {"one token more", N_TOKENS, 8, 8, "line ends"},
        {"three tokens more", N_TOKENS, 8, 10, "counts"},
        {"tokens that overflow", N_TOKENS, 8, (UINT64_C(1) << 62) + 8, "counts"}, /* 4 times this is 32 again */
        {"most tokens", N_TOKENS, 8, UINT64_MAX, "counts"},
        {"no lines", N_LINES, 8, 0, "counts"},
        {"lines that overflow", N_LINES, 8, (UINT64_C(1) << 61) + 4, "counts"},
        {"no documents", N_DOCUMENTS, 8, 0, "counts"},
        {"documents that overflow", N_DOCUMENTS, 8, (UINT64_C(1) << 61) + 2, "counts"},
        {"size", SIZE, 8, SMALL_BYTES - 1, "incomplete"},
        {"content hash", CONTENT_HASH, 8, 1, "checksum"},
        {"id", TOKENS + 8, 4, 30, "outside the vocabulary"},
        {"continued id", TOKENS + 8, 4, 30 | MB_SHARD_CONTINUES, "outside the vocabulary"},
        {"empty line", LINES + 8, 8, 2, "line ends"},
        {"lines backwards", LINES + 8, 8, 1, "line ends"},
        {"line of nothing", LINES, 8, 0, "line ends"},
        {"last line short", LINES + 24, 8, 6 + 0, "line ends"},
        {"last line long", LINES + 24, 8, 8, "line ends"},
        {"huge line end", LINES + 16, 8, UINT64_MAX, "line ends"},
        {"empty document", DOCUMENTS, 8, 0, "document ends"},
        {"document backwards", DOCUMENTS, 8, 4, "document ends"},
        {"last document short", DOCUMENTS + 8, 8, 3, "document ends"},
        {"last document long", DOCUMENTS + 8, 8, 5, "document ends"},
        {"second magic", SMALL_BYTES - 8, 8, 1, "incomplete"},
    };
    char *dir = test_dir_new(), *path = write_small(dir);
    mb_buffer original = {0};
    mb_error error;
    cr_assert_eq(mb_file_read(path, &original, &error), MB_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char bytes[SMALL_BYTES];
        memcpy(bytes, original.data, SMALL_BYTES);
        memcpy(bytes + cases[i].offset, &cases[i].value, cases[i].n_bytes);
        if (cases[i].offset != CONTENT_HASH) {
            const uint64_t content = mb_hash_bytes(bytes + HEADER, SMALL_BYTES - HEADER - FOOTER);
            memcpy(bytes + CONTENT_HASH, &content, 8);
        }
        char frame[HEADER + 48];
        memcpy(frame, bytes, HEADER);
        memcpy(frame + HEADER, bytes + N_TOKENS, 48);
        const uint64_t seal = mb_hash_bytes(frame, sizeof(frame));
        memcpy(bytes + FRAME_HASH, &seal, 8);
        cr_expect_eq(open_bytes(dir, bytes, SMALL_BYTES, true, &error), MB_ERROR_FORMAT, "%s", cases[i].what);
        cr_expect_not_null(strstr(error.message, cases[i].message), "%s: %s", cases[i].what, error.message);
    }
    mb_buffer_free(&original);
    free(path);
    test_dir_free(dir);
}

Test(shard, an_empty_one_is_refused) {
    char *dir = test_dir_new(), *path = write_small(dir);
    mb_buffer bytes = {0};
    mb_error error;
    cr_assert_eq(mb_file_read(path, &bytes, &error), MB_OK);
    uint64_t footer[8] = {0, 0, 0, HEADER + FOOTER, mb_hash_bytes("", 0)}; /* no tokens, lines, documents; rightly sealed */
    memcpy(&footer[7], bytes.data + bytes.n_bytes - 8, 8);
    memcpy(bytes.data + HEADER, footer, 48);
    footer[6] = mb_hash_bytes(bytes.data, HEADER + 48);
    memcpy(bytes.data + HEADER, footer, FOOTER);
    cr_expect_eq(open_bytes(dir, bytes.data, HEADER + FOOTER, true, &error), MB_ERROR_FORMAT);
    cr_expect_not_null(strstr(error.message, "counts"), "%s", error.message);
    mb_buffer_free(&bytes);
    free(path);
    test_dir_free(dir);
}

Test(shard, writer_leaves_nothing_unfinished) {
    char *dir = test_dir_new(), *path = mb_path_join(dir, "x.shard");
    mb_shard_writer *writer = NULL;
    mb_error error;
    cr_assert_eq(mb_shard_writer_open(path, 1, 10, &writer, &error), MB_OK);
    cr_expect_eq(mb_shard_writer_commit(writer, &error), MB_ERROR_USAGE, "no line at all");
    cr_expect_eq(test_dir_entries(dir), 0);
    cr_assert_eq(mb_shard_writer_open(path, 1, 10, &writer, &error), MB_OK);
    mb_shard_writer_add_line(writer, (uint32_t[]){1, 2}, 2, true);
    cr_expect_eq(mb_shard_writer_n_tokens(writer), 2);
    mb_shard_writer_abort(writer);
    mb_shard_writer_abort(NULL);
    cr_expect_eq(test_dir_entries(dir), 0);
    char *nowhere = mb_path_join(dir, "no/such/x.shard");
    cr_expect_eq(mb_shard_writer_open(nowhere, 1, 10, &writer, &error), MB_ERROR_IO);
    cr_expect_null(writer);
    mb_shard shard;
    cr_expect_eq(mb_shard_open(nowhere, true, &shard, &error), MB_ERROR_IO);
    free(nowhere);
    free(path);
    test_dir_free(dir);
}
