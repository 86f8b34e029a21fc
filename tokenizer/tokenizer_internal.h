/* What the files of this directory share and no one else sees. */
#ifndef MB_TOKENIZER_INTERNAL_H
#define MB_TOKENIZER_INTERNAL_H

#include "minibert/tokenizer.h"
#include "tokenizer/charmap.h"
#include "tokenizer/wordpiece.h"

enum { MB_N_SPECIALS = 5 };
/* In the order of mb_special, which is also the order in a trained vocabulary. */
extern const char *const mb_special_texts[MB_N_SPECIALS];

/* Pieces in id order, growing; and their index by text. */
typedef struct mb_vocab {
    char **texts; /* malloc'ed each, NUL terminated */
    size_t n, capacity;
    uint32_t *slots; /* id + 1, 0: empty; open addressing by the text's hash */
    size_t n_slots;  /* a power of two, more than 2 * n; 0 before the first piece */
} mb_vocab;

/* Appends a piece (copied). `path` and `line` (0: none) are for the message. Errors: it is there already, is not UTF-8, is
 * empty, holds a line break. */
mb_status mb_vocab_add(mb_vocab *vocab, const char *text, size_t n_bytes, const char *path, size_t line, mb_error *error);
/* Room for n pieces in all; false: no memory. */
bool mb_vocab_reserve(mb_vocab *vocab, size_t n);
int32_t mb_vocab_find(const mb_vocab *vocab, const char *text, size_t n_bytes); /* -1: none */
void mb_vocab_free(mb_vocab *vocab);

/* Text that stands for one id wherever it is written, found before normalization. */
typedef struct mb_added_token {
    int32_t id;
    bool is_special; /* dropped by decode's skip_special */
    unsigned char last_byte;
    size_t n_bytes; /* of its text; this and last_byte are set when the tokenizer is made */
} mb_added_token;

struct mb_tokenizer {
    mb_tokenizer_config config;
    mb_vocab vocab;
    mb_trie trie;
    mb_charmap charmap;
    int32_t *char_ids; /* of each code point below U+10000 that is a word of its own and stays as it is */
    int32_t specials[MB_N_SPECIALS];
    mb_added_token *added; /* the five special tokens and those that tokenizer.json adds */
    size_t n_added;
    bool added_first[256]; /* bytes that an added token begins with */
    int only_first;        /* when it is one byte: that byte, else -1 */
    bool *is_special;      /* of each id */
    uint64_t fingerprint;
};

/* What a tokenizer is made from; filled by the readers in vocab.c and json_read.c. */
typedef struct mb_tokenizer_parts {
    mb_vocab vocab;
    size_t n_model; /* how many of the pieces are the model's own; the rest are tokens that tokenizer.json adds */
    mb_tokenizer_config config;
    mb_added_token *added;
    size_t n_added;
} mb_tokenizer_parts;
/* Takes over (empties) the parts, whatever happens. `origin`: the file's path, for messages. */
mb_status mb_tokenizer_from_parts(mb_tokenizer_parts *parts, const char *origin, mb_tokenizer **out, mb_error *error);
/* Are all numbers in range? */
mb_status mb_tokenizer_check_config(const mb_tokenizer_config *config, const char *origin, mb_error *error);
void mb_tokenizer_parts_free(mb_tokenizer_parts *parts);
mb_status mb_added_token_append(mb_tokenizer_parts *parts, int32_t id, bool is_special, mb_error *error);

/* vocab.txt: one piece a line. */
mb_status mb_vocab_read_text(const char *path, mb_vocab *vocab, mb_error *error);
/* Whether the file's lines are exactly the first pieces, at least n_least of them. False also where it cannot be read, or has
 * other line ends or no last one: mb_vocab_read_text will tell. */
bool mb_vocab_is_text(const char *path, const mb_vocab *vocab, size_t n_least);
mb_status mb_vocab_write_text(const mb_vocab *vocab, const char *path, mb_error *error);
/* tokenizer.json: vocabulary, normalizer and added tokens; tokenizer_config.json: the settings that it names. */
mb_status mb_tokenizer_json_read(const char *path, mb_tokenizer_parts *parts, mb_error *error);
mb_status mb_tokenizer_config_read(const char *path, mb_tokenizer_config *config, mb_error *error);
mb_status mb_tokenizer_json_write(const mb_tokenizer *tokenizer, const char *path, mb_error *error);
mb_status mb_tokenizer_config_write(const mb_tokenizer *tokenizer, const char *path, mb_error *error);

/* The next added token at or after `from`; false: none. The leftmost, and of those the longest. */
bool mb_added_token_find(const mb_tokenizer *tokenizer, const unsigned char *text, size_t n_bytes, size_t from, size_t *start,
                         size_t *end, int32_t *id);
/* Appends a text's tokens to `out` (types are 0). */
mb_status mb_encode_append(const mb_tokenizer *tokenizer, const char *text, size_t n_bytes, mb_encoding *out, mb_error *error);
/* Room for `n_more` tokens. */
mb_status mb_encoding_reserve(mb_encoding *encoding, size_t n_more, mb_error *error);

#endif
