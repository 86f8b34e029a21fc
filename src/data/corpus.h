/* Raw text -> token shard. A corpus is UTF-8 files; a line is a sentence or paragraph, a blank line ends a document.
 *
 * The text is tokenized once, in parallel, into one memory-mapped shard in a cache directory. Its name is the fingerprint of
 * the text's content, the tokenizer and the split, so a second run finds it and starts at once. See shard.h for the format.
 *
 * What is dropped: blank lines, lines that tokenize to nothing, and [CLS], [SEP], [PAD] and [MASK] where the text spells them
 * out (they would pass for the real ones). corpus_scan.h has the rule for very long lines. */
#ifndef MB_DATA_CORPUS_H
#define MB_DATA_CORPUS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/job.h"
#include "minibert/status.h"
#include "minibert/tokenizer.h"

/* The unit of the split is a document, or, of a document longer than 256 lines, each run of 256 lines (so that a text without
 * blank lines can be split too). A unit is held out by the hash of its content: copies of a document fall on the same side, and
 * a document that is held out stays so when the corpus grows, up to the few that a small corpus takes to reach 1%. Where text
 * was held out of a document's middle, the document ends. */
typedef enum mb_split {
    MB_SPLIT_ALL,   /* every document */
    MB_SPLIT_TRAIN, /* all but the held-out documents */
    MB_SPLIT_VALID, /* a fixed 1% of the documents, chosen by each document's content hash (corpus_scan.h has the rule) */
} mb_split;

typedef struct mb_corpus_options {
    const char *const *files;
    size_t n_files;
    const char *cache_dir; /* made if missing */
    mb_split split;
    bool dedup; /* a document (a longer one: 256 lines of it) that is a copy, byte for byte, of one before it is left out */
} mb_corpus_options;

/* Makes or finds the shard; *shard_path is malloc'ed. The shard is the same at any number of threads. A shard found has been
 * checked against its checksum; a damaged one is made anew, with a warning to `job`. Reports the phases "fingerprint", "check"
 * and "tokenize" in bytes; a stop request gives MB_ERROR_INTERRUPTED and leaves nothing.
 * Errors: no or unreadable files; NUL bytes, or more than 1% of bytes that are not UTF-8, in a file (fewer are a warning); no
 * text at all; too little text to hold any out. */
mb_status mb_corpus_prepare(const mb_corpus_options *options, const mb_tokenizer *tokenizer, const mb_job *job,
                            char **shard_path, mb_error *error);

#endif
