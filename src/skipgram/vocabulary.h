/* The words that get vectors: those of a text that are frequent enough, most frequent first. */
#ifndef MB_SKIPGRAM_VOCABULARY_H
#define MB_SKIPGRAM_VOCABULARY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/file.h"
#include "base/job.h"
#include "minibert/status.h"
#include "skipgram/lexicon.h"

/* The word that stands for all that are too rare. */
#define MB_UNKNOWN_WORD "[UNK]"

typedef struct mb_vocabulary_options {
    int64_t min_count; /* words seen less often are left out */
    int64_t max_words; /* at most so many, the most frequent; 0: any number */
    bool unknown;      /* the words left out count as [UNK] */
} mb_vocabulary_options;

/* Begins as {0}. */
typedef struct mb_vocabulary {
    mb_lexicon words;     /* counts: in the text */
    int64_t unknown;      /* the number of [UNK]; -1: none */
    int64_t n_text_words; /* of the whole text, known or not */
    int64_t n_words;      /* of the text, those with a number */
} mb_vocabulary;

void mb_vocabulary_free(mb_vocabulary *vocabulary);
/* Counts the words of a text, by ranges of bytes on all threads. The result does not depend on their number. `path` is for
 * messages. MB_ERROR_FORMAT if no word is left. */
mb_status mb_vocabulary_count(const mb_map *text, const char *path, const mb_vocabulary_options *options, const mb_job *job,
                              mb_vocabulary *out, mb_error *error);
/* "word count" lines, as word2vec.c's -save-vocab and -read-vocab; sorted again when read, so that hand-made lists work. */
mb_status mb_vocabulary_save(const mb_vocabulary *vocabulary, const char *path, mb_error *error);
mb_status mb_vocabulary_load(const char *path, const mb_vocabulary_options *options, mb_vocabulary *out, mb_error *error);
/* The lines alone, in their order, into an empty table. */
mb_status mb_vocabulary_read_counts(const char *path, mb_lexicon *out, mb_error *error);
/* The word's number, else that of [UNK], else -1. */
static inline int64_t mb_vocabulary_find(const mb_vocabulary *vocabulary, const void *bytes, size_t n_bytes) {
    const int64_t word = mb_lexicon_find(&vocabulary->words, bytes, n_bytes);
    return word >= 0 ? word : vocabulary->unknown;
}

#endif
