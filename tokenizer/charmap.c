#include "tokenizer/charmap.h"

#include <stdlib.h>
#include <string.h>

enum { EXPANSION_MAX = 4 * MB_DECOMPOSITION_MAX };

static mb_char_entry entry_of(mb_char_kind kind, uint32_t payload) {
    return (uint32_t)kind << 29 | payload;
}

/* A new page, all entries `value`; SIZE_MAX without memory. */
static size_t add_page(mb_charmap *map, mb_char_entry value) {
    if (map->n_pages == map->page_capacity) {
        size_t capacity = map->page_capacity == 0 ? 64 : 2 * map->page_capacity;
        mb_char_entry *pages = realloc(map->pages, capacity * 256 * sizeof *pages);
        if (pages == NULL) {
            return SIZE_MAX;
        }
        map->pages = pages;
        map->page_capacity = capacity;
    }
    for (size_t i = 0; i < 256; i++) {
        map->pages[map->n_pages * 256 + i] = value;
    }
    return map->n_pages++;
}

/* Pages 0, 1 and 2 are the uniform ones that most of the code space shares; they are copied before a write. */
enum { PAGE_WORD, PAGE_ALONE, PAGE_DROP, N_SHARED_PAGES };

static bool set(mb_charmap *map, uint32_t code, mb_char_entry value) {
    size_t page = map->page_of[code >> 8];
    if (page < N_SHARED_PAGES) {
        mb_char_entry old = map->pages[page * 256];
        if (old == value) {
            return true;
        }
        page = add_page(map, old);
        if (page == SIZE_MAX) {
            return false;
        }
        map->page_of[code >> 8] = (uint16_t)page;
    }
    map->pages[page * 256 + (code & 255)] = value;
    return true;
}

static bool fill(mb_charmap *map, mb_compat compat, mb_range_set set_name, mb_char_kind kind, uint16_t shared_page) {
    size_t n_ranges;
    const mb_range *ranges = mb_unicode_ranges(compat, set_name, &n_ranges);
    for (size_t i = 0; i < n_ranges; i++) {
        for (uint32_t code = ranges[i].first; code <= ranges[i].last; code++) {
            if ((code & 255) == 0 && code + 255 <= ranges[i].last) {
                map->page_of[code >> 8] = shared_page;
                code += 255;
            } else if (!set(map, code, entry_of(kind, 0))) {
                return false;
            }
        }
    }
    return true;
}

/* Kind and code point of a character of the normalized text, as BertPreTokenizer sees it. */
static mb_char_entry classify(mb_compat compat, uint32_t code) {
    if (mb_unicode_is_space(compat, code)) {
        return entry_of(MB_CHAR_SPACE, 0);
    }
    return entry_of(mb_unicode_is_punctuation(compat, code) ? MB_CHAR_ALONE : MB_CHAR_WORD, code);
}

static bool add_expansion(mb_charmap *map, const mb_char_entry *entries, size_t n, mb_char_entry *out) {
    if (map->n_expansions + n > map->expansion_capacity) {
        size_t capacity = 2 * map->expansion_capacity + 256;
        mb_char_entry *expansions = realloc(map->expansions, capacity * sizeof *expansions);
        if (expansions == NULL) {
            return false;
        }
        map->expansions = expansions;
        map->expansion_capacity = capacity;
    }
    memcpy(map->expansions + map->n_expansions, entries, n * sizeof *entries);
    *out = entry_of(MB_CHAR_EXPAND, (uint32_t)(n << 16 | map->n_expansions));
    map->n_expansions += n;
    return map->n_expansions <= 0xFFFF;
}

/* A code point after accents are stripped and it is lower-cased, in the order of the reference: Hugging Face strips first,
 * Google lower-cases first. Returns how many, in `out`; *is_reordered: one of them is a mark that has a combining class. */
static size_t strip_and_lower(const mb_tokenizer_config *config, bool strip, uint32_t code, uint32_t *out, bool *is_reordered) {
    const mb_compat compat = config->compat;
    const bool lowers_first = compat == MB_COMPAT_GOOGLE;
    uint32_t first[2] = {code};
    size_t n = 0, n_first = config->do_lower_case && lowers_first ? mb_unicode_lower(compat, code, first) : 1;
    for (size_t f = 0; f < n_first; f++) {
        uint32_t parts[MB_DECOMPOSITION_MAX] = {first[f]};
        size_t n_parts = strip ? mb_unicode_decompose(compat, first[f], parts) : 1;
        for (size_t i = 0; i < n_parts; i++) {
            if (strip && mb_unicode_is_accent(compat, parts[i])) {
                continue;
            }
            *is_reordered = *is_reordered || (strip && mb_unicode_combining_class(compat, parts[i]) != 0);
            uint32_t last[2] = {parts[i]};
            size_t n_last = config->do_lower_case && !lowers_first ? mb_unicode_lower(compat, parts[i], last) : 1;
            for (size_t k = 0; k < n_last; k++) {
                out[n++] = last[k];
            }
        }
    }
    return n;
}

/* The pipeline for one code point that may change: spaces around an ideograph, then the above. */
static bool map_code(mb_charmap *map, const mb_tokenizer_config *config, bool strip, uint32_t code) {
    bool is_cjk = config->tokenize_chinese_chars && mb_unicode_is_cjk(config->compat, code), is_reordered = false;
    mb_char_entry entries[EXPANSION_MAX + 2];
    uint32_t codes[EXPANSION_MAX];
    size_t n = 0, n_codes = strip_and_lower(config, strip, code, codes, &is_reordered);
    if (is_reordered) {
        return set(map, code, entry_of(MB_CHAR_REORDER, 0));
    }
    if (is_cjk) {
        entries[n++] = entry_of(MB_CHAR_SPACE, 0);
    }
    for (size_t i = 0; i < n_codes; i++) {
        entries[n++] = classify(config->compat, codes[i]);
    }
    if (is_cjk) {
        if (n == 2 && mb_char_kind_of(entries[1]) == MB_CHAR_WORD) {
            return set(map, code, entry_of(MB_CHAR_ALONE, mb_char_code(entries[1], 0)));
        }
        entries[n++] = entry_of(MB_CHAR_SPACE, 0);
    }
    if (n == 0) {
        return set(map, code, entry_of(MB_CHAR_DROP, 0));
    }
    mb_char_entry entry = entries[0];
    if (n > 1) {
        return add_expansion(map, entries, n, &entry) && set(map, code, entry);
    }
    bool same = mb_char_code(entry, code) == code; /* written as 0, so that it may stay on a shared page */
    return set(map, code, same ? entry_of(mb_char_kind_of(entry), 0) : entry);
}

static bool map_changing(mb_charmap *map, const mb_tokenizer_config *config, bool strip) {
    for (size_t i = 0; i < mb_unicode_n_changing; i++) {
        mb_range range = mb_unicode_changing[i];
        for (uint32_t code = range.first; code <= range.last; code++) {
            mb_char_kind kind = mb_char_kind_of(mb_charmap_get(map, code));
            if (kind == MB_CHAR_DROP || kind == MB_CHAR_SPACE) {
                continue;
            }
            if (code >= 0xAC00 && code <= 0xD7A3) {
                if (strip && !set(map, code, entry_of(MB_CHAR_HANGUL, 0))) {
                    return false;
                }
            } else if (!map_code(map, config, strip, code)) {
                return false;
            }
        }
    }
    return true;
}

/* Kept marks with a combining class, outside of the ranges that change. */
static bool map_marks(mb_charmap *map, mb_compat compat) {
    size_t n_ranges;
    const mb_range *ranges = mb_unicode_ranges(compat, MB_RANGES_MARK, &n_ranges);
    for (size_t i = 0; i < n_ranges; i++) {
        for (uint32_t code = ranges[i].first; code <= ranges[i].last; code++) {
            if (!set(map, code, entry_of(MB_CHAR_REORDER, 0))) {
                return false;
            }
        }
    }
    return true;
}

bool mb_charmap_build(mb_charmap *map, const mb_tokenizer_config *config) {
    bool strip = config->strip_accents < 0 ? config->do_lower_case : config->strip_accents != 0;
    if (add_page(map, entry_of(MB_CHAR_WORD, 0)) != PAGE_WORD || add_page(map, entry_of(MB_CHAR_ALONE, 0)) != PAGE_ALONE ||
        add_page(map, entry_of(MB_CHAR_DROP, 0)) != PAGE_DROP) {
        return false;
    }
    /* Later fills win: the order is that of the pipeline's steps, last step first. */
    const mb_compat compat = config->compat;
    bool has_memory = fill(map, compat, MB_RANGES_PUNCTUATION, MB_CHAR_ALONE, PAGE_ALONE) &&
                      (!strip || fill(map, compat, MB_RANGES_ACCENT, MB_CHAR_DROP, PAGE_DROP)) &&
                      (!strip || map_marks(map, compat)) &&
                      (!config->tokenize_chinese_chars || fill(map, compat, MB_RANGES_CJK, MB_CHAR_ALONE, PAGE_ALONE)) &&
                      fill(map, compat, MB_RANGES_SPACE, MB_CHAR_SPACE, PAGE_WORD) &&
                      (!config->clean_text || fill(map, compat, MB_RANGES_REMOVED, MB_CHAR_DROP, PAGE_DROP)) &&
                      map_changing(map, config, strip);
    bool has_sigma = compat == MB_COMPAT_GOOGLE && config->do_lower_case;
    return has_memory && (!has_sigma || set(map, MB_CAPITAL_SIGMA, entry_of(MB_CHAR_SIGMA, 0)));
}

void mb_charmap_free(mb_charmap *map) {
    free(map->pages);
    free(map->expansions);
    *map = (mb_charmap){0};
}
