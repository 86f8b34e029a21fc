#include "skipgram/word_lookup.h"

#include <math.h>

#include "skipgram/text_words.h"

static size_t fold_case(const unsigned char *bytes, size_t n_bytes, unsigned char *out) {
    n_bytes = n_bytes < MB_WORD_MAX_BYTES ? n_bytes : MB_WORD_MAX_BYTES;
    for (size_t i = 0; i < n_bytes; i++) {
        out[i] = bytes[i] >= 'A' && bytes[i] <= 'Z' ? (unsigned char)(bytes[i] + ('a' - 'A')) : bytes[i];
    }
    return n_bytes;
}

static void normalize(mb_word_vectors *vectors) {
    const int64_t n = vectors->words.n, width = vectors->width;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        float *row = vectors->data + i * width;
        double square = 0;
        for (int64_t j = 0; j < width; j++) {
            square += (double)row[j] * (double)row[j];
        }
        const float scale = square > 0 ? (float)(1 / sqrt(square)) : 0;
        for (int64_t j = 0; j < width; j++) {
            row[j] *= scale;
        }
    }
}

mb_status mb_word_lookup_init(mb_word_lookup *lookup, mb_word_vectors *vectors, mb_error *error) {
    *lookup = (mb_word_lookup){.vectors = vectors};
    normalize(vectors);
    for (int64_t i = 0; i < vectors->words.n; i++) {
        unsigned char folded[MB_WORD_MAX_BYTES];
        size_t n_bytes;
        const char *bytes = mb_lexicon_get(&vectors->words, i, &n_bytes);
        n_bytes = fold_case((const unsigned char *)bytes, n_bytes, folded);
        if (mb_lexicon_find(&lookup->folded, folded, n_bytes) < 0 && mb_lexicon_add(&lookup->folded, folded, n_bytes, i) < 0) {
            mb_word_lookup_free(lookup);
            return mb_fail(error, MB_ERROR_MEMORY, "out of memory for %lld words", (long long)vectors->words.n);
        }
    }
    return MB_OK;
}

void mb_word_lookup_free(mb_word_lookup *lookup) {
    mb_lexicon_free(&lookup->folded);
    *lookup = (mb_word_lookup){0};
}

int64_t mb_word_lookup_find(const mb_word_lookup *lookup, const unsigned char *bytes, size_t n_bytes) {
    const int64_t row = mb_lexicon_find(&lookup->vectors->words, bytes, n_bytes);
    if (row >= 0) {
        return row;
    }
    unsigned char folded[MB_WORD_MAX_BYTES];
    n_bytes = fold_case(bytes, n_bytes, folded);
    const int64_t entry = mb_lexicon_find(&lookup->folded, folded, n_bytes);
    return entry < 0 ? -1 : lookup->folded.counts[entry];
}
