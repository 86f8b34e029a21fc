/* Raw bytes to normalized words: BertNormalizer and BertPreTokenizer in one pass, without a copy of the text.
 *
 *     mb_words words;
 *     mb_words_begin(&words, &reader, text, n_bytes);
 *     while (mb_words_next(&words)) use(words.bytes, words.n_bytes);
 *
 * Runs of ASCII letters and digits take a fast path of 16 bytes at a time, punctuation and ideographs one of a look-up each
 * (normalize_inline.h); all else goes through the table of code points. */
#ifndef MB_TOKENIZER_NORMALIZE_H
#define MB_TOKENIZER_NORMALIZE_H

#include "minibert/tokenizer.h"
#include "tokenizer/charmap.h"

enum { MB_KEY_BYTES = 16 };

/* Words of up to 15 bytes as two integers: the bytes, zeros, and the length in the last byte. */
typedef struct mb_word_key {
    uint64_t low, high;
} mb_word_key;

/* A character on its way through canonical reordering. */
typedef struct mb_mark {
    uint32_t code;
    unsigned char class; /* canonical combining class */
    bool inserted;       /* by a decomposition, not the first of it */
    bool is_accent;      /* deleted once the marks are in order */
} mb_mark;

typedef struct mb_span {
    uint32_t start, end;
} mb_span;

/* Memory of one thread for reading words; grown once to fit the longest word, then reused. Begins as {0}. */
typedef struct mb_word_reader {
    const mb_charmap *charmap;
    size_t max_chars; /* the tokenizer's max_chars_per_word */
    bool clean_text, lower;
    mb_compat compat;
    unsigned char byte_kind[256]; /* mb_char_kind of ASCII; MB_CHAR_REORDER, which no ASCII has, for all other bytes */
    unsigned char *bytes;         /* the normalized word: 4 bytes for each of max_chars, and room for one 16-byte store */
    uint32_t *starts, *ends;      /* raw span of the character that begins, or ends, at this normalized byte */
    size_t capacity_bytes;
    mb_mark *marks;     /* reordering: what the word decomposes to */
    mb_mark *unordered; /* a copy of marks before they move; as large */
    mb_span *spans;     /* raw spans of the word's characters */
    size_t mark_capacity, span_capacity;
} mb_word_reader;

/* Prepares for a configuration; false: no memory. */
bool mb_word_reader_set(mb_word_reader *reader, const mb_charmap *charmap, const mb_tokenizer_config *config);
void mb_word_reader_free(mb_word_reader *reader);

typedef struct mb_words {
    mb_word_reader *reader;
    const unsigned char *text;
    size_t from, n_text;
    size_t position;        /* next byte to read */
    size_t n_expanded_read; /* entries of the character at `position` that were used already */
    size_t run_start;       /* after the last character that ended a word */
    /* the current word */
    const unsigned char *bytes; /* normalized; MB_KEY_BYTES may be read */
    size_t n_bytes;             /* 0 when too_long */
    bool too_long;              /* more than max_chars characters: it has no bytes, only a span */
    bool is_char;               /* a code point below U+10000 that is a word of its own and stays as it is, in `code` */
    uint32_t code;
    bool is_linear;      /* byte i of the word comes from byte start + i; else see the reader's starts and ends */
    uint32_t start, end; /* raw span */
    mb_word_key key;     /* of words of less than MB_KEY_BYTES bytes */
    bool no_memory;      /* why mb_words_next returned false */
} mb_words;

/* The lower case of the capital sigma at text[at..at+2], which depends on its neighbours between `from` and n_text. */
uint32_t mb_sigma_lower(const mb_word_reader *reader, const unsigned char *text, size_t from, size_t n_text, size_t at);

/* n_text < 4 GiB. `from`: where to begin in the text; offsets count from the text's first byte. The next word is read by
 * mb_words_next of normalize_inline.h. */
void mb_words_begin(mb_words *words, mb_word_reader *reader, const unsigned char *text, size_t from, size_t n_text);
/* The path of all words that have no fast one. False: the text is at its end, or there is no memory. */
bool mb_words_next_general(mb_words *words);

#endif
