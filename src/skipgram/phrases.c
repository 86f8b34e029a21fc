#include "skipgram/phrases.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/threads.h"
#include "skipgram/pair_counts.h"
#include "skipgram/text_words.h"
#include "skipgram/vocabulary.h"

#define FIELD(name) offsetof(mb_phrases_options, name)
#define FILE_OPTION(option_name, field, text) \
    { .name = (option_name), .type = MB_OPTION_TEXT, .offset = FIELD(field), .argument = "FILE", .help = (text) }

const mb_option mb_phrases_option_table[] = {
    FILE_OPTION("corpus", corpus, "the text: words between white space; no phrase crosses a line break"),
    FILE_OPTION("train", corpus, "the same as --corpus"),
    FILE_OPTION("out", out, "where the text with its phrases goes"),
    FILE_OPTION("output", out, "the same as --out"),
    {.name = "threshold",
     .type = MB_OPTION_REAL,
     .offset = FIELD(threshold),
     .default_text = "100",
     .argument = "X",
     .help = "scores above this make a phrase: the higher, the fewer",
     .min = 0,
     .max = 1e30},
    {.name = "min-count",
     .type = MB_OPTION_INT,
     .offset = FIELD(min_count),
     .default_text = "5",
     .argument = "N",
     .help = "words and pairs that occur less often are in no phrase",
     .min = 1,
     .max = 1e15},
    {.name = "passes",
     .type = MB_OPTION_INT,
     .offset = FIELD(passes),
     .default_text = "1",
     .argument = "N",
     .help = "each further pass joins phrases to longer ones",
     .min = 1,
     .max = 16},
    {.name = "debug",
     .type = MB_OPTION_INT,
     .offset = FIELD(debug),
     .default_text = "2",
     .argument = "N",
     .help = "word2phrase's; without effect",
     .max = 100},
    {0},
};

enum { REPORT_WORDS = 1 << 18 };

/* One pass over a text. */
typedef struct pass {
    const mb_phrases_options *options;
    const mb_job *job;
    const char *path;
    mb_map text;
    mb_vocabulary vocabulary;
    mb_pair_counts *pairs; /* one a range; afterwards all are in the first */
    int n_ranges;
    bool out_of_memory; /* atomic */
    mb_pair_counts phrases;
    int64_t n_joined;
} pass;

static mb_status out_of_memory(const pass *p, mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the pairs of words of '%s'; raise --min-count", p->path);
}

/* --- counting --- */

/* A word's number; -1 at the end of the range, -2 for a word too rare to be in a phrase. */
static int64_t next_word(const pass *p, const unsigned char **at, const unsigned char *limit, mb_text_word *word) {
    if (!mb_text_next_word(at, limit, p->text.data + p->text.n_bytes, word)) {
        return -1;
    }
    const int64_t id = mb_lexicon_find(&p->vocabulary.words, word->bytes, word->n_bytes);
    return id >= 0 ? id : -2;
}

/* The pairs whose first word begins in the range. */
static void count_range(pass *p, int range) {
    const __uint128_t n_bytes = p->text.n_bytes;
    const size_t from = (size_t)(n_bytes * (unsigned)range / (unsigned)p->n_ranges);
    const unsigned char *end = p->text.data + p->text.n_bytes;
    const unsigned char *limit = p->text.data + (size_t)(n_bytes * ((unsigned)range + 1) / (unsigned)p->n_ranges);
    const unsigned char *at = mb_text_range_begin(&p->text, from), *released = at;
    mb_text_word word;
    int64_t last = next_word(p, &at, limit, &word);
    for (int64_t n = 1; last != -1; n++) {
        const bool is_last = at >= limit;
        const int64_t id = next_word(p, &at, is_last ? end : limit, &word);
        if (id == -1 && !is_last) {
            continue; /* white space up to the limit: the next word is beyond it */
        }
        if (last >= 0 && id >= 0 && !word.begins_line &&
            !mb_pair_counts_add(&p->pairs[range], mb_pair_of((uint32_t)last, (uint32_t)id), 1)) {
            __atomic_store_n(&p->out_of_memory, true, __ATOMIC_RELAXED);
        }
        last = is_last ? -1 : id;
        if (n % REPORT_WORDS == 0) {
            mb_text_release(&p->text, released, at);
            released = at;
            if (mb_job_should_stop(p->job) || __atomic_load_n(&p->out_of_memory, __ATOMIC_RELAXED)) {
                return;
            }
        }
    }
}

static bool merge(pass *p) {
    for (int range = 1; range < p->n_ranges; range++) {
        mb_pair_counts *from = &p->pairs[range];
        for (uint64_t i = 0; i < from->n_slots; i++) {
            if (from->slots[i].count && !mb_pair_counts_add(&p->pairs[0], from->slots[i].pair, from->slots[i].count)) {
                return false;
            }
        }
        mb_pair_counts_free(from);
    }
    return true;
}

static mb_status count(pass *p, mb_error *error) {
    const mb_vocabulary_options options = {.min_count = p->options->min_count};
    const mb_status status = mb_vocabulary_count(&p->text, p->path, &options, p->job, &p->vocabulary, error);
    if (status != MB_OK) {
        return status;
    }
    p->n_ranges = mb_threads_count();
    p->pairs = calloc((size_t)p->n_ranges, sizeof *p->pairs);
    if (!p->pairs) {
        return out_of_memory(p, error);
    }
#pragma omp parallel for schedule(static, 1)
    for (int range = 0; range < p->n_ranges; range++) {
        count_range(p, range);
    }
    if (mb_job_should_stop(p->job)) {
        return mb_fail(error, MB_ERROR_INTERRUPTED, "interrupted while counting the pairs of words of '%s'", p->path);
    }
    return p->out_of_memory || !merge(p) ? out_of_memory(p, error) : MB_OK;
}

/* --- writing --- */

static bool is_phrase(const pass *p, int64_t first, int64_t second) {
    const int64_t *counts = p->vocabulary.words.counts;
    const int64_t together = mb_pair_counts_get(&p->pairs[0], mb_pair_of((uint32_t)first, (uint32_t)second));
    return together >= p->options->min_count && (double)(together - p->options->min_count) / (double)counts[first] /
                                                        (double)counts[second] * (double)p->vocabulary.n_text_words >
                                                    p->options->threshold;
}

static void report(const pass *p, const unsigned char *at, double began_at) {
    const double seconds = mb_clock_seconds() - began_at, done = (double)(at - p->text.data);
    const mb_progress progress = {.phase = "write phrases",
                                  .unit = "bytes",
                                  .done = (int64_t)done,
                                  .total = (int64_t)p->text.n_bytes,
                                  .loss = NAN,
                                  .learning_rate = NAN,
                                  .tokens_per_second = NAN,
                                  .elapsed_seconds = seconds,
                                  .eta_seconds = seconds / done * ((double)p->text.n_bytes - done)};
    mb_job_progress(p->job, &progress);
}

/* Copies the text, with '_' for the white space within phrases. */
static mb_status write_text(pass *p, mb_writer *writer, mb_error *error) {
    const unsigned char *at = p->text.data, *end = at + p->text.n_bytes, *copied = at, *released = at;
    const double began_at = mb_clock_seconds();
    int64_t last = -1; /* the word that could begin a phrase */
    mb_text_word word;
    for (int64_t n = 1;; n++) {
        const unsigned char *word_end = at;
        const int64_t id = next_word(p, &at, end, &word);
        if (id == -1) {
            break;
        }
        const bool joins = last >= 0 && id >= 0 && !word.begins_line && is_phrase(p, last, id);
        if (joins) {
            if (!mb_pair_counts_add(&p->phrases, mb_pair_of((uint32_t)last, (uint32_t)id), 1)) {
                return out_of_memory(p, error);
            }
            p->n_joined++;
            mb_writer_write(writer, copied, (size_t)(word_end - copied));
            mb_writer_write(writer, "_", 1);
            copied = word.bytes;
        }
        last = joins ? -1 : id;
        if (n % REPORT_WORDS == 0) {
            mb_writer_write(writer, copied, (size_t)(at - copied));
            copied = at;
            mb_text_release(&p->text, released, at);
            released = at;
            report(p, at, began_at);
            if (mb_job_should_stop(p->job)) {
                return mb_fail(error, MB_ERROR_INTERRUPTED, "interrupted while writing phrases");
            }
        }
    }
    mb_writer_write(writer, copied, (size_t)(end - copied));
    return MB_OK;
}

static mb_status write_phrases(pass *p, const char *out, mb_error *error) {
    mb_writer *writer;
    mb_status status = mb_writer_open(out, &writer, error);
    if (status != MB_OK) {
        return status;
    }
    status = write_text(p, writer, error);
    if (status == MB_OK) {
        return mb_writer_commit(writer, error);
    }
    mb_writer_abort(writer);
    return status;
}

static void pass_free(pass *p) {
    mb_map_close(&p->text);
    mb_vocabulary_free(&p->vocabulary);
    for (int range = 0; p->pairs && range < p->n_ranges; range++) {
        mb_pair_counts_free(&p->pairs[range]);
    }
    free(p->pairs);
    mb_pair_counts_free(&p->phrases);
}

static mb_status describe(const pass *p, json_t **result, mb_error *error) {
    json_decref(*result);
    *result =
        json_pack("{s:s, s:I, s:I, s:I, s:I}", "out", p->options->out, "words", (json_int_t)p->vocabulary.n_text_words, "pairs",
                  (json_int_t)p->pairs[0].n, "phrases", (json_int_t)p->phrases.n, "joined", (json_int_t)p->n_joined);
    return *result ? MB_OK : mb_fail(error, MB_ERROR_MEMORY, "out of memory for the result");
}

static mb_status run_pass(const mb_phrases_options *options, const char *from, const char *to, const mb_job *job,
                          json_t **result, mb_error *error) {
    pass p = {.options = options, .job = job, .path = from};
    mb_status status = mb_map_open(from, &p.text, error);
    status = status == MB_OK ? count(&p, error) : status;
    status = status == MB_OK ? write_phrases(&p, to, error) : status;
    status = status == MB_OK ? describe(&p, result, error) : status;
    if (status == MB_OK) {
        mb_job_message(job, MB_LEVEL_INFO, "%lld phrases, at %lld places among %lld words", (long long)p.phrases.n,
                       (long long)p.n_joined, (long long)p.vocabulary.n_text_words);
    }
    pass_free(&p);
    return status;
}

mb_status mb_phrases(const mb_phrases_options *options, const mb_job *job, json_t **result, mb_error *error) {
    *result = NULL;
    if (!options->corpus || !options->out) {
        return mb_fail(error, MB_ERROR_USAGE, "%s",
                       options->corpus ? "--out FILE is missing: where the text goes"
                                       : "--corpus FILE is missing: the text to find phrases in");
    }
    /* What all passes but the last write: two files by turns, beside the output. */
    char between[2][4096];
    mb_status status = MB_OK;
    for (int i = 0; i < 2; i++) {
        if (snprintf(between[i], sizeof between[i], "%s.pass%d", options->out, i) >= (int)sizeof between[i]) {
            return mb_fail(error, MB_ERROR_USAGE, "the path '%.200s...' is too long", options->out);
        }
        if (options->passes > 1 && mb_path_exists(between[i])) {
            return mb_fail(error, MB_ERROR_USAGE, "'%s', where a pass would be kept, exists: remove it", between[i]);
        }
    }
    const char *from = options->corpus;
    for (int64_t i = 1; status == MB_OK && i <= options->passes; i++) {
        const char *to = i == options->passes ? options->out : between[i % 2];
        status = run_pass(options, from, to, job, result, error);
        from = to;
    }
    for (int i = 0; options->passes > 1 && i < 2; i++) {
        mb_error ignored; /* the result stands, and what failed is not told better by this */
        mb_path_remove(between[i], &ignored);
    }
    if (status != MB_OK) {
        json_decref(*result);
        *result = NULL;
    }
    return status;
}
