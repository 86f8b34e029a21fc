/* A token shard: documents as runs of wordpiece ids, memory-mapped. The file format is a byte table in shard.c. */
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

enum { MB_TOKEN_CONTINUES = 1 };
#define MB_SHARD_CONTINUES 0x80000000u
#define MB_SHARD_ID(token) ((int32_t)((token)&0x7fffffffu))

/* Checks header, sizes and (verify_checksum) the content. */
mb_status mb_shard_open(const char *path, bool verify_checksum, mb_shard *out, mb_error *error);
void mb_shard_close(mb_shard *shard);

#endif
