/* The occurrences of a few words in a text, each with its contextual vector: what senses.c groups. */
#ifndef MB_TASKS_SENSE_WORDS_H
#define MB_TASKS_SENSE_WORDS_H

#include "minibert/tokenizer.h"
#include "skipgram/lexicon.h"
#include "tasks/embedder.h"
#include "tasks/senses.h"

typedef struct mb_occurrence {
    char *line; /* owned */
    size_t n_bytes;
    uint32_t start, end; /* the word's bytes in it */
} mb_occurrence;

typedef struct mb_sense_word {
    mb_occurrence *occurrences; /* n */
    float *vectors;             /* (n, width) */
    int64_t n, capacity;
} mb_sense_word;

/* Begins as {0}. */
typedef struct mb_sense_words {
    mb_tokenizer *tokenizer;
    mb_lexicon names; /* as the tokenizer spells them, in the order of the options, each once */
    mb_sense_word *words;
    int64_t width;
} mb_sense_words;

/* Reads the corpus; errors as in mb_senses. */
mb_status mb_sense_words_gather(const mb_senses_options *options, const mb_job *job, mb_sense_words *out, mb_error *error);
void mb_sense_words_free(mb_sense_words *words);

#endif
