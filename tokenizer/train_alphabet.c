#include <stdlib.h>
#include <string.h>

#include "tokenizer/train.h"

typedef struct letter {
    uint32_t code;
    uint64_t count;
} letter;

/* Per code point: how often it occurs, then the id + 1 of its two pieces (0: none). */
typedef struct alphabet {
    uint64_t *counts;
    int32_t *alone, *within;
    letter *letters;
    size_t n_letters;
} alphabet;

/* How words are split when there is a vocabulary to extend. */
typedef struct splitter {
    mb_trie trie;
    unsigned char *word; /* without the letters that are not kept */
    mb_piece *pieces;
} splitter;

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

/* Adds a letter's piece, unless the initial vocabulary has it, and notes its id + 1. */
static mb_status add_letter(mb_vocab *vocab, const char *prefix, uint32_t code, int32_t *ids, mb_error *error) {
    char text[8];
    size_t n_bytes = 0;
    for (; prefix[n_bytes] != '\0'; n_bytes++) {
        text[n_bytes] = prefix[n_bytes];
    }
    n_bytes += mb_utf8_encode(code, (unsigned char *)text + n_bytes);
    const int32_t old = mb_vocab_find(vocab, text, n_bytes);
    ids[code] = (old >= 0 ? old : (int32_t)vocab->n) + 1;
    if (old >= 0) {
        return MB_OK;
    }
    return mb_vocab_add(vocab, text, n_bytes, "the training text", 0, error);
}

/* What the vocabulary begins with. */
static mb_status add_initial(const mb_vocab_train_options *options, mb_vocab *vocab, mb_error *error) {
    const size_t n = options->initial == NULL ? MB_N_SPECIALS : options->initial->vocab.n;
    mb_status status = MB_OK;
    for (size_t i = 0; i < n && status == MB_OK; i++) {
        const char *text = options->initial == NULL ? mb_special_texts[i] : options->initial->vocab.texts[i];
        status = mb_vocab_add(vocab, text, strlen(text), "the initial vocabulary", 0, error);
    }
    return status;
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
    mb_status status = add_initial(options, vocab, error);
    const size_t n_initial = vocab->n;
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
        status = mb_fail(error, MB_ERROR_USAGE,
                         "cannot train a vocabulary of %zu pieces: %zu %s and %zu characters, alone and after ##, need %zu; "
                         "ask for a larger vocabulary or a smaller alphabet",
                         options->vocab_size, n_initial, options->initial == NULL ? "special tokens" : "initial pieces",
                         letters->n_letters, vocab->n);
    }
    return status;
}

/* A word as pieces: its kept letters; with an initial vocabulary, the pieces that encoding gives (each kept letter is one,
 * alone and, if it was seen within a word, after ##, so that there is always a way). Returns how many are in `ids`. */
static size_t split_word(const unsigned char *word, size_t n_bytes, const alphabet *letters, splitter *initial, int32_t *ids) {
    size_t n = 0, n_kept = 0;
    for (size_t at = 0, n_read; at < n_bytes; at += n_read) {
        uint32_t code = mb_utf8_decode(word + at, n_bytes - at, &n_read);
        if (letters->alone[code] > 0) {
            ids[n++] = (at == 0 ? letters->alone[code] : letters->within[code]) - 1;
            if (initial != NULL) {
                memcpy(initial->word + n_kept, word + at, n_read);
                n_kept += n_read;
            }
        }
    }
    if (initial == NULL) {
        return n;
    }
    size_t n_pieces = mb_trie_match(&initial->trie, initial->word, n_kept, initial->pieces);
    for (size_t i = 0; i < n_pieces; i++) {
        ids[i] = initial->pieces[i].id;
    }
    return n_pieces;
}

static bool split_words(const mb_word_table *table, size_t n_chars, const alphabet *letters, splitter *initial,
                        mb_symbols *symbols) {
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
        size_t n_ids = split_word(word_bytes(table, word), word->n_bytes, letters, initial, symbols->ids + n);
        symbols->begins[symbols->n_words] = n;
        symbols->n_ids[symbols->n_words] = (uint32_t)n_ids;
        symbols->counts[symbols->n_words++] = word->count;
        n += n_ids;
    }
    symbols->begins[symbols->n_words] = n;
    return true;
}

/* Split with the initial vocabulary, if there is one. */
static mb_status split_all(const mb_vocab_train_options *options, const mb_word_table *table, size_t n_chars,
                           const alphabet *letters, const mb_vocab *vocab, mb_symbols *symbols, mb_error *error) {
    splitter initial = {.word = NULL};
    mb_status status = MB_OK;
    bool has_memory = true;
    if (options->initial != NULL) {
        size_t capacity = 4 * (size_t)options->config.max_chars_per_word;
        initial.word = malloc(capacity);
        initial.pieces = malloc(capacity * sizeof *initial.pieces);
        has_memory = initial.word != NULL && initial.pieces != NULL;
        status = has_memory ? mb_trie_build(&initial.trie, (const char *const *)vocab->texts, vocab->n, error) : MB_OK;
    }
    if (status == MB_OK && has_memory) {
        has_memory = split_words(table, n_chars, letters, options->initial != NULL ? &initial : NULL, symbols);
    }
    mb_trie_free(&initial.trie);
    free(initial.word);
    free(initial.pieces);
    return has_memory ? status : mb_fail(error, MB_ERROR_MEMORY, "no memory for %zu distinct words", table->n_words);
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
        if (status == MB_OK) {
            status = split_all(options, table, n_chars, &letters, vocab, symbols, error);
        }
    }
    free_alphabet(&letters);
    return has_memory ? status : mb_fail(error, MB_ERROR_MEMORY, "no memory for %zu distinct words", table->n_words);
}
