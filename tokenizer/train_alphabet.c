#include <stdlib.h>
#include <string.h>

#include "tokenizer/train.h"

typedef struct letter {
    uint32_t code;
    uint64_t count;
} letter;

/* Per code point: how often it occurs, then the ids of its two pieces (0: none, since id 0 is [PAD]). */
typedef struct alphabet {
    uint64_t *counts;
    int32_t *alone, *within;
    letter *letters;
    size_t n_letters;
} alphabet;

static void free_alphabet(alphabet *letters) {
    free(letters->counts);
    free(letters->alone);
    free(letters->within);
    free(letters->letters);
}

void mb_symbols_free(mb_symbols *symbols) {
    free(symbols->ids);
    free(symbols->begins);
    free(symbols->n_ids);
    free(symbols->counts);
    *symbols = (mb_symbols){0};
}

static int by_count(const void *a, const void *b) {
    const letter *left = a, *right = b;
    if (left->count != right->count) {
        return left->count < right->count ? 1 : -1;
    }
    return (left->code > right->code) - (left->code < right->code);
}

static int by_code(const void *a, const void *b) {
    const letter *left = a, *right = b;
    return (left->code > right->code) - (left->code < right->code);
}

static const unsigned char *word_bytes(const mb_word_table *table, const mb_word_count *word) {
    return (const unsigned char *)table->bytes.data + word->offset;
}

/* Counts all characters and keeps the most frequent; ties go to the lower code point. Returns the number of all characters in
 * distinct words. */
static size_t choose_letters(const mb_word_table *table, size_t limit, alphabet *out) {
    size_t n_chars = 0;
    for (size_t i = 0; i < table->n_slots; i++) {
        const mb_word_count *word = &table->slots[i];
        for (size_t at = 0, n_read; word->count > 0 && at < word->n_bytes; at += n_read, n_chars++) {
            out->counts[mb_utf8_decode(word_bytes(table, word) + at, word->n_bytes - at, &n_read)] += word->count;
        }
    }
    size_t n = 0;
    for (uint32_t code = 0; code < MB_UNICODE_END; code++) {
        if (out->counts[code] > 0) {
            out->letters[n++] = (letter){.code = code, .count = out->counts[code]};
        }
    }
    if (limit > 0 && n > limit) {
        qsort(out->letters, n, sizeof *out->letters, by_count);
        n = limit;
        qsort(out->letters, n, sizeof *out->letters, by_code);
    }
    out->n_letters = n;
    return n_chars;
}

/* Adds a letter's piece and notes its id. */
static mb_status add_letter(mb_vocab *vocab, const char *prefix, uint32_t code, int32_t *ids, mb_error *error) {
    char text[8];
    size_t n_bytes = strlen(prefix);
    memcpy(text, prefix, n_bytes);
    n_bytes += mb_utf8_encode(code, (unsigned char *)text + n_bytes);
    ids[code] = (int32_t)vocab->n;
    return mb_vocab_add(vocab, text, n_bytes, "the training text", 0, error);
}

/* Which kept letters occur within a word: they get a 1 in `within`. */
static void mark_within(const mb_word_table *table, alphabet *letters) {
    for (size_t i = 0; i < table->n_slots; i++) {
        const mb_word_count *word = &table->slots[i];
        for (size_t at = 0, n_read; word->count > 0 && at < word->n_bytes; at += n_read) {
            uint32_t code = mb_utf8_decode(word_bytes(table, word) + at, word->n_bytes - at, &n_read);
            if (letters->alone[code] > 0) {
                letters->within[code] |= at > 0;
            }
        }
    }
}

static mb_status fill_vocab(const mb_vocab_train_options *options, const mb_word_table *table, alphabet *letters,
                            mb_vocab *vocab, mb_error *error) {
    mb_status status = MB_OK;
    for (int i = 0; i < MB_N_SPECIALS && status == MB_OK; i++) {
        status = mb_vocab_add(vocab, mb_special_texts[i], strlen(mb_special_texts[i]), "the special tokens", 0, error);
    }
    for (size_t i = 0; i < letters->n_letters && status == MB_OK; i++) {
        status = add_letter(vocab, "", letters->letters[i].code, letters->alone, error);
    }
    if (status == MB_OK) {
        mark_within(table, letters);
    }
    for (size_t i = 0; i < letters->n_letters && status == MB_OK; i++) {
        if (letters->within[letters->letters[i].code] > 0) {
            status = add_letter(vocab, "##", letters->letters[i].code, letters->within, error);
        }
    }
    if (status == MB_OK && vocab->n > options->vocab_size) {
        status = mb_fail(
            error, MB_ERROR_USAGE,
            "cannot train a vocabulary of %zu pieces: %d special tokens and %zu characters, alone and after ##, need %zu; "
            "ask for a larger vocabulary or a smaller alphabet",
            options->vocab_size, MB_N_SPECIALS, letters->n_letters, vocab->n);
    }
    return status;
}

static bool split_words(const mb_word_table *table, size_t n_chars, const alphabet *letters, mb_symbols *symbols) {
    symbols->ids = malloc((n_chars + 1) * sizeof *symbols->ids);
    symbols->begins = malloc((table->n_words + 1) * sizeof *symbols->begins);
    symbols->n_ids = malloc((table->n_words + 1) * sizeof *symbols->n_ids);
    symbols->counts = malloc((table->n_words + 1) * sizeof *symbols->counts);
    if (symbols->ids == NULL || symbols->begins == NULL || symbols->n_ids == NULL || symbols->counts == NULL) {
        return false;
    }
    size_t n = 0;
    for (size_t i = 0; i < table->n_slots; i++) {
        const mb_word_count *word = &table->slots[i];
        if (word->count == 0) {
            continue;
        }
        size_t begin = n;
        for (size_t at = 0, n_read; at < word->n_bytes; at += n_read) {
            uint32_t code = mb_utf8_decode(word_bytes(table, word) + at, word->n_bytes - at, &n_read);
            if (letters->alone[code] > 0) {
                symbols->ids[n++] = at == 0 ? letters->alone[code] : letters->within[code];
            }
        }
        symbols->begins[symbols->n_words] = begin;
        symbols->n_ids[symbols->n_words] = (uint32_t)(n - begin);
        symbols->counts[symbols->n_words++] = word->count;
    }
    symbols->begins[symbols->n_words] = n;
    return true;
}

mb_status mb_train_alphabet(const mb_vocab_train_options *options, const mb_word_table *table, mb_vocab *vocab,
                            mb_symbols *symbols, mb_error *error) {
    alphabet letters = {
        .counts = calloc(MB_UNICODE_END, sizeof *letters.counts),
        .alone = calloc(MB_UNICODE_END, sizeof *letters.alone),
        .within = calloc(MB_UNICODE_END, sizeof *letters.within),
        .letters = malloc(MB_UNICODE_END * sizeof *letters.letters),
    };
    bool has_memory = letters.counts != NULL && letters.alone != NULL && letters.within != NULL && letters.letters != NULL;
    mb_status status = MB_OK;
    if (has_memory) {
        size_t n_chars = choose_letters(table, options->limit_alphabet, &letters);
        status = fill_vocab(options, table, &letters, vocab, error);
        has_memory = status != MB_OK || split_words(table, n_chars, &letters, symbols);
    }
    free_alphabet(&letters);
    return has_memory ? status : mb_fail(error, MB_ERROR_MEMORY, "no memory for %zu distinct words", table->n_words);
}
