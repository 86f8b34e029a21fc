/* A token shard: documents as runs of wordpiece ids, memory-mapped. The file format is a byte table in shard.c.
 *
 * The token array is the whole corpus in reading order; lines tile it and documents tile the lines, so two arrays of ends are
 * all the structure there is. No line and no document is empty, and no [CLS], [SEP], [PAD] or [MASK] lies in it: those are
 * added when sequences are made. */
#ifndef MB_DATA_SHARD_H
#define MB_DATA_SHARD_H

#include <stdint.h>

#include "base/file.h"
#include "minibert/status.h"

typedef struct mb_shard {
    mb_map map;
    uint64_t fingerprint; /* of text, tokenizer and split */
    uint64_t n_tokens, n_lines, n_documents;
    const uint32_t *tokens;        /* n_tokens ids; bit 31 set: the piece continues a word ("##") */
    const uint64_t *line_ends;     /* n_lines: end of each line in tokens */
    const uint64_t *document_ends; /* n_documents: end of each document in lines */
    uint32_t vocab_size;
    char *path;
} mb_shard;

#define MB_SHARD_CONTINUES 0x80000000u
#define MB_SHARD_ID(token) ((int32_t)((token)&0x7fffffffu))

/* The version is part of the corpus fingerprint: raise it when the format, or the rule that makes shards from text, changes. */
enum { MB_SHARD_VERSION = 1 };

/* Maps a shard. Sizes, ends and ids are always checked, because an id or an end out of range would later be read or written out
 * of bounds; `verify_checksum` also compares the content with its checksum. MB_ERROR_FORMAT names what is wrong. */
mb_status mb_shard_open(const char *path, bool verify_checksum, mb_shard *out, mb_error *error);
void mb_shard_close(mb_shard *shard); /* also fine on {0} */

/* End of a document in tokens. */
static inline uint64_t mb_shard_document_end(const mb_shard *shard, uint64_t document) {
    return shard->line_ends[shard->document_ends[document] - 1];
}
/* The document / line that holds a token (< n_tokens): binary search. */
uint64_t mb_shard_document_of(const mb_shard *shard, uint64_t token);
uint64_t mb_shard_line_of(const mb_shard *shard, uint64_t token);

/* --- writing ---
 * A shard is written as a stream: memory does not grow with the corpus. The two arrays of ends, which come after the tokens in
 * the file, wait in unnamed temporary files beside it. */
typedef struct mb_shard_writer mb_shard_writer;
mb_status mb_shard_writer_open(const char *path, uint64_t fingerprint, uint32_t vocab_size, mb_shard_writer **out,
                               mb_error *error);
/* Appends one line of n_tokens > 0 shard tokens. The first line always starts a document. Errors are sticky: a failed write is
 * reported by commit. */
void mb_shard_writer_add_line(mb_shard_writer *writer, const uint32_t *tokens, uint64_t n_tokens, bool starts_document);
uint64_t mb_shard_writer_n_tokens(const mb_shard_writer *writer);
/* The file appears under its name, whole, or not at all. Frees the writer in every case. MB_ERROR_USAGE without any line. */
mb_status mb_shard_writer_commit(mb_shard_writer *writer, mb_error *error);
void mb_shard_writer_abort(mb_shard_writer *writer); /* fine on NULL */

#endif
