/* Word vectors in files, whole in memory.
 *
 *   text     word2vec's: "n width", then a line a word: the word and its numbers, with spaces between. GloVe's, which lacks the
 *            first line, is read too
 *   binary   word2vec's: "n width\n", then for each word the word, a space, width little-endian float32, and "\n", which may be
 *            missing
 *   npy      NumPy's, float32 (n, width), and beside it PATH.vocab with "word count" lines in the same order
 *
 * Words are bytes without white space; they need not be valid UTF-8. gensim's KeyedVectors loads text and binary. */
#ifndef MB_SKIPGRAM_WORD_VECTORS_H
#define MB_SKIPGRAM_WORD_VECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "minibert/status.h"
#include "skipgram/lexicon.h"

typedef enum mb_word_format { MB_WORD_FORMAT_TEXT, MB_WORD_FORMAT_BINARY, MB_WORD_FORMAT_NPY } mb_word_format;
extern const char *const mb_word_format_names[]; /* "text", "binary", "npy", NULL */

/* Begins as {0}. */
typedef struct mb_word_vectors {
    mb_lexicon words; /* counts: 0 unless the file has them */
    int64_t width;
    float *data;          /* (words.n, width) */
    int64_t n_duplicates; /* rows whose word was there before; the first one counts */
} mb_word_vectors;

void mb_word_vectors_free(mb_word_vectors *vectors);
/* Whether a file's contents begin as word2vec's binary format does. */
bool mb_word_vectors_are_binary(const void *bytes, size_t n_bytes);
/* The format is told from the contents. */
mb_status mb_word_vectors_load(const char *path, mb_word_vectors *out, mb_error *error);
/* Row i of `rows`, `stride` floats apart, is the vector of words' number i. */
mb_status mb_word_vectors_save(const char *path, mb_word_format format, const mb_lexicon *words, const float *rows,
                               int64_t width, int64_t stride, mb_error *error);
/* Rows alone as npy, with no list of words. */
mb_status mb_rows_save_npy(const char *path, const float *rows, int64_t n, int64_t width, int64_t stride, mb_error *error);

#endif
