#include "data/corpus_scan.h"

#include <string.h>

#include "data/map_release.h"

/* ASCII white space by hand: isspace depends on the locale. */
static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_blank(const char *line, size_t n_bytes) {
    for (size_t i = 0; i < n_bytes; i++) {
        if (!is_space(line[i])) {
            return false;
        }
    }
    return true;
}

/* Where to cut an over-long line whose first MB_SECTION_MAX_BYTES bytes are `text`. */
static size_t cut_long_line(const char *text) {
    for (size_t i = MB_SECTION_MAX_BYTES; i > MB_SECTION_MAX_BYTES / 2; i--) {
        if (is_space(text[i - 1])) {
            return i;
        }
    }
    size_t cut = MB_SECTION_MAX_BYTES;
    for (int i = 0; i < 3 && ((unsigned char)text[cut] & 0xc0) == 0x80; i++) {
        cut--; /* a continuation byte: the character began before */
    }
    return cut;
}

/* The line at `text` within n_bytes: its length without line feed, and the bytes to step over it. */
static size_t line_at(const char *text, size_t n_bytes, size_t *step) {
    const size_t window = n_bytes < MB_SECTION_MAX_BYTES ? n_bytes : MB_SECTION_MAX_BYTES;
    const char *feed = memchr(text, '\n', window);
    if (feed != NULL) {
        *step = (size_t)(feed - text) + 1;
        return *step - 1;
    }
    *step = window == n_bytes ? n_bytes : cut_long_line(text);
    return *step;
}

/* Steps over blank lines; whether there was one. */
static bool skip_blank_lines(mb_corpus_scanner *scanner, const mb_map *map) {
    bool any = false;
    while (scanner->offset < map->n_bytes) {
        const char *line = (const char *)map->data + scanner->offset;
        size_t step, n_bytes = line_at(line, map->n_bytes - scanner->offset, &step);
        if (!is_blank(line, n_bytes)) {
            break;
        }
        scanner->offset += step;
        any = true;
    }
    return any;
}

bool mb_corpus_scanner_next(mb_corpus_scanner *scanner, mb_section *out) {
    for (; scanner->file < scanner->n_maps; scanner->file++, scanner->offset = 0, scanner->in_document = false) {
        const mb_map *map = &scanner->maps[scanner->file];
        const char *text = (const char *)map->data;
        if (scanner->offset == 0 && map->n_bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
            scanner->offset = 3; /* a byte order mark is no text */
        }
        if (skip_blank_lines(scanner, map)) {
            scanner->in_document = false;
        }
        if (scanner->offset == map->n_bytes) {
            continue;
        }
        const char *section = text + scanner->offset;
        size_t section_bytes = 0;
        for (int n_lines = 0; scanner->offset < map->n_bytes && n_lines < MB_SECTION_MAX_LINES; n_lines++) {
            const char *line = text + scanner->offset;
            size_t step, n_bytes = line_at(line, map->n_bytes - scanner->offset, &step);
            const size_t end = (size_t)(line - section) + n_bytes;
            if (end > MB_SECTION_MAX_BYTES || is_blank(line, n_bytes)) {
                break;
            }
            section_bytes = end;
            scanner->offset += step;
        }
        *out = (mb_section){section, section_bytes, !scanner->in_document};
        scanner->in_document = true;
        return true;
    }
    return false;
}

uint64_t mb_section_hash(const mb_section *section) {
    return mb_hash_bytes(section->text, section->n_bytes);
}

/* The smallest hashes seen, in increasing order. In a corpus of more than a hundred times as many sections chance stays within
 * a few per cent of 1%. */
typedef struct smallest_hashes {
    uint64_t hashes[1024];
    size_t n;
} smallest_hashes;

static void add_hash(smallest_hashes *smallest, uint64_t hash) {
    const size_t capacity = sizeof(smallest->hashes) / sizeof(smallest->hashes[0]);
    if (smallest->n == capacity) {
        if (hash >= smallest->hashes[capacity - 1]) {
            return;
        }
        smallest->n--;
    }
    size_t at = smallest->n++;
    for (; at > 0 && smallest->hashes[at - 1] > hash; at--) {
        smallest->hashes[at] = smallest->hashes[at - 1];
    }
    smallest->hashes[at] = hash;
}

bool mb_held_out_limit(const mb_map *maps, size_t n_maps, const mb_job *job, uint64_t *limit) {
    mb_corpus_scanner scanner = {.maps = maps, .n_maps = n_maps};
    mb_section section;
    smallest_hashes smallest = {.n = 0};
    uint64_t n = 0;
    size_t file = 0, released = 0; /* bytes of that file */
    while (mb_corpus_scanner_next(&scanner, &section)) {
        add_hash(&smallest, mb_section_hash(&section));
        n++;
        if (scanner.file != file || scanner.offset - released >= MB_MAP_BLOCK_BYTES) {
            mb_map_release(&maps[file], released, scanner.file != file ? maps[file].n_bytes : scanner.offset);
            released = scanner.file != file ? 0 : scanner.offset;
            file = scanner.file;
            if (mb_job_should_stop(job)) {
                return false;
            }
        }
    }
    uint64_t wanted = (n + 99) / 100;
    wanted = n >= 4 && wanted < 2 ? 2 : wanted;
    wanted = wanted < smallest.n ? wanted : smallest.n;
    *limit = UINT64_MAX / 100;
    if (wanted > 0 && smallest.hashes[wanted - 1] > *limit) {
        *limit = smallest.hashes[wanted - 1];
    }
    return true;
}
