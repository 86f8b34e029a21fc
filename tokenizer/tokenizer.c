#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "tokenizer/tokenizer_internal.h"

const char *const mb_special_texts[MB_N_SPECIALS] = {
    [MB_SPECIAL_PAD] = "[PAD]", [MB_SPECIAL_UNK] = "[UNK]",   [MB_SPECIAL_CLS] = "[CLS]",
    [MB_SPECIAL_SEP] = "[SEP]", [MB_SPECIAL_MASK] = "[MASK]",
};

mb_tokenizer_config mb_tokenizer_config_default(void) {
    return (mb_tokenizer_config){
        .do_lower_case = true,
        .strip_accents = -1,
        .tokenize_chinese_chars = true,
        .clean_text = true,
        .max_chars_per_word = 100,
        .model_max_length = 512,
    };
}

mb_tokenizer_config mb_tokenizer_config_compat(const mb_tokenizer_config *config, mb_compat compat) {
    mb_tokenizer_config other = *config;
    if (other.compat != compat) {
        other.compat = compat;
        other.max_chars_per_word = compat == MB_COMPAT_GOOGLE ? 200 : 100;
    }
    return other;
}

/* --- making --- */

void mb_tokenizer_parts_free(mb_tokenizer_parts *parts) {
    mb_vocab_free(&parts->vocab);
    free(parts->added);
    *parts = (mb_tokenizer_parts){0};
}

mb_status mb_added_token_append(mb_tokenizer_parts *parts, int32_t id, bool is_special, mb_error *error) {
    for (size_t i = 0; i < parts->n_added; i++) {
        if (parts->added[i].id == id) {
            parts->added[i].is_special = parts->added[i].is_special || is_special;
            return MB_OK;
        }
    }
    mb_added_token *added = realloc(parts->added, (parts->n_added + 1) * sizeof *added);
    if (added == NULL) {
        return mb_fail(error, MB_ERROR_MEMORY, "no memory for %zu added tokens", parts->n_added + 1);
    }
    added[parts->n_added] = (mb_added_token){.id = id, .is_special = is_special};
    parts->added = added;
    parts->n_added++;
    return MB_OK;
}

mb_status mb_tokenizer_check_config(const mb_tokenizer_config *config, const char *origin, mb_error *error) {
    if (config->max_chars_per_word < 1 || config->max_chars_per_word > 10000) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot use '%s': max_chars_per_word is %d, expected 1 to 10000", origin,
                       (int)config->max_chars_per_word);
    }
    if (config->model_max_length < 1) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot use '%s': model_max_length is %d, expected at least 1", origin,
                       (int)config->model_max_length);
    }
    if (config->strip_accents < -1 || config->strip_accents > 1) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot use '%s': strip_accents is %d, expected 1, 0 or -1 (as do_lower_case)",
                       origin, config->strip_accents);
    }
    return MB_OK;
}

static mb_status find_specials(mb_tokenizer_parts *parts, const char *origin, int32_t specials[MB_N_SPECIALS],
                               mb_error *error) {
    for (int i = 0; i < MB_N_SPECIALS; i++) {
        specials[i] = mb_vocab_find(&parts->vocab, mb_special_texts[i], strlen(mb_special_texts[i]));
        if (specials[i] < 0) {
            return mb_fail(error, MB_ERROR_FORMAT, "cannot use '%s': its vocabulary of %zu pieces has no %s", origin,
                           parts->vocab.n, mb_special_texts[i]);
        }
        mb_status status = mb_added_token_append(parts, specials[i], true, error);
        if (status != MB_OK) {
            return status;
        }
    }
    return MB_OK;
}

/* Order and sizes are fixed, so the number is the same on every machine and in every run. */
static uint64_t fingerprint(const mb_tokenizer *tokenizer) {
    const mb_tokenizer_config *config = &tokenizer->config;
    const int32_t settings[] = {config->do_lower_case, config->strip_accents,      config->tokenize_chinese_chars,
                                config->clean_text,    config->max_chars_per_word, (int32_t)config->compat};
    mb_hash hash;
    mb_hash_begin(&hash);
    mb_hash_add(&hash, settings, sizeof settings);
    for (size_t i = 0; i < tokenizer->vocab.n; i++) {
        mb_hash_add(&hash, tokenizer->vocab.texts[i], strlen(tokenizer->vocab.texts[i]) + 1);
    }
    for (size_t i = 0; i < tokenizer->n_added; i++) {
        mb_hash_add(&hash, &tokenizer->added[i].id, sizeof tokenizer->added[i].id);
    }
    return mb_hash_end(&hash);
}

static int compare_added(const void *a, const void *b) {
    int32_t id_a = ((const mb_added_token *)a)->id, id_b = ((const mb_added_token *)b)->id;
    return (id_a > id_b) - (id_a < id_b);
}

static void index_added(mb_tokenizer *tokenizer) {
    qsort(tokenizer->added, tokenizer->n_added, sizeof *tokenizer->added, compare_added);
    tokenizer->only_first = -1;
    for (size_t i = 0; i < tokenizer->n_added; i++) {
        unsigned char first = (unsigned char)tokenizer->vocab.texts[tokenizer->added[i].id][0];
        tokenizer->only_first = i == 0 || tokenizer->only_first == first ? first : -1;
        tokenizer->added_first[first] = true;
        tokenizer->is_special[tokenizer->added[i].id] |= tokenizer->added[i].is_special;
        const char *text = tokenizer->vocab.texts[tokenizer->added[i].id];
        tokenizer->added[i].n_bytes = strlen(text);
        tokenizer->added[i].last_byte = (unsigned char)text[tokenizer->added[i].n_bytes - 1];
    }
}

enum { N_CHAR_IDS = 0x10000 };

/* A word of one character is one piece or unknown. */
static void find_char_ids(mb_tokenizer *tokenizer) {
    for (uint32_t code = 0; code < N_CHAR_IDS; code++) {
        unsigned char bytes[4];
        mb_piece pieces[4] = {{.id = tokenizer->specials[MB_SPECIAL_UNK]}};
        if (mb_char_kind_of(mb_charmap_get(&tokenizer->charmap, code)) == MB_CHAR_ALONE) {
            mb_trie_match(&tokenizer->trie, bytes, mb_utf8_encode(code, bytes), pieces);
        }
        tokenizer->char_ids[code] = pieces[0].id;
    }
}

static mb_status build(mb_tokenizer_parts *parts, const char *origin, mb_tokenizer *tokenizer, mb_error *error) {
    mb_status status = mb_tokenizer_check_config(&parts->config, origin, error);
    if (status == MB_OK) {
        status = find_specials(parts, origin, tokenizer->specials, error);
    }
    if (status != MB_OK) {
        return status;
    }
    tokenizer->config = parts->config;
    tokenizer->vocab = parts->vocab;
    tokenizer->added = parts->added;
    tokenizer->n_added = parts->n_added;
    *parts = (mb_tokenizer_parts){0};
    tokenizer->is_special = calloc(tokenizer->vocab.n, sizeof *tokenizer->is_special);
    tokenizer->char_ids = malloc(N_CHAR_IDS * sizeof *tokenizer->char_ids);
    if (tokenizer->is_special == NULL || tokenizer->char_ids == NULL ||
        !mb_charmap_build(&tokenizer->charmap, &tokenizer->config)) {
        return mb_fail(error, MB_ERROR_MEMORY, "no memory for the tokenizer of '%s'", origin);
    }
    index_added(tokenizer);
    tokenizer->fingerprint = fingerprint(tokenizer);
    status = mb_trie_build(&tokenizer->trie, (const char *const *)tokenizer->vocab.texts, tokenizer->vocab.n, error);
    if (status == MB_OK) {
        find_char_ids(tokenizer);
    }
    return status;
}

mb_status mb_tokenizer_from_parts(mb_tokenizer_parts *parts, const char *origin, mb_tokenizer **out, mb_error *error) {
    mb_tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    mb_status status = tokenizer == NULL ? mb_fail(error, MB_ERROR_MEMORY, "no memory for the tokenizer of '%s'", origin)
                                         : build(parts, origin, tokenizer, error);
    mb_tokenizer_parts_free(parts);
    if (status != MB_OK) {
        mb_tokenizer_free(tokenizer);
        return status;
    }
    *out = tokenizer;
    return MB_OK;
}

mb_status mb_tokenizer_new(const char *const *pieces, size_t n_pieces, const mb_tokenizer_config *config, mb_tokenizer **out,
                           mb_error *error) {
    static const char origin[] = "the given pieces";
    mb_tokenizer_parts parts = {.config = *config};
    mb_status status = MB_OK;
    for (size_t i = 0; status == MB_OK && i < n_pieces; i++) {
        status = mb_vocab_add(&parts.vocab, pieces[i], strlen(pieces[i]), origin, 0, error);
    }
    if (status != MB_OK) {
        mb_tokenizer_parts_free(&parts);
        return status;
    }
    return mb_tokenizer_from_parts(&parts, origin, out, error);
}

mb_status mb_tokenizer_with_config(const mb_tokenizer *tokenizer, const mb_tokenizer_config *config, mb_tokenizer **out,
                                   mb_error *error) {
    static const char origin[] = "the given tokenizer";
    mb_tokenizer_parts parts = {.config = *config};
    mb_status status = MB_OK;
    for (size_t i = 0; status == MB_OK && i < tokenizer->vocab.n; i++) {
        const char *piece = tokenizer->vocab.texts[i];
        status = mb_vocab_add(&parts.vocab, piece, strlen(piece), origin, 0, error);
    }
    for (size_t i = 0; status == MB_OK && i < tokenizer->n_added; i++) {
        status = mb_added_token_append(&parts, tokenizer->added[i].id, tokenizer->added[i].is_special, error);
    }
    if (status != MB_OK) {
        mb_tokenizer_parts_free(&parts);
        return status;
    }
    return mb_tokenizer_from_parts(&parts, origin, out, error);
}

void mb_tokenizer_free(mb_tokenizer *tokenizer) {
    if (tokenizer == NULL) {
        return;
    }
    mb_vocab_free(&tokenizer->vocab);
    mb_trie_free(&tokenizer->trie);
    mb_charmap_free(&tokenizer->charmap);
    free(tokenizer->added);
    free(tokenizer->char_ids);
    free(tokenizer->is_special);
    free(tokenizer);
}

/* --- added tokens in a text --- */

/* The longest added token that stands at `at`; 0: none. */
static size_t added_at(const mb_tokenizer *tokenizer, const unsigned char *text, size_t n_bytes, size_t at, int32_t *id) {
    size_t longest = 0;
    for (size_t i = 0; i < tokenizer->n_added; i++) {
        const mb_added_token *added = &tokenizer->added[i];
        const size_t n = added->n_bytes;
        /* The last byte first: texts with many "[" have few "]" at the right place. */
        if (n > longest && n <= n_bytes - at && text[at + n - 1] == added->last_byte &&
            memcmp(text + at, tokenizer->vocab.texts[added->id], n) == 0) {
            longest = n;
            *id = added->id;
        }
    }
    return longest;
}

bool mb_added_token_find(const mb_tokenizer *tokenizer, const unsigned char *text, size_t n_bytes, size_t from, size_t *start,
                         size_t *end, int32_t *id) {
    for (size_t at = from; at < n_bytes; at++) {
        if (tokenizer->only_first >= 0 && text[at] != tokenizer->only_first) {
            const unsigned char *next = memchr(text + at, tokenizer->only_first, n_bytes - at);
            if (next == NULL) {
                return false;
            }
            at = (size_t)(next - text);
        } else if (tokenizer->only_first < 0 && !tokenizer->added_first[text[at]]) {
            continue;
        }
        size_t length = added_at(tokenizer, text, n_bytes, at, id);
        if (length > 0) {
            *start = at;
            *end = at + length;
            return true;
        }
    }
    return false;
}

/* --- asking --- */

size_t mb_tokenizer_vocab_size(const mb_tokenizer *tokenizer) {
    return tokenizer->vocab.n;
}

const char *mb_tokenizer_piece(const mb_tokenizer *tokenizer, int32_t id) {
    return id >= 0 && (size_t)id < tokenizer->vocab.n ? tokenizer->vocab.texts[id] : NULL;
}

int32_t mb_tokenizer_id(const mb_tokenizer *tokenizer, const char *piece) {
    return mb_vocab_find(&tokenizer->vocab, piece, strlen(piece));
}

const mb_tokenizer_config *mb_tokenizer_get_config(const mb_tokenizer *tokenizer) {
    return &tokenizer->config;
}

int32_t mb_tokenizer_special(const mb_tokenizer *tokenizer, mb_special which) {
    return tokenizer->specials[which];
}

bool mb_tokenizer_is_continuation(const mb_tokenizer *tokenizer, int32_t id) {
    const char *piece = mb_tokenizer_piece(tokenizer, id);
    return piece != NULL && strncmp(piece, "##", 2) == 0;
}

uint64_t mb_tokenizer_fingerprint(const mb_tokenizer *tokenizer) {
    return tokenizer->fingerprint;
}
