#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/threads.h"
#include "base/wraps.h"
#include "tokenizer/normalize_inline.h"
#include "tokenizer/train.h"

enum { CHUNK_BYTES = 1 << 20 };

/* --- table of words --- */

static bool grow(mb_word_table *table) {
    size_t n_slots = table->n_slots == 0 ? (size_t)1 << 12 : 2 * table->n_slots;
    mb_word_count *slots = calloc(n_slots, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < table->n_slots; i++) {
        if (table->slots[i].count > 0) {
            size_t slot = (size_t)table->slots[i].hash & (n_slots - 1);
            while (slots[slot].count > 0) {
                slot = (slot + 1) & (n_slots - 1);
            }
            slots[slot] = table->slots[i];
        }
    }
    free(table->slots);
    table->slots = slots;
    table->n_slots = n_slots;
    return true;
}

bool mb_word_table_add(mb_word_table *table, uint64_t hash, const unsigned char *word, size_t n_bytes, uint64_t count) {
    if (2 * (table->n_words + 1) > table->n_slots && !grow(table)) {
        return false;
    }
    size_t slot = (size_t)hash & (table->n_slots - 1);
    for (; table->slots[slot].count > 0; slot = (slot + 1) & (table->n_slots - 1)) {
        mb_word_count *entry = &table->slots[slot];
        if (entry->hash == hash && entry->n_bytes == n_bytes && memcmp(table->bytes.data + entry->offset, word, n_bytes) == 0) {
            entry->count += count;
            return true;
        }
    }
    size_t offset = table->bytes.n_bytes;
    if (!mb_buffer_append(&table->bytes, word, n_bytes)) {
        return false;
    }
    table->slots[slot] = (mb_word_count){.hash = hash, .count = count, .offset = offset, .n_bytes = n_bytes};
    table->n_words++;
    return true;
}

void mb_word_table_free(mb_word_table *table) {
    free(table->slots);
    mb_buffer_free(&table->bytes);
    *table = (mb_word_table){0};
}

MB_WRAPS static uint64_t hash_word(const mb_words *words) {
    if (words->n_bytes >= MB_KEY_BYTES) {
        return mb_hash_bytes(words->bytes, words->n_bytes);
    }
    /* The finalizer of SplitMix64 (Steele, Lea and Flood 2014) over both halves. */
    uint64_t hash = words->key.low ^ words->key.high * 0x9E3779B97F4A7C15u;
    hash = (hash ^ hash >> 30) * 0xBF58476D1CE4E5B9u;
    hash = (hash ^ hash >> 27) * 0x94D049BB133111EBu;
    return hash ^ hash >> 31;
}

/* --- one file --- */

static bool is_ascii_space(unsigned char byte) {
    return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
}

/* Where chunks begin, and the end: the first byte after white space at or after each multiple of CHUNK_BYTES, so that no word
 * is cut and the pieces are the same at any number of threads. NULL: no memory. */
static size_t *cut(const mb_map *map, size_t *n_chunks) {
    size_t max_chunks = map->n_bytes / CHUNK_BYTES + 1, n = 0;
    size_t *begins = malloc((max_chunks + 1) * sizeof *begins);
    if (begins == NULL) {
        return NULL;
    }
    begins[n++] = 0;
    for (size_t at = CHUNK_BYTES; at < map->n_bytes; at += CHUNK_BYTES) {
        size_t begin = at > begins[n - 1] ? at : begins[n - 1];
        while (begin < map->n_bytes && !is_ascii_space(map->data[begin - 1])) {
            begin++;
        }
        if (begin > begins[n - 1] && begin < map->n_bytes) {
            begins[n++] = begin;
        }
    }
    begins[n] = map->n_bytes;
    *n_chunks = n;
    return begins;
}

/* What a thread works with. */
typedef struct worker {
    mb_word_table table;
    mb_word_reader reader;
} worker;

/* What the threads of one file share. `status` is only ever set from MB_OK to an error. */
typedef struct file_job {
    const char *path;
    mb_map map;
    const size_t *begins;
    const mb_vocab_train_options *options;
    size_t n_bytes_before, n_bytes_in_all, n_bytes_done; /* for progress */
    int status;
    size_t nul_at;
} file_job;

static int count_chunk(const file_job *job, size_t chunk, worker *self, size_t *nul_at) {
    const unsigned char *text = job->map.data + job->begins[chunk];
    size_t n_bytes = job->begins[chunk + 1] - job->begins[chunk];
    const unsigned char *nul = memchr(text, '\0', n_bytes);
    if (nul != NULL) {
        *nul_at = (size_t)(nul - job->map.data);
        return MB_ERROR_FORMAT;
    }
    /* Spans are 32 bits wide; a chunk without any white space may be longer, and is cut where it must be. */
    for (size_t from = 0; from < n_bytes; from += UINT32_MAX / 2) {
        size_t n = n_bytes - from < UINT32_MAX / 2 ? n_bytes - from : UINT32_MAX / 2;
        mb_words words;
        mb_words_begin(&words, &self->reader, text + from, 0, n);
        while (mb_words_next(&words)) {
            if (!words.too_long && !mb_word_table_add(&self->table, hash_word(&words), words.bytes, words.n_bytes, 1)) {
                return MB_ERROR_MEMORY;
            }
        }
        if (words.no_memory) {
            return MB_ERROR_MEMORY;
        }
    }
    return MB_OK;
}

static void count_chunks(file_job *job, size_t n_chunks, worker *workers) {
#pragma omp parallel for schedule(dynamic, 1)
    for (size_t chunk = 0; chunk < n_chunks; chunk++) {
        int status;
#pragma omp atomic read
        status = job->status;
        if (status != MB_OK) {
            continue;
        }
        size_t nul_at = 0;
        int thread = omp_get_thread_num();
        status = count_chunk(job, chunk, &workers[thread], &nul_at);
        size_t done;
#pragma omp atomic capture
        done = job->n_bytes_done += job->begins[chunk + 1] - job->begins[chunk];
        if (status == MB_OK && thread == 0 &&
            /* + 1: of an empty file, 0 is not divided by 0 */
            !mb_train_report(job->options, "count words",
                             (double)(job->n_bytes_before + done) / (double)(job->n_bytes_in_all + 1))) {
            status = MB_ERROR_INTERRUPTED;
        }
        if (status != MB_OK) {
#pragma omp critical(mb_train_count_failure)
            {
                job->nul_at = job->status == MB_OK ? nul_at : job->nul_at;
                if (job->status == MB_OK) {
#pragma omp atomic write
                    job->status = status;
                }
            }
        }
    }
}

static mb_status count_file(file_job *job, worker *workers, mb_error *error) {
    size_t n_chunks;
    size_t *begins = cut(&job->map, &n_chunks);
    if (begins == NULL) {
        return mb_fail(error, MB_ERROR_MEMORY, "no memory to count the words of '%s'", job->path);
    }
    job->begins = begins;
    count_chunks(job, n_chunks, workers);
    free(begins);
    switch (job->status) {
    case MB_OK:
        return MB_OK;
    case MB_ERROR_FORMAT:
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': byte %zu is NUL, this is not a text file", job->path,
                       job->nul_at);
    case MB_ERROR_INTERRUPTED:
        return mb_fail(error, MB_ERROR_INTERRUPTED, "stopped while counting the words of '%s'", job->path);
    default:
        return mb_fail(error, MB_ERROR_MEMORY, "no memory to count the words of '%s'", job->path);
    }
}

/* --- all files --- */

static mb_status open_all(const mb_vocab_train_options *options, mb_map *maps, size_t *n_bytes, mb_error *error) {
    *n_bytes = 0;
    for (size_t i = 0; i < options->n_files; i++) {
        mb_status status = mb_map_open(options->files[i], &maps[i], error);
        if (status != MB_OK) {
            return status;
        }
        *n_bytes += maps[i].n_bytes;
    }
    return MB_OK;
}

/* Adds the tables of all threads into `table`; sums do not depend on who counted what. */
static bool join(worker *workers, int n_workers, mb_word_table *table) {
    *table = workers[0].table;
    workers[0].table = (mb_word_table){0};
    for (int i = 1; i < n_workers; i++) {
        const mb_word_table *part = &workers[i].table;
        for (size_t k = 0; k < part->n_slots; k++) {
            const mb_word_count *word = &part->slots[k];
            if (word->count > 0 && !mb_word_table_add(table, word->hash, (const unsigned char *)part->bytes.data + word->offset,
                                                      word->n_bytes, word->count)) {
                return false;
            }
        }
        mb_word_table_free(&workers[i].table);
    }
    return true;
}

static mb_status count_all(const mb_vocab_train_options *options, const mb_map *maps, size_t n_bytes, worker *workers,
                           mb_error *error) {
    size_t n_before = 0;
    for (size_t i = 0; i < options->n_files; i++) {
        file_job job = {.path = options->files[i],
                        .map = maps[i],
                        .options = options,
                        .n_bytes_before = n_before,
                        .n_bytes_in_all = n_bytes};
        mb_status status = count_file(&job, workers, error);
        if (status != MB_OK) {
            return status;
        }
        n_before += maps[i].n_bytes;
    }
    return MB_OK;
}

mb_status mb_train_count_words(const mb_vocab_train_options *options, const mb_charmap *charmap, mb_word_table *table,
                               mb_error *error) {
    int n_workers = mb_threads_count();
    mb_map *maps = calloc(options->n_files + 1, sizeof *maps);
    worker *workers = calloc((size_t)n_workers, sizeof *workers);
    bool has_memory = maps != NULL && workers != NULL;
    for (int i = 0; has_memory && i < n_workers; i++) {
        has_memory = mb_word_reader_set(&workers[i].reader, charmap, &options->config);
    }
    size_t n_bytes = 0;
    mb_status status = has_memory ? open_all(options, maps, &n_bytes, error) : MB_OK;
    if (has_memory && status == MB_OK) {
        status = count_all(options, maps, n_bytes, workers, error);
        has_memory = status != MB_OK || join(workers, n_workers, table);
    }
    for (int i = 0; workers != NULL && i < n_workers; i++) {
        mb_word_reader_free(&workers[i].reader);
        mb_word_table_free(&workers[i].table);
    }
    for (size_t i = 0; maps != NULL && i < options->n_files; i++) {
        mb_map_close(&maps[i]);
    }
    free(maps);
    free(workers);
    return has_memory ? status : mb_fail(error, MB_ERROR_MEMORY, "no memory to count words");
}
