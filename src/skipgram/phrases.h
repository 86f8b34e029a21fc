/* Phrases of a text: neighbours seen together more often than chance has it become one word, "new_york" (Mikolov et al. 2013,
 * "Distributed Representations of Words and Phrases", section 4, as word2phrase computes it). */
#ifndef MB_SKIPGRAM_PHRASES_H
#define MB_SKIPGRAM_PHRASES_H

#include <jansson.h>
#include <stdint.h>

#include "base/job.h"
#include "base/options.h"
#include "minibert/status.h"

typedef struct mb_phrases_options {
    const char *corpus, *out;
    double threshold;
    int64_t min_count, passes;
    int64_t debug; /* word2phrase's; without effect */
} mb_phrases_options;

/* The names of word2phrase beside our own. */
extern const mb_option mb_phrases_option_table[];

/* Writes the text with '_' in place of the white space between the words of a phrase, and nothing else changed. Two neighbours
 * a, b of a line are joined if both occur, and follow each other, min_count times or more, and
 *
 *     (count(a b) - min_count) * words of the text / (count(a) * count(b)) > threshold,
 *
 * from the left: a word just joined to the one before it begins no phrase. Each further pass reads what the last one wrote and
 * so joins longer phrases. word2phrase differs in three points: it counts pairs across line breaks, though it never joins
 * them; it counts a pair together with a word spelled like it, "a_b"; and it cuts words after 59 bytes.
 *
 * The pairs of frequent words are held in memory, 16 to 32 bytes each. The result does not depend on the number of threads.
 * *result (new reference): an object with out, words, pairs, phrases (different ones) and joined (places) of the last pass. */
mb_status mb_phrases(const mb_phrases_options *options, const mb_job *job, json_t **result, mb_error *error);

#endif
