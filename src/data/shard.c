/* The token shard's file format, its reader and its writer.
 *
 * All numbers are little-endian. T, L, D: tokens, lines, documents.
 *
 *   offset            bytes  content
 *   0                 8      magic "MBSHARD\n"
 *   8                 4      version (MB_SHARD_VERSION)
 *   12                4      vocab_size: every id is below it
 *   16                8      fingerprint of text, tokenizer and split
 *   24                8      zero
 *   32                4 T    tokens: bits 0-30 the id, bit 31 set where the piece continues a word
 *   32 + 4 T          0, 4   zero bytes up to a multiple of 8
 *   ...               8 L    line ends, in tokens: strictly increasing, the last one is T
 *   ...               8 D    document ends, in lines: strictly increasing, the last one is L
 *   size - 64         8      T > 0
 *   size - 56         8      L
 *   size - 48         8      D
 *   size - 40         8      size of the file
 *   size - 32         8      XXH64 of the bytes from 32 to size - 64
 *   size - 24         8      zero
 *   size - 16         8      XXH64 of the 32 bytes of the header and the 48 bytes from size - 64
 *   size - 8          8      magic "\nDRAHSBM"
 *
 * The counts stand at the end because the file is written as a stream whose length is not known before. */
#include "data/shard.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/map_release.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "shards are mapped as they lie on disk, which is little-endian");

typedef struct shard_header {
    char magic[8];
    uint32_t version, vocab_size;
    uint64_t fingerprint, zero;
} shard_header;

typedef struct shard_footer {
    uint64_t n_tokens, n_lines, n_documents, n_bytes, content_hash, zero, frame_hash;
    char magic[8];
} shard_footer;

_Static_assert(sizeof(shard_header) == 32 && sizeof(shard_footer) == 64, "the byte table above");

static const char header_magic[8] = {'M', 'B', 'S', 'H', 'A', 'R', 'D', '\n'};
static const char footer_magic[8] = {'\n', 'D', 'R', 'A', 'H', 'S', 'B', 'M'};

static uint64_t frame_hash(const shard_header *header, const shard_footer *footer) {
    mb_hash hash;
    mb_hash_begin(&hash);
    mb_hash_add(&hash, header, sizeof(*header));
    mb_hash_add(&hash, footer, offsetof(shard_footer, frame_hash));
    return mb_hash_end(&hash);
}

/* --- reading --- */

static mb_status bad(const char *path, const char *what, mb_error *error) {
    return mb_fail(error, MB_ERROR_FORMAT, "cannot use token shard '%s': %s; delete it and run again", path, what);
}

/* Strictly increasing from above 0 to exactly `last`. */
static bool ends_are_valid(const uint64_t *ends, uint64_t n, uint64_t last) {
    uint64_t previous = 0;
    for (uint64_t i = 0; i < n; i++) {
        if (ends[i] <= previous) {
            return false;
        }
        previous = ends[i];
    }
    return previous == last;
}

/* Reads all of the body once, block by block: the ids' range and, if wanted, the checksum. */
static const char *check_body(const mb_shard *shard, bool verify_checksum, uint64_t content_hash) {
    const size_t token_bytes = shard->n_tokens * sizeof(uint32_t);
    const size_t n_bytes = shard->map.n_bytes - sizeof(shard_header) - sizeof(shard_footer);
    const unsigned char *body = shard->map.data + sizeof(shard_header);
    mb_hash hash;
    mb_hash_begin(&hash);
    uint32_t largest = 0;
    for (size_t at = 0; at < n_bytes; at += MB_MAP_BLOCK_BYTES) {
        const size_t to = n_bytes - at < MB_MAP_BLOCK_BYTES ? n_bytes : at + MB_MAP_BLOCK_BYTES;
        if (verify_checksum) {
            mb_hash_add(&hash, body + at, to - at);
        }
        const size_t last_token = (to < token_bytes ? to : token_bytes) / sizeof(uint32_t);
        for (size_t i = at / sizeof(uint32_t); i < last_token; i++) {
            const uint32_t id = shard->tokens[i] & ~MB_SHARD_CONTINUES;
            largest = id > largest ? id : largest;
        }
        mb_map_release(&shard->map, at, sizeof(shard_header) + to);
    }
    if (verify_checksum && mb_hash_end(&hash) != content_hash) {
        return "its content does not match its checksum";
    }
    return largest < shard->vocab_size ? NULL : "it holds a token outside the vocabulary";
}

static mb_status read_shard(const char *path, bool verify_checksum, mb_shard *out, mb_error *error) {
    const unsigned char *data = out->map.data;
    const size_t n_bytes = out->map.n_bytes;
    shard_header header;
    shard_footer footer;
    if (n_bytes < sizeof(header) + sizeof(footer)) {
        return bad(path, "it is too short", error);
    }
    memcpy(&header, data, sizeof(header));
    memcpy(&footer, data + n_bytes - sizeof(footer), sizeof(footer));
    if (memcmp(header.magic, header_magic, sizeof(header_magic)) != 0) {
        return bad(path, "it is not a token shard", error);
    }
    if (header.version != MB_SHARD_VERSION) {
        return bad(path, "it has another format version", error);
    }
    if (memcmp(footer.magic, footer_magic, sizeof(footer_magic)) != 0 || footer.n_bytes != n_bytes) {
        return bad(path, "it is incomplete", error);
    }
    if (footer.frame_hash != frame_hash(&header, &footer) || header.zero != 0 || footer.zero != 0) {
        return bad(path, "its header is damaged", error);
    }
    /* Each count is bounded by the file's size before it is multiplied, so nothing overflows. */
    const uint64_t body_bytes = n_bytes - sizeof(header) - sizeof(footer);
    if (footer.n_tokens == 0 || footer.n_tokens > body_bytes / 4 || footer.n_lines > body_bytes / 8 ||
        footer.n_documents > body_bytes / 8) {
        return bad(path, "its counts do not fit its size", error);
    }
    const uint64_t token_bytes = (4 * footer.n_tokens + 7) & ~(uint64_t)7;
    if (token_bytes + 8 * (footer.n_lines + footer.n_documents) != body_bytes) {
        return bad(path, "its counts do not fit its size", error);
    }
    const unsigned char *body = data + sizeof(header);
    out->fingerprint = header.fingerprint;
    out->vocab_size = header.vocab_size;
    out->n_tokens = footer.n_tokens;
    out->n_lines = footer.n_lines;
    out->n_documents = footer.n_documents;
    out->tokens = (const uint32_t *)(const void *)body;
    out->line_ends = (const uint64_t *)(const void *)(body + token_bytes);
    out->document_ends = out->line_ends + footer.n_lines;
    const char *damage = check_body(out, verify_checksum, footer.content_hash);
    if (damage != NULL) {
        return bad(path, damage, error);
    }
    if (!ends_are_valid(out->line_ends, out->n_lines, out->n_tokens)) {
        return bad(path, "its line ends are not increasing", error);
    }
    if (!ends_are_valid(out->document_ends, out->n_documents, out->n_lines)) {
        return bad(path, "its document ends are not increasing", error);
    }
    return MB_OK;
}

mb_status mb_shard_open(const char *path, bool verify_checksum, mb_shard *out, mb_error *error) {
    *out = (mb_shard){0};
    mb_status status = mb_map_open(path, &out->map, error);
    if (status != MB_OK) {
        return status;
    }
    out->path = strdup(path);
    if (out->path == NULL) {
        mb_shard_close(out);
        return mb_fail(error, MB_ERROR_MEMORY, "cannot open '%s': out of memory", path);
    }
    status = read_shard(path, verify_checksum, out, error);
    if (status != MB_OK) {
        mb_shard_close(out);
    }
    return status;
}

void mb_shard_close(mb_shard *shard) {
    mb_map_close(&shard->map);
    free(shard->path);
    *shard = (mb_shard){0};
}

uint64_t mb_shard_document_of(const mb_shard *shard, uint64_t token) {
    uint64_t low = 0, high = shard->n_documents - 1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (mb_shard_document_end(shard, middle) > token) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

uint64_t mb_shard_line_of(const mb_shard *shard, uint64_t token) {
    uint64_t low = 0, high = shard->n_lines - 1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (shard->line_ends[middle] > token) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

/* --- writing --- */

struct mb_shard_writer {
    mb_writer *file;
    FILE *line_ends, *document_ends; /* unlinked temporary files */
    mb_hash content;
    uint64_t n_tokens, n_lines, n_documents;
    int spool_errno; /* first failure on a temporary file */
    shard_header header;
    char *path;
};

/* A temporary file beside the shard, where the space is: /tmp may be small or in memory. */
static FILE *open_spool(const char *path) {
    const char *slash = strrchr(path, '/');
    char *dir = slash == NULL ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
    FILE *file = dir != NULL ? mb_file_unnamed(dir) : NULL;
    free(dir);
    return file;
}

static void free_writer(mb_shard_writer *writer) {
    if (writer->line_ends != NULL) {
        (void)fclose(writer->line_ends);
    }
    if (writer->document_ends != NULL) {
        (void)fclose(writer->document_ends);
    }
    mb_writer_abort(writer->file);
    free(writer->path);
    free(writer);
}

static void write_content(mb_shard_writer *writer, const void *bytes, size_t n_bytes) {
    mb_writer_write(writer->file, bytes, n_bytes);
    mb_hash_add(&writer->content, bytes, n_bytes);
}

static void spool_end(mb_shard_writer *writer, FILE *spool, uint64_t end) {
    if (fwrite(&end, sizeof(end), 1, spool) != 1 && writer->spool_errno == 0) {
        writer->spool_errno = errno != 0 ? errno : EIO;
    }
}

mb_status mb_shard_writer_open(const char *path, uint64_t fingerprint, uint32_t vocab_size, mb_shard_writer **out,
                               mb_error *error) {
    *out = NULL;
    mb_shard_writer *writer = calloc(1, sizeof(*writer));
    if (writer == NULL || (writer->path = strdup(path)) == NULL) {
        free(writer);
        return mb_fail(error, MB_ERROR_MEMORY, "cannot write '%s': out of memory", path);
    }
    mb_status status = mb_writer_open(path, &writer->file, error);
    if (status == MB_OK) {
        writer->line_ends = open_spool(path);
        writer->document_ends = writer->line_ends == NULL ? NULL : open_spool(path);
        if (writer->document_ends == NULL) {
            status = mb_fail(error, MB_ERROR_IO, "cannot write a temporary file beside '%s': %s", path, strerror(errno));
        }
    }
    if (status != MB_OK) {
        free_writer(writer);
        return status;
    }
    memcpy(writer->header.magic, header_magic, sizeof(header_magic));
    writer->header.version = MB_SHARD_VERSION;
    writer->header.vocab_size = vocab_size;
    writer->header.fingerprint = fingerprint;
    mb_writer_write(writer->file, &writer->header, sizeof(writer->header));
    mb_hash_begin(&writer->content);
    *out = writer;
    return MB_OK;
}

void mb_shard_writer_add_line(mb_shard_writer *writer, const uint32_t *tokens, uint64_t n_tokens, bool starts_document) {
    if (starts_document && writer->n_lines > 0) {
        spool_end(writer, writer->document_ends, writer->n_lines);
        writer->n_documents++;
    }
    write_content(writer, tokens, n_tokens * sizeof(*tokens));
    writer->n_tokens += n_tokens;
    spool_end(writer, writer->line_ends, writer->n_tokens);
    writer->n_lines++;
}

uint64_t mb_shard_writer_n_tokens(const mb_shard_writer *writer) {
    return writer->n_tokens;
}

/* Appends a temporary file's content to the shard. */
static void drain_spool(mb_shard_writer *writer, FILE *spool) {
    char block[1 << 16];
    size_t n_bytes;
    errno = 0;
    if (fflush(spool) == 0 && fseeko(spool, 0, SEEK_SET) == 0) {
        while ((n_bytes = fread(block, 1, sizeof(block), spool)) > 0) {
            write_content(writer, block, n_bytes);
        }
        if (!ferror(spool)) {
            return;
        }
    }
    if (writer->spool_errno == 0) {
        writer->spool_errno = errno != 0 ? errno : EIO;
    }
}

mb_status mb_shard_writer_commit(mb_shard_writer *writer, mb_error *error) {
    mb_status status = MB_OK;
    if (writer->n_lines == 0) {
        status = mb_fail(error, MB_ERROR_USAGE, "cannot write '%s': there is no text", writer->path);
        free_writer(writer);
        return status;
    }
    spool_end(writer, writer->document_ends, writer->n_lines);
    writer->n_documents++;
    const uint32_t zero = 0;
    if (writer->n_tokens % 2 != 0) {
        write_content(writer, &zero, sizeof(zero));
    }
    drain_spool(writer, writer->line_ends);
    drain_spool(writer, writer->document_ends);
    if (writer->spool_errno != 0) {
        status = mb_fail(error, MB_ERROR_IO, "cannot write a temporary file beside '%s': %s", writer->path,
                         strerror(writer->spool_errno));
        free_writer(writer);
        return status;
    }
    shard_footer footer = {
        .n_tokens = writer->n_tokens,
        .n_lines = writer->n_lines,
        .n_documents = writer->n_documents,
        .n_bytes = mb_writer_n_bytes(writer->file) + sizeof(footer),
        .content_hash = mb_hash_end(&writer->content),
    };
    memcpy(footer.magic, footer_magic, sizeof(footer_magic));
    footer.frame_hash = frame_hash(&writer->header, &footer);
    mb_writer_write(writer->file, &footer, sizeof(footer));
    status = mb_writer_commit(writer->file, error);
    writer->file = NULL;
    free_writer(writer);
    return status;
}

void mb_shard_writer_abort(mb_shard_writer *writer) {
    if (writer != NULL) {
        free_writer(writer);
    }
}
