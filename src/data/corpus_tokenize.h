/* The long part of making a shard: sections of text to lines of tokens, in parallel, in order, in bounded memory. */
#ifndef MB_DATA_CORPUS_TOKENIZE_H
#define MB_DATA_CORPUS_TOKENIZE_H

#include <stdint.h>

#include "base/job.h"
#include "data/corpus.h"
#include "data/corpus_scan.h"
#include "data/shard.h"

typedef struct mb_corpus_tokenize_options {
    const mb_map *maps;
    size_t n_maps;
    mb_split split;
    bool dedup;              /* leave out sections whose text was there before, and tell the job how many */
    uint64_t held_out_limit; /* unused for MB_SPLIT_ALL */
} mb_corpus_tokenize_options;

/* Adds the lines of the split's sections to `writer`. MB_ERROR_INTERRUPTED when `job` asks to stop. */
mb_status mb_corpus_tokenize(const mb_corpus_tokenize_options *options, const mb_tokenizer *tokenizer, const mb_job *job,
                             mb_shard_writer *writer, mb_error *error);

#endif
