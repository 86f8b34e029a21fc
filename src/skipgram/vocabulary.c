#include "skipgram/vocabulary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "skipgram/text_words.h"

enum { REPORT_WORDS = 1 << 18 };

void mb_vocabulary_free(mb_vocabulary *vocabulary) {
    mb_lexicon_free(&vocabulary->words);
    *vocabulary = (mb_vocabulary){.unknown = -1};
}

/* --- counting --- */

typedef struct counting {
    const mb_map *text;
    const mb_job *job;
    mb_lexicon *tables; /* one a range */
    int n_ranges;
    int64_t done_bytes; /* atomic */
    double began_at;
    bool out_of_memory; /* atomic */
} counting;

static void report(counting *c, size_t n_bytes, int range) {
    const int64_t done = __atomic_add_fetch(&c->done_bytes, (int64_t)n_bytes, __ATOMIC_RELAXED);
    if (range != 0 || done == 0) {
        return;
    }
    const double seconds = mb_clock_seconds() - c->began_at, total = (double)c->text->n_bytes;
    const mb_progress progress = {.phase = "count words",
                                  .unit = "bytes",
                                  .done = done,
                                  .total = (int64_t)c->text->n_bytes,
                                  .loss = NAN,
                                  .learning_rate = NAN,
                                  .tokens_per_second = NAN,
                                  .elapsed_seconds = seconds,
                                  .eta_seconds = seconds / (double)done * (total - (double)done)};
    mb_job_progress(c->job, &progress);
}

static size_t range_border(const counting *c, int range) {
    return (size_t)((__uint128_t)c->text->n_bytes * (unsigned)range / (unsigned)c->n_ranges);
}

static void count_range(counting *c, int range) {
    const unsigned char *at = mb_text_range_begin(c->text, range_border(c, range));
    const unsigned char *limit = c->text->data + range_border(c, range + 1), *end = c->text->data + c->text->n_bytes;
    const unsigned char *reported = at;
    mb_lexicon *table = &c->tables[range];
    mb_text_word word;
    for (int64_t n = 1; mb_text_next_word(&at, limit, end, &word); n++) {
        if (mb_lexicon_add(table, word.bytes, word.n_bytes, 1) < 0) {
            __atomic_store_n(&c->out_of_memory, true, __ATOMIC_RELAXED);
        }
        if (n % REPORT_WORDS == 0) {
            report(c, (size_t)(at - reported), range);
            mb_text_release(c->text, reported, at);
            reported = at;
            if (mb_job_should_stop(c->job) || __atomic_load_n(&c->out_of_memory, __ATOMIC_RELAXED)) {
                return;
            }
        }
    }
    mb_text_release(c->text, reported, at);
}

/* Adds all tables to the first. */
static bool merge(counting *c) {
    for (int range = 1; range < c->n_ranges; range++) {
        mb_lexicon *from = &c->tables[range];
        for (int64_t word = 0; word < from->n; word++) {
            size_t n_bytes;
            const char *bytes = mb_lexicon_get(from, word, &n_bytes);
            if (mb_lexicon_add(&c->tables[0], bytes, n_bytes, from->counts[word]) < 0) {
                return false;
            }
        }
        mb_lexicon_free(from);
    }
    return true;
}

/* --- choosing --- */

/* Adds the words that are left out to [UNK]; false without memory. */
static bool gather_unknown(mb_lexicon *all, int64_t left_out) {
    return mb_lexicon_add(all, MB_UNKNOWN_WORD, strlen(MB_UNKNOWN_WORD), left_out) >= 0;
}

static int64_t count_chosen(const mb_lexicon *all, const uint32_t *order, const mb_vocabulary_options *options,
                            int64_t *n_occurrences) {
    int64_t n = 0;
    *n_occurrences = 0;
    while (n < all->n && all->counts[order[n]] >= options->min_count && (options->max_words == 0 || n < options->max_words)) {
        *n_occurrences += all->counts[order[n]];
        n++;
    }
    return n;
}

static mb_status choose(mb_lexicon *all, const char *path, const mb_vocabulary_options *options, mb_vocabulary *out,
                        mb_error *error) {
    *out = (mb_vocabulary){.unknown = -1};
    for (int64_t i = 0; i < all->n; i++) {
        out->n_text_words += all->counts[i];
    }
    uint32_t *order = mb_lexicon_order(all);
    int64_t n = order ? count_chosen(all, order, options, &out->n_words) : 0;
    bool fine = order;
    if (fine && options->unknown && out->n_words < out->n_text_words) {
        fine = gather_unknown(all, out->n_text_words - out->n_words);
        free(order);
        order = fine ? mb_lexicon_order(all) : NULL;
        fine = order;
        n = fine ? count_chosen(all, order, options, &out->n_words) : 0;
    }
    if (fine && n == 0) {
        free(order);
        return mb_fail(error, MB_ERROR_FORMAT, "'%s' has no word that occurs %lld times or more; lower --min-count", path,
                       (long long)options->min_count);
    }
    fine = fine && mb_lexicon_select(all, order, n, &out->words);
    free(order);
    if (!fine) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the words of '%s'", path);
    }
    out->unknown = options->unknown ? mb_lexicon_find(&out->words, MB_UNKNOWN_WORD, strlen(MB_UNKNOWN_WORD)) : -1;
    return MB_OK;
}

mb_status mb_vocabulary_count(const mb_map *text, const char *path, const mb_vocabulary_options *options, const mb_job *job,
                              mb_vocabulary *out, mb_error *error) {
    *out = (mb_vocabulary){.unknown = -1};
    counting c = {.text = text, .job = job, .n_ranges = mb_threads_count(), .began_at = mb_clock_seconds()};
    c.tables = calloc((size_t)c.n_ranges, sizeof *c.tables);
    if (!c.tables) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the words of '%s'", path);
    }
#pragma omp parallel for schedule(static, 1)
    for (int range = 0; range < c.n_ranges; range++) {
        count_range(&c, range);
    }
    mb_status status = MB_OK;
    if (mb_job_should_stop(job)) {
        status = mb_fail(error, MB_ERROR_INTERRUPTED, "interrupted while counting the words of '%s'", path);
    } else if (c.out_of_memory || !merge(&c)) {
        status = mb_fail(error, MB_ERROR_MEMORY, "out of memory for the words of '%s'", path);
    } else {
        status = choose(&c.tables[0], path, options, out, error);
    }
    for (int range = 0; range < c.n_ranges; range++) {
        mb_lexicon_free(&c.tables[range]);
    }
    free(c.tables);
    return status;
}

/* --- files --- */

mb_status mb_vocabulary_save(const mb_vocabulary *vocabulary, const char *path, mb_error *error) {
    mb_writer *writer;
    const mb_status status = mb_writer_open(path, &writer, error);
    if (status != MB_OK) {
        return status;
    }
    for (int64_t i = 0; i < vocabulary->words.n; i++) {
        size_t n_bytes;
        const char *bytes = mb_lexicon_get(&vocabulary->words, i, &n_bytes);
        mb_writer_write(writer, bytes, n_bytes);
        mb_writer_printf(writer, " %lld\n", (long long)vocabulary->words.counts[i]);
    }
    return mb_writer_commit(writer, error);
}

/* Digits alone, at most 18. */
static bool parse_count(const mb_text_word *word, int64_t *out) {
    *out = 0;
    for (size_t i = 0; i < word->n_bytes; i++) {
        if (word->bytes[i] < '0' || word->bytes[i] > '9' || i >= 18) {
            return false;
        }
        *out = *out * 10 + (word->bytes[i] - '0');
    }
    return word->n_bytes > 0;
}

static mb_status parse_lines(const mb_map *map, const char *path, mb_lexicon *all, mb_error *error) {
    const unsigned char *at = map->data, *end = map->data + map->n_bytes;
    mb_text_word word, count;
    for (long long line = 1; mb_text_next_word(&at, end, end, &word); line++) {
        int64_t n;
        if (!mb_text_next_word(&at, end, end, &count) || count.begins_line || !parse_count(&count, &n)) {
            return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': entry %lld is not a word and its count", path, line);
        }
        if (mb_lexicon_find(all, word.bytes, word.n_bytes) >= 0) {
            return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': entry %lld: the word '%.*s' is there twice", path, line,
                           (int)word.n_bytes, (const char *)word.bytes);
        }
        if (mb_lexicon_add(all, word.bytes, word.n_bytes, n) < 0) {
            return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the words of '%s'", path);
        }
    }
    return MB_OK;
}

mb_status mb_vocabulary_read_counts(const char *path, mb_lexicon *out, mb_error *error) {
    mb_map map;
    mb_status status = mb_map_open(path, &map, error);
    if (status == MB_OK) {
        status = parse_lines(&map, path, out, error);
        mb_map_close(&map);
    }
    return status;
}

mb_status mb_vocabulary_load(const char *path, const mb_vocabulary_options *options, mb_vocabulary *out, mb_error *error) {
    *out = (mb_vocabulary){.unknown = -1};
    mb_lexicon all = {0};
    mb_status status = mb_vocabulary_read_counts(path, &all, error);
    if (status == MB_OK) {
        status = choose(&all, path, options, out, error);
    }
    mb_lexicon_free(&all);
    return status;
}
