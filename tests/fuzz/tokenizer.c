/* Any bytes as text, under any settings. The first two bytes choose the settings; the rest is the text. Checked: the invariants
 * of an encoding, that the word cache and the cutting of a text into two change nothing, and that what was encoded can be
 * decoded. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "minibert/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

#define CHECK(condition) ((condition) ? (void)0 : abort())

static const char *const pieces[] = {
    "[PAD]",  "[UNK]",    "[CLS]",  "[SEP]",    "[MASK]",   "a",      "##a",      "b",         "##b",      "ab",
    "##ab",   "abc",      "##c",    "the",      "##s",      "i",      "##i",      "##i\u0307", "e",        "##e",
    "\u00e9", "##\u00e9", "\u03c3", "##\u03c3", "##\u03c2", "\u4e2d", "\u6587",   "#",         "##",       "1",
    "##2",    ".",        "'",      "\uac00",   "##\u11a8", "\u1112", "##\u1161", "\ufffd",    "##\ufffd",
};

/* The tokenizer that the two bytes ask for: made once, since that takes longer than encoding. */
static const mb_tokenizer *get(uint8_t flags, uint8_t size) {
    static const int32_t sizes[] = {100, 1, 7, 200};
    static mb_tokenizer *made[64][4];
    mb_tokenizer **place = &made[flags % 64][size % 4];
    if (*place == NULL) {
        mb_tokenizer_config config = mb_tokenizer_config_default();
        config.do_lower_case = flags & 1;
        config.tokenize_chinese_chars = flags & 2;
        config.clean_text = flags & 4;
        config.strip_accents = (flags >> 3) % 4 % 3 - 1;
        config.compat = flags & 32 ? MB_COMPAT_GOOGLE : MB_COMPAT_HF;
        config.max_chars_per_word = sizes[size % 4];
        CHECK(mb_tokenizer_new(pieces, sizeof pieces / sizeof *pieces, &config, place, NULL) == MB_OK);
    }
    return *place;
}

static void check_encoding(const mb_tokenizer *tokenizer, const mb_encoding *e, size_t n_bytes) {
    for (size_t i = 0; i < e->n_tokens; i++) {
        CHECK(mb_tokenizer_piece(tokenizer, e->ids[i]) != NULL);
        CHECK(e->starts[i] < e->ends[i] && e->ends[i] <= n_bytes);
        CHECK(e->words[i] == (i == 0 ? 0 : e->words[i - 1]) || e->words[i] == e->words[i - 1] + 1);
        CHECK(i == 0 || e->starts[i] >= e->starts[i - 1]);
    }
}

static void check_same(const mb_encoding *a, const mb_encoding *b) {
    CHECK(a->n_tokens == b->n_tokens);
    if (a->n_tokens > 0) {
        CHECK(memcmp(a->ids, b->ids, a->n_tokens * sizeof *a->ids) == 0);
        CHECK(memcmp(a->starts, b->starts, a->n_tokens * sizeof *a->starts) == 0);
        CHECK(memcmp(a->ends, b->ends, a->n_tokens * sizeof *a->ends) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    if (n_bytes < 2) {
        return 0;
    }
    const mb_tokenizer *tokenizer = get(data[0], data[1]);
    const size_t n = n_bytes - 2;
    char *text = malloc(n + 1); /* as large as the text where a sanitizer looks: past the end is an error */
    CHECK(text != NULL);
    memcpy(text, data + 2, n);
    mb_encoding first = {0}, again = {0};
    CHECK(mb_tokenizer_encode(tokenizer, text, n, &first, NULL) == MB_OK);
    check_encoding(tokenizer, &first, n);
    for (int round = 0; round < 2; round++) { /* the second time from the cache */
        CHECK(mb_tokenizer_encode(tokenizer, text, n, &again, NULL) == MB_OK);
        check_same(&first, &again);
    }
    char *decoded = mb_tokenizer_decode(tokenizer, first.ids, first.n_tokens, data[0] & 64, NULL);
    CHECK(decoded != NULL);
    free(decoded);
    const size_t max_length = 3 + data[1] % 16, half = n / 2;
    CHECK(mb_tokenizer_encode_pair(tokenizer, text, half, text + half, n - half, max_length, &again, NULL) == MB_OK);
    CHECK(again.n_tokens >= 3 && again.n_tokens <= max_length);
    CHECK(again.ids[0] == mb_tokenizer_special(tokenizer, MB_SPECIAL_CLS));
    CHECK(again.ids[again.n_tokens - 1] == mb_tokenizer_special(tokenizer, MB_SPECIAL_SEP));
    mb_encoding_free(&first);
    mb_encoding_free(&again);
    free(text);
    return 0;
}
