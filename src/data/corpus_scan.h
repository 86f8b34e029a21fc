/* Text files as a stream of sections: the units of the held-out split and of parallel tokenization.
 *
 * A section is a run of consecutive lines of one document, at most 256 lines and 1 MiB; most documents are one section. A blank
 * line (ASCII white space only) and the end of a file end a document. A line longer than 1 MiB is taken as several lines, cut
 * after white space, or between two characters where there is none: so memory is bounded whatever the text. */
#ifndef MB_DATA_CORPUS_SCAN_H
#define MB_DATA_CORPUS_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/file.h"
#include "base/job.h"

enum { MB_SECTION_MAX_LINES = 256, MB_SECTION_MAX_BYTES = 1 << 20 };

typedef struct mb_section {
    const char *text; /* into the map: whole lines, no blank one, without the last line feed */
    size_t n_bytes;
    bool starts_document;
} mb_section;

/* Begins as {.maps = ..., .n_maps = ...}. */
typedef struct mb_corpus_scanner {
    const mb_map *maps;
    size_t n_maps;
    size_t file, offset; /* where the next section is looked for */
    bool in_document;
} mb_corpus_scanner;

/* False at the end of the last file. */
bool mb_corpus_scanner_next(mb_corpus_scanner *scanner, mb_section *out);

/* Held-out sections are those whose mb_section_hash is at most this limit: 1% of all hashes, and where chance holds out fewer
 * than 1% of the sections (which matters in a small corpus), as many more as it takes; at least two of four and more sections,
 * because next-sentence pairs need two documents, and one of fewer. False when `job` asked to stop. */
bool mb_held_out_limit(const mb_map *maps, size_t n_maps, const mb_job *job, uint64_t *limit);
uint64_t mb_section_hash(const mb_section *section);

#endif
