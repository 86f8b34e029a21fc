#include "tokenizer/unicode.h"

#include <utf8proc.h>

#include "tokenizer/unicode_ranges.h"
#include "tokenizer/unicode_ranges_google.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Lower case added to Unicode after version 14, which is Google's, and the oldest that a supported utf8proc (2.7) has. */
static const struct {
    uint32_t first, last, lower_of_first;
} late_lower[] = {
    {0x1C89, 0x1C89, 0x1C8A},    {0xA7CB, 0xA7CB, 0x264},     {0xA7CC, 0xA7CC, 0xA7CD}, {0xA7CE, 0xA7CE, 0xA7CF},
    {0xA7D2, 0xA7D2, 0xA7D3},    {0xA7D4, 0xA7D4, 0xA7D5},    {0xA7DA, 0xA7DA, 0xA7DB}, {0xA7DC, 0xA7DC, 0x19B},
    {0x10D50, 0x10D65, 0x10D70}, {0x16EA0, 0x16EB8, 0x16EBB},
};

const mb_range mb_unicode_changing[] = {
    {0x41, 0x5A},       {0xC0, 0x13F5},     {0x1B06, 0x24CF},   {0x2ADC, 0x2CF2},   {0x304C, 0x30FE},   {0xA640, 0xA7F5},
    {0xAC00, 0xD7A3},   {0xF900, 0xFB4E},   {0xFF21, 0xFF3A},   {0x10400, 0x10595}, {0x10C80, 0x10D65}, {0x1109A, 0x118BF},
    {0x16E40, 0x16EB8}, {0x1D15E, 0x1D1C0}, {0x11938, 0x11938}, {0x1E900, 0x1E921}, {0x2F800, 0x2FA1D},
};
const size_t mb_unicode_n_changing = COUNT(mb_unicode_changing);

typedef struct range_list {
    const mb_range *ranges;
    size_t n_ranges;
} range_list;

#define LIST(array) \
    { (array), COUNT(array) }
static const range_list range_sets[][MB_N_RANGE_SETS] = {
    [MB_COMPAT_HF] =
        {
            [MB_RANGES_REMOVED] = LIST(removed_ranges),
            [MB_RANGES_SPACE] = LIST(space_ranges),
            [MB_RANGES_CJK] = LIST(cjk_ranges),
            [MB_RANGES_PUNCTUATION] = LIST(punctuation_ranges),
            [MB_RANGES_ACCENT] = LIST(accent_ranges),
            [MB_RANGES_MARK] = LIST(mark_ranges),
            [MB_RANGES_DECOMPOSED] = LIST(decomposed_ranges),
        },
    [MB_COMPAT_GOOGLE] =
        {
            [MB_RANGES_REMOVED] = LIST(google_removed_ranges),
            [MB_RANGES_SPACE] = LIST(google_space_ranges),
            [MB_RANGES_CJK] = LIST(google_cjk_ranges),
            [MB_RANGES_PUNCTUATION] = LIST(google_punctuation_ranges),
            [MB_RANGES_ACCENT] = LIST(google_accent_ranges),
            [MB_RANGES_MARK] = LIST(google_mark_ranges),
            [MB_RANGES_DECOMPOSED] = LIST(google_decomposed_ranges),
        },
};

static bool contains(const mb_range *ranges, size_t n_ranges, uint32_t code) {
    size_t low = 0, high = n_ranges;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (code > ranges[middle].last) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < n_ranges && code >= ranges[low].first;
}

static bool is_in(mb_compat compat, mb_range_set set, uint32_t code) {
    return contains(range_sets[compat][set].ranges, range_sets[compat][set].n_ranges, code);
}

bool mb_unicode_is_removed(mb_compat compat, uint32_t code) {
    return is_in(compat, MB_RANGES_REMOVED, code);
}

bool mb_unicode_is_space(mb_compat compat, uint32_t code) {
    return is_in(compat, MB_RANGES_SPACE, code);
}

bool mb_unicode_is_cjk(mb_compat compat, uint32_t code) {
    return is_in(compat, MB_RANGES_CJK, code);
}

bool mb_unicode_is_punctuation(mb_compat compat, uint32_t code) {
    return is_in(compat, MB_RANGES_PUNCTUATION, code);
}

bool mb_unicode_is_accent(mb_compat compat, uint32_t code) {
    return is_in(compat, MB_RANGES_ACCENT, code);
}

bool mb_unicode_is_cased(uint32_t code) {
    return contains(google_cased_ranges, COUNT(google_cased_ranges), code);
}

bool mb_unicode_is_case_ignorable(uint32_t code) {
    return contains(google_case_ignorable_ranges, COUNT(google_case_ignorable_ranges), code);
}

const mb_range *mb_unicode_ranges(mb_compat compat, mb_range_set set, size_t *n_ranges) {
    *n_ranges = range_sets[compat][set].n_ranges;
    return range_sets[compat][set].ranges;
}

int mb_unicode_combining_class(mb_compat compat, uint32_t code) {
    /* A class never changes once assigned; younger marks than the reference's tables have class 0 there. */
    if (!is_in(compat, MB_RANGES_ACCENT, code) && !is_in(compat, MB_RANGES_MARK, code)) {
        return 0;
    }
    return utf8proc_get_property((utf8proc_int32_t)code)->combining_class;
}

size_t mb_unicode_decompose(mb_compat compat, uint32_t code, uint32_t out[MB_DECOMPOSITION_MAX]) {
    out[0] = code;
    if (code < 0xC0 || (code > 0xFFFF && !is_in(compat, MB_RANGES_DECOMPOSED, code))) {
        return 1;
    }
    utf8proc_int32_t parts[MB_DECOMPOSITION_MAX];
    utf8proc_ssize_t n_parts =
        utf8proc_decompose_char((utf8proc_int32_t)code, parts, MB_DECOMPOSITION_MAX, UTF8PROC_DECOMPOSE, NULL);
    if (n_parts <= 0 || n_parts > MB_DECOMPOSITION_MAX) {
        return 1; /* unassigned there: Unicode's longest canonical decomposition has 4 parts */
    }
    for (utf8proc_ssize_t i = 0; i < n_parts; i++) {
        out[i] = (uint32_t)parts[i];
    }
    return (size_t)n_parts;
}

size_t mb_unicode_lower(mb_compat compat, uint32_t code, uint32_t out[2]) {
    if (code < 0x80) {
        out[0] = code >= 'A' && code <= 'Z' ? code + 32 : code;
        return 1;
    }
    if (code == 0x130) { /* the only unconditional entry of SpecialCasing.txt with a longer lower case */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    for (size_t i = 0; i < COUNT(late_lower); i++) {
        if (code >= late_lower[i].first && code <= late_lower[i].last) {
            out[0] = compat == MB_COMPAT_GOOGLE ? code : late_lower[i].lower_of_first + (code - late_lower[i].first);
            return 1;
        }
    }
    out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
    return 1;
}

/* Table 3-7 of The Unicode Standard: which second bytes a lead byte allows; later bytes are always 80..BF. */
uint32_t mb_utf8_decode(const unsigned char *text, size_t n_bytes, size_t *n_read) {
    unsigned lead = text[0];
    *n_read = 1;
    if (lead < 0x80) {
        return lead;
    }
    size_t n_more;
    unsigned low = 0x80, high = 0xBF;
    uint32_t code;
    if (lead >= 0xC2 && lead <= 0xDF) {
        n_more = 1;
        code = lead & 0x1F;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
        n_more = 2;
        code = lead & 0x0F;
        low = lead == 0xE0 ? 0xA0 : 0x80;  /* no overlong forms */
        high = lead == 0xED ? 0x9F : 0xBF; /* no surrogates */
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        n_more = 3;
        code = lead & 0x07;
        low = lead == 0xF0 ? 0x90 : 0x80;
        high = lead == 0xF4 ? 0x8F : 0xBF; /* at most U+10FFFF */
    } else {
        return MB_REPLACEMENT;
    }
    for (size_t i = 1; i <= n_more; i++) {
        if (i >= n_bytes || text[i] < low || text[i] > high) {
            return MB_REPLACEMENT;
        }
        code = code << 6 | (text[i] & 0x3F);
        low = 0x80;
        high = 0xBF;
        *n_read = i + 1;
    }
    return code;
}
