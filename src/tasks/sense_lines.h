/* What the lines of a sense have: typical words, and examples. */
#ifndef MB_TASKS_SENSE_LINES_H
#define MB_TASKS_SENSE_LINES_H

#include <jansson.h>
#include <stdbool.h>

#include "base/buffer.h"
#include "tasks/clusters.h"
#include "tasks/sense_words.h"

/* In how many occurrences' lines of each sense a word is: counts[word * k + sense]. Begins as {0}. */
typedef struct mb_line_words {
    mb_lexicon words;
    int64_t *counts, *last_seen;
    int64_t capacity;
} mb_line_words;

/* Punctuation is not counted. */
mb_status mb_line_words_count(mb_line_words *words, const mb_tokenizer *tokenizer, const mb_sense_word *word,
                              const mb_clusters *clusters, mb_error *error);
void mb_line_words_free(mb_line_words *words);
/* New references, NULL without memory. The n_words words, in two lines or more, that are most clearly more frequent in the
 * sense's lines than in the others'. */
json_t *mb_line_words_typical(const mb_line_words *words, const mb_clusters *clusters, int sense, int64_t n_words);
/* The n occurrences whose rows (clusters->n, clusters->width) are nearest to the sense's centroid. */
json_t *mb_sense_examples(const mb_sense_word *word, const float *rows, const mb_clusters *clusters, int sense, int64_t n);

/* An occurrence with what stands around it, whole characters and words where they fit; false without memory. */
bool mb_append_excerpt(mb_buffer *out, const mb_occurrence *occurrence);

#endif
