/* Any bytes as a file of word vectors (word2vec's text or binary, GloVe's text, npy), read by both readers. The list of words
 * that npy needs beside it is what comes after the bytes "\n\0", if they occur. */
#include <math.h>
#include <string.h>

#include "fuzz/support.h"
#include "skipgram/word_vectors.h"
#include "tasks/vector_reader.h"

static void check_numbers(const float *numbers, int64_t n, int64_t width) {
    for (int64_t i = 0; i < n * width; i++) {
        CHECK(isfinite(numbers[i]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    const uint8_t *mark = n_bytes > 2 ? memmem(data, n_bytes, "\n\0", 2) : NULL;
    const size_t n = mark && data[0] == 0x93 ? (size_t)(mark - data) : n_bytes;
    const char *path = fuzz_write("vectors", data, n);
    if (n < n_bytes) {
        fuzz_write("vectors.vocab", mark + 2, n_bytes - n - 2);
    } else {
        fuzz_remove("vectors.vocab");
    }
    mb_word_vectors words;
    if (mb_word_vectors_load(path, &words, NULL) == MB_OK) {
        check_numbers(words.data, words.words.n, words.width);
        for (int64_t i = 0; i < words.words.n; i++) {
            size_t length;
            const char *word = mb_lexicon_get(&words.words, i, &length);
            CHECK(mb_lexicon_find(&words.words, word, length) == i);
        }
        mb_word_vectors_free(&words);
    }
    mb_vectors vectors;
    mb_texts texts = {0};
    if (mb_vectors_load(path, &vectors, &texts, NULL) == MB_OK) {
        check_numbers(vectors.data, vectors.n, vectors.width);
        mb_vectors_free(&vectors);
    }
    mb_texts_free(&texts);
    return 0;
}
