#include "tests/unit/tokenizer/support.h"
#include "tokenizer/charmap.h"

/* The definition, one code point at a time, that the table must agree with. Appends kind and code of each output. */
static size_t define(const mb_tokenizer_config *config, uint32_t code, mb_char_kind *kinds, uint32_t *codes) {
    bool strip = config->strip_accents < 0 ? config->do_lower_case : config->strip_accents == 1;
    size_t n = 0;
    if (config->clean_text && mb_unicode_is_removed(config->compat, code)) {
        return 0;
    }
    bool is_cjk = config->tokenize_chinese_chars && mb_unicode_is_cjk(config->compat, code);
    if (is_cjk) {
        kinds[n++] = MB_CHAR_SPACE;
    }
    const bool lowers_first = config->compat == MB_COMPAT_GOOGLE; /* Hugging Face strips first */
    uint32_t first[2] = {code}, parts[2 * MB_DECOMPOSITION_MAX];
    size_t n_parts = 0, n_first = lowers_first && config->do_lower_case ? mb_unicode_lower(config->compat, code, first) : 1;
    for (size_t f = 0; f < n_first; f++) {
        parts[n_parts] = first[f];
        n_parts += strip ? mb_unicode_decompose(config->compat, first[f], parts + n_parts) : 1;
    }
    for (size_t i = 0; i < n_parts; i++) {
        uint32_t lower[2] = {parts[i]};
        if (strip && mb_unicode_is_accent(config->compat, parts[i])) {
            continue;
        }
        size_t n_lower = config->do_lower_case && !lowers_first ? mb_unicode_lower(config->compat, parts[i], lower) : 1;
        for (size_t k = 0; k < n_lower; k++) {
            kinds[n] = mb_unicode_is_space(config->compat, lower[k])         ? MB_CHAR_SPACE
                       : mb_unicode_is_punctuation(config->compat, lower[k]) ? MB_CHAR_ALONE
                                                                             : MB_CHAR_WORD;
            codes[n++] = lower[k];
        }
    }
    if (is_cjk) {
        kinds[n++] = MB_CHAR_SPACE;
    }
    return n;
}

static void check_code(const mb_charmap *map, const mb_tokenizer_config *config, uint32_t code) {
    mb_char_kind kinds[2 * MB_DECOMPOSITION_MAX + 2];
    uint32_t codes[2 * MB_DECOMPOSITION_MAX + 2];
    size_t n = define(config, code, kinds, codes);
    mb_char_entry entry = mb_charmap_get(map, code);
    mb_char_kind kind = mb_char_kind_of(entry);
    switch (kind) {
    case MB_CHAR_DROP:
        cr_assert_eq(n, 0, "U+%04X is dropped", code);
        break;
    case MB_CHAR_SPACE:
        cr_assert(n == 1 && kinds[0] == MB_CHAR_SPACE, "U+%04X is a space", code);
        break;
    case MB_CHAR_WORD:
        cr_assert(n == 1 && kinds[0] == MB_CHAR_WORD && codes[0] == mb_char_code(entry, code), "U+%04X is U+%04X", code,
                  mb_char_code(entry, code));
        break;
    case MB_CHAR_ALONE:
        cr_assert((n == 1 && kinds[0] == MB_CHAR_ALONE && codes[0] == mb_char_code(entry, code)) ||
                      (n == 3 && kinds[0] == MB_CHAR_SPACE && codes[1] == mb_char_code(entry, code)),
                  "U+%04X stands alone as U+%04X", code, mb_char_code(entry, code));
        break;
    case MB_CHAR_HANGUL:
        cr_assert(code >= 0xAC00 && code <= 0xD7A3);
        cr_assert_eq(n, (code - 0xAC00) % 28 == 0 ? 2 : 3);
        break;
    case MB_CHAR_REORDER: {
        bool has_class = false;
        for (size_t i = 0; i < n; i++) {
            has_class = has_class || mb_unicode_combining_class(config->compat, codes[i]) != 0 ||
                        mb_unicode_combining_class(config->compat, code) != 0;
        }
        cr_assert(has_class, "U+%04X is reordered", code);
        break;
    }
    case MB_CHAR_SIGMA:
        cr_assert(code == MB_CAPITAL_SIGMA && config->compat == MB_COMPAT_GOOGLE && config->do_lower_case);
        break;
    case MB_CHAR_EXPAND: {
        size_t n_entries, first = mb_char_expansion(entry, &n_entries);
        cr_assert(n == n_entries && n > 1, "U+%04X has %zu parts, expected %zu", code, n_entries, n);
        for (size_t i = 0; i < n; i++) {
            cr_assert_eq(mb_char_kind_of(map->expansions[first + i]), kinds[i]);
            cr_assert(kinds[i] == MB_CHAR_SPACE || mb_char_code(map->expansions[first + i], 0) == codes[i]);
        }
        break;
    }
    default:
        cr_assert_fail("U+%04X has no kind", code);
    }
}

Test(unicode, the_table_agrees_with_the_definition_at_every_code_point) {
    for (int bits = 0; bits < 48; bits++) {
        mb_tokenizer_config config = mb_tokenizer_config_default();
        config.do_lower_case = bits & 1;
        config.tokenize_chinese_chars = bits & 2;
        config.clean_text = bits & 4;
        config.strip_accents = bits / 8 % 3 - 1;
        config.compat = bits < 24 ? MB_COMPAT_HF : MB_COMPAT_GOOGLE;
        mb_charmap map = {0};
        cr_assert(mb_charmap_build(&map, &config));
        for (uint32_t code = 0; code < MB_UNICODE_END; code++) {
            check_code(&map, &config, code);
        }
        mb_charmap_free(&map);
    }
}

/* Facts about single code points, from the Unicode Character Database and Hugging Face's known peculiarities. */
Test(unicode, known_code_points) {
    cr_assert(mb_unicode_is_removed(MB_COMPAT_HF, 0) && mb_unicode_is_removed(MB_COMPAT_HF, 0xAD) &&
              mb_unicode_is_removed(MB_COMPAT_HF, 0xFFFD));
    cr_assert(mb_unicode_is_removed(MB_COMPAT_HF, 0xE000) && !mb_unicode_is_removed(MB_COMPAT_HF, 0x378) &&
              !mb_unicode_is_removed(MB_COMPAT_HF, '\n'));
    cr_assert(mb_unicode_is_space(MB_COMPAT_HF, 0x3000) && mb_unicode_is_space(MB_COMPAT_HF, 0x85) &&
              !mb_unicode_is_space(MB_COMPAT_HF, 0x200B));
    cr_assert(mb_unicode_is_cjk(MB_COMPAT_HF, 0x4E00) && mb_unicode_is_cjk(MB_COMPAT_HF, 0x2F800) &&
              !mb_unicode_is_cjk(MB_COMPAT_HF, 0x2B820) && !mb_unicode_is_cjk(MB_COMPAT_HF, 0x3042));
    cr_assert(mb_unicode_is_punctuation(MB_COMPAT_HF, '$') && mb_unicode_is_punctuation(MB_COMPAT_HF, 0x3002) &&
              !mb_unicode_is_punctuation(MB_COMPAT_HF, 0xA9));
    cr_assert(mb_unicode_is_accent(MB_COMPAT_HF, 0x301) && !mb_unicode_is_accent(MB_COMPAT_HF, 0x903) &&
              !mb_unicode_is_accent(MB_COMPAT_HF, 0x898));
    cr_assert_eq(mb_unicode_combining_class(MB_COMPAT_HF, 0x301), 230);
    cr_assert_eq(mb_unicode_combining_class(MB_COMPAT_HF, 0x302E), 224);
    cr_assert_eq(mb_unicode_combining_class(MB_COMPAT_HF, 0x898), 0); /* younger than Hugging Face's tables */
    uint32_t out[MB_DECOMPOSITION_MAX];
    cr_assert_eq(mb_unicode_decompose(MB_COMPAT_HF, 0x1EA5, out), 3);
    cr_assert(out[0] == 'a' && out[1] == 0x302 && out[2] == 0x301);
    cr_assert_eq(mb_unicode_decompose(MB_COMPAT_HF, 0x11938, out), 1);
    cr_assert_eq(mb_unicode_lower(MB_COMPAT_HF, 0x130, out), 2);
    cr_assert(out[0] == 'i' && out[1] == 0x307);
    cr_assert(mb_unicode_lower(MB_COMPAT_HF, 0x3A3, out) == 1 && out[0] == 0x3C3);
    cr_assert(mb_unicode_lower(MB_COMPAT_HF, 0xA7CB, out) == 1 && out[0] == 0x264);
}

Test(unicode, utf8_of_every_code_point_there_and_back) {
    for (uint32_t code = 0; code < MB_UNICODE_END; code++) {
        unsigned char bytes[4];
        size_t n = mb_utf8_encode(code, bytes), n_read;
        uint32_t back = mb_utf8_decode(bytes, n, &n_read);
        if (code >= 0xD800 && code < 0xE000) {
            cr_assert(back == MB_REPLACEMENT && n_read == 1);
            continue;
        }
        cr_assert(back == code && n_read == n, "U+%04X", code);
        for (size_t cut = 1; cut < n; cut++) { /* a text that ends too early: one maximal part */
            cr_assert(mb_utf8_decode(bytes, cut, &n_read) == MB_REPLACEMENT && n_read == cut, "U+%04X cut", code);
        }
    }
}
