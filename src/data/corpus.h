/* Raw text -> token shard. A corpus is UTF-8 files; a line is a sentence or paragraph, a blank line ends a document.
 *
 * The text is tokenized once, in parallel, into one memory-mapped shard in a cache directory. Its name is the fingerprint of
 * the text's content, the tokenizer and the split, so a second run finds it and starts at once. See shard.h for the format. */
#ifndef MB_DATA_CORPUS_H
#define MB_DATA_CORPUS_H

#include <stdint.h>

#include "base/job.h"
#include "minibert/status.h"
#include "minibert/tokenizer.h"

typedef enum mb_split {
    MB_SPLIT_ALL,   /* every document */
    MB_SPLIT_TRAIN, /* all but the held-out documents */
    MB_SPLIT_VALID, /* a fixed 1% of the documents, chosen by each document's content hash (at least one document) */
} mb_split;

typedef struct mb_corpus_options {
    const char *const *files;
    size_t n_files;
    const char *cache_dir; /* made if missing */
    mb_split split;
} mb_corpus_options;

/* Makes or finds the shard; *shard_path is malloc'ed. Errors: unreadable file, a file that is not text (NUL bytes), no
 * documents at all. */
mb_status mb_corpus_prepare(const mb_corpus_options *options, const mb_tokenizer *tokenizer, const mb_job *job,
                            char **shard_path, mb_error *error);

#endif
