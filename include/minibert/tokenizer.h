/* Text to WordPiece ids: BERT's pipeline (normalize, pre-tokenize, WordPiece, post-process) and the vocabulary trainer.
 *
 *     mb_tokenizer *tokenizer;
 *     if (mb_tokenizer_load("model", &tokenizer, &error) != MB_OK) ...
 *     mb_encoding encoding = {0};
 *     mb_tokenizer_encode(tokenizer, "Hello, world", 12, &encoding, &error);     // no [CLS], no [SEP]
 *     for (size_t i = 0; i < encoding.n_tokens; i++) printf("%d ", encoding.ids[i]);
 *     mb_encoding_free(&encoding);
 *     mb_tokenizer_free(tokenizer);
 *
 * A const mb_tokenizer may be used by any number of threads at once; each thread brings its own mb_encoding, and should use it
 * for all its texts: it holds about 0.5 MB of working memory and a cache of words that makes the next text faster.
 * Nothing but src/base and utf8proc is linked with it. */
#ifndef MINIBERT_TOKENIZER_H
#define MINIBERT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "minibert/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mb_tokenizer mb_tokenizer;

/* Which of the two references the ids are those of; tokenizer/README.md lists where they differ. */
typedef enum mb_compat {
    MB_COMPAT_HF,     /* Hugging Face's tokenizers: BertNormalizer, BertPreTokenizer, WordPiece */
    MB_COMPAT_GOOGLE, /* google-research/bert's tokenization.py, run by Python 3.11 (Unicode 14) */
} mb_compat;

/* As in Hugging Face's tokenizer_config.json. */
typedef struct mb_tokenizer_config {
    bool do_lower_case;          /* true */
    int strip_accents;           /* 1 yes, 0 no, -1 (null): as do_lower_case */
    bool tokenize_chinese_chars; /* true: spaces around CJK ideographs */
    bool clean_text;             /* true: drop control characters, white space becomes ' ' */
    int32_t max_chars_per_word;  /* 100 (Google's: 200): longer words, after normalization, are [UNK]; 1 to 10000 */
    int32_t model_max_length;    /* 512; INT32_MAX when a file gives no limit or a larger one */
    mb_compat compat;            /* MB_COMPAT_HF */
} mb_tokenizer_config;
mb_tokenizer_config mb_tokenizer_config_default(void);
/* The same settings as the other reference has them: compat and max_chars_per_word change. */
mb_tokenizer_config mb_tokenizer_config_compat(const mb_tokenizer_config *config, mb_compat compat);

/* Growable result of an encode; begins as {0}; reused without allocating once grown. All arrays have n_tokens entries. */
typedef struct mb_encoding {
    int32_t *ids;
    uint32_t *starts, *ends; /* byte range of the token in its raw text; [CLS] and [SEP] around a text have 0, 0 */
    uint32_t *words;         /* number of its word (pre-token) in its text; UINT32_MAX for [CLS] and [SEP] around a text */
    int32_t *types;          /* 0 first text, 1 second text */
    size_t n_tokens, capacity;
    void *scratch; /* private */
    /* Encodings of several threads may stand side by side in an array; apart, none takes another's cache line with it (2
     * threads on 2 cores of Zen 4, English: 1.2 times one thread without, 1.9 with). */
    unsigned char apart[64];
} mb_encoding;
void mb_encoding_free(mb_encoding *encoding);

/* Reads DIR: tokenizer.json or vocab.txt, with tokenizer_config.json where present. A path to a vocab.txt itself is accepted.
 * Settings come from tokenizer.json's normalizer and model; those that tokenizer_config.json names win, as in transformers.
 * Tokens that tokenizer.json adds are kept whole in texts. Errors: IO; FORMAT for a bad file, a tokenizer that is not BERT's, a
 * missing special token, a piece that is there twice; MISMATCH when vocab.txt and tokenizer.json disagree. */
mb_status mb_tokenizer_load(const char *dir, mb_tokenizer **out, mb_error *error);
/* From pieces in id order (copied): UTF-8, all different, without line breaks; [UNK] [CLS] [SEP] [PAD] [MASK] among them. */
mb_status mb_tokenizer_new(const char *const *pieces, size_t n_pieces, const mb_tokenizer_config *config, mb_tokenizer **out,
                           mb_error *error);
/* A tokenizer with the same pieces and added tokens and another configuration. */
mb_status mb_tokenizer_with_config(const mb_tokenizer *tokenizer, const mb_tokenizer_config *config, mb_tokenizer **out,
                                   mb_error *error);
/* Writes vocab.txt, tokenizer.json, tokenizer_config.json: what Hugging Face loads and gives the same ids for. The directory is
 * made if need be; each file appears whole or not at all. MB_COMPAT_GOOGLE is written as a key that only mb_tokenizer_load
 * reads. */
mb_status mb_tokenizer_save(const mb_tokenizer *tokenizer, const char *dir, mb_error *error);
void mb_tokenizer_free(mb_tokenizer *tokenizer);

size_t mb_tokenizer_vocab_size(const mb_tokenizer *tokenizer);
/* The piece's text, NUL terminated; NULL for an id out of range. */
const char *mb_tokenizer_piece(const mb_tokenizer *tokenizer, int32_t id);
/* -1 when the vocabulary has no such piece. */
int32_t mb_tokenizer_id(const mb_tokenizer *tokenizer, const char *piece);
const mb_tokenizer_config *mb_tokenizer_get_config(const mb_tokenizer *tokenizer);
typedef enum mb_special { MB_SPECIAL_PAD, MB_SPECIAL_UNK, MB_SPECIAL_CLS, MB_SPECIAL_SEP, MB_SPECIAL_MASK } mb_special;
int32_t mb_tokenizer_special(const mb_tokenizer *tokenizer, mb_special which);
/* Whether a piece continues a word ("##..."): whole-word masking needs it. */
bool mb_tokenizer_is_continuation(const mb_tokenizer *tokenizer, int32_t id);
/* Fingerprint of the vocabulary and the configuration: the key of token shards. */
uint64_t mb_tokenizer_fingerprint(const mb_tokenizer *tokenizer);

/* Ids of one text of less than 4 GiB, without [CLS] and [SEP] and without truncation. Special tokens written in the text
 * ("[MASK]") stay whole, and are words of their own; with MB_COMPAT_GOOGLE they are text like any other. Invalid UTF-8 is read
 * as U+FFFD, one for each maximal bad part, as Python's errors="replace"; clean_text deletes it. Offsets are Hugging Face's: a
 * deleted accent belongs to no token. */
mb_status mb_tokenizer_encode(const mb_tokenizer *tokenizer, const char *text, size_t n_bytes, mb_encoding *out,
                              mb_error *error);
/* The same with the working memory of `worker`, which is 1 MB with its cache of words, instead of out's own: where many
 * encodings are kept, they need one worker a thread. */
mb_status mb_tokenizer_encode_by(const mb_tokenizer *tokenizer, const char *text, size_t n_bytes, mb_encoding *worker,
                                 mb_encoding *out, mb_error *error);
/* [CLS] a [SEP], or [CLS] a [SEP] b [SEP] with types 0/1 (text_b NULL: one text). More than max_length tokens are cut as
 * Hugging Face's "longest_first": the longer of the two loses its last token first. max_length 0: no limit; USAGE when it has
 * no room for the special tokens. */
mb_status mb_tokenizer_encode_pair(const mb_tokenizer *tokenizer, const char *text_a, size_t n_bytes_a, const char *text_b,
                                   size_t n_bytes_b, size_t max_length, mb_encoding *out, mb_error *error);
typedef struct mb_text {
    const char *bytes; /* need not be NUL terminated */
    size_t n_bytes;
} mb_text;
/* Row i of `ids` (n_texts x max_length, the caller's) becomes [CLS] text [SEP], cut to max_length and filled up with [PAD];
 * attention_mask (of the same shape) 1 for tokens and 0 for [PAD]; n_tokens[i] the row's tokens. The last two may be NULL. All
 * cores take part, or as many threads as OpenMP is told; the rows do not depend on it. USAGE when max_length is below 2. */
mb_status mb_tokenizer_encode_batch(const mb_tokenizer *tokenizer, const mb_text *texts, size_t n_texts, size_t max_length,
                                    int32_t *ids, int32_t *attention_mask, size_t *n_tokens, mb_error *error);
/* Ids to text: pieces joined by spaces, "##" glued, special tokens dropped if skip_special, and Hugging Face's clean-up of
 * spaces before punctuation (decoders.WordPiece). malloc'ed; NULL with *error set: no memory, an id out of range. */
char *mb_tokenizer_decode(const mb_tokenizer *tokenizer, const int32_t *ids, size_t n_ids, bool skip_special, mb_error *error);

/* --- vocabulary trainer --- */
typedef struct mb_vocab_train_options {
    const char *const *files; /* UTF-8 text, one or more lines each */
    size_t n_files;
    size_t vocab_size;     /* 30522; the result is smaller when no pair is left, never larger */
    int64_t min_frequency; /* 2: pairs seen less often are not merged */
    size_t limit_alphabet; /* 1000: most frequent characters kept, of equals the lower code point; 0: all */
    mb_tokenizer_config config;
    /* Pieces that the vocabulary begins with, in this order: one to extend, whose ids stay as they are. NULL: the five special
     * tokens. Words are then split into its pieces before pairs are counted. */
    const mb_tokenizer *initial;
    /* called now and then, by the calling thread, with a value in [0,1] that begins again with each phase ("count words",
     * "merge pairs"); a false return stops with MB_ERROR_INTERRUPTED; may be NULL */
    bool (*progress)(void *user, const char *phase, double fraction);
    void *user;
} mb_vocab_train_options;
/* Hugging Face's WordPieceTrainer, but deterministic: the same files give the same vocabulary at any number of threads. In id
 * order: [PAD] [UNK] [CLS] [SEP] [MASK], the alphabet by code point, the "##" forms of letters seen within words by code point,
 * then merged pieces, most frequent pair first. Ties between equally frequent pairs go to the pair whose left piece, then whose
 * right piece, comes first in vocabulary (id) order. Memory grows with the distinct words, not with the text. Errors: IO;
 * FORMAT for a text without a word or with a NUL byte; USAGE when vocab_size has no room for the alphabet. */
mb_status mb_tokenizer_train(const mb_vocab_train_options *options, mb_tokenizer **out, mb_error *error);

#ifdef __cplusplus
}
#endif
#endif
