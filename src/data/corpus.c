#include "data/corpus.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "data/corpus_scan.h"
#include "data/corpus_tokenize.h"
#include "data/map_release.h"
#include "data/shard.h"
#include "data/text_check.h"

static mb_status out_of_memory(mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "cannot prepare the corpus: out of memory");
}

static mb_status interrupted(mb_error *error) {
    return mb_fail(error, MB_ERROR_INTERRUPTED, "stopped while reading the corpus; nothing was kept");
}

static mb_status report(const mb_job *job, const char *phase, uint64_t done, uint64_t total, mb_error *error) {
    mb_job_progress(job, &(mb_progress){.phase = phase,
                                        .unit = "bytes",
                                        .done = (int64_t)done,
                                        .total = (int64_t)total,
                                        .loss = NAN,
                                        .learning_rate = NAN,
                                        .tokens_per_second = NAN,
                                        .elapsed_seconds = NAN,
                                        .eta_seconds = NAN});
    if (mb_job_should_stop(job)) {
        return interrupted(error);
    }
    return MB_OK;
}

static uint64_t total_bytes_of(const mb_map *maps, size_t n_maps) {
    uint64_t total = 0;
    for (size_t i = 0; i < n_maps; i++) {
        total += maps[i].n_bytes;
    }
    return total;
}

/* What the shard depends on, and nothing else: not the files' names or dates. */
static mb_status fingerprint_corpus(const mb_map *maps, size_t n_maps, const mb_tokenizer *tokenizer,
                                    const mb_corpus_options *options, const mb_job *job, uint64_t *out, mb_error *error) {
    const uint64_t total = total_bytes_of(maps, n_maps);
    uint64_t done = 0;
    const uint64_t key[] = {MB_SHARD_VERSION, (uint64_t)options->split | (uint64_t)options->dedup << 8,
                            mb_tokenizer_fingerprint(tokenizer), n_maps};
    mb_hash hash;
    mb_hash_begin(&hash);
    mb_hash_add(&hash, key, sizeof(key));
    for (size_t i = 0; i < n_maps; i++) {
        mb_hash content;
        mb_hash_begin(&content);
        for (size_t at = 0; at < maps[i].n_bytes; at += MB_MAP_BLOCK_BYTES) {
            const size_t n = maps[i].n_bytes - at < MB_MAP_BLOCK_BYTES ? maps[i].n_bytes - at : MB_MAP_BLOCK_BYTES;
            mb_hash_add(&content, maps[i].data + at, n);
            mb_map_release(&maps[i], at, at + n);
            done += n;
            mb_status status = report(job, "fingerprint", done, total, error);
            if (status != MB_OK) {
                return status;
            }
        }
        const uint64_t file[] = {maps[i].n_bytes, mb_hash_end(&content)};
        mb_hash_add(&hash, file, sizeof(file));
    }
    *out = mb_hash_end(&hash);
    return MB_OK;
}

/* 1-based line of an offset. */
static uint64_t line_of(const mb_map *map, uint64_t offset) {
    uint64_t line = 1;
    for (uint64_t i = 0; i < offset; i++) {
        line += map->data[i] == '\n';
    }
    return line;
}

/* Refuses what is not UTF-8 text before any work is done on it. */
static mb_status check_files(const mb_map *maps, const mb_corpus_options *options, const mb_job *job, mb_error *error) {
    const uint64_t total = total_bytes_of(maps, options->n_files);
    uint64_t done = 0;
    for (size_t i = 0; i < options->n_files; i++) {
        const char *path = options->files[i];
        mb_text_check check = {0};
        for (size_t at = 0; at < maps[i].n_bytes;) {
            const size_t to = maps[i].n_bytes - at < MB_MAP_BLOCK_BYTES ? maps[i].n_bytes : at + MB_MAP_BLOCK_BYTES;
            const size_t from = at;
            at = mb_text_check_range(maps[i].data, maps[i].n_bytes, from, to, &check);
            mb_map_release(&maps[i], from, at);
            mb_status status = report(job, "check", done + at, total, error);
            if (status != MB_OK) {
                return status;
            }
            if (check.n_nul > 0) {
                return mb_fail(error, MB_ERROR_FORMAT,
                               "cannot read '%s': line %" PRIu64
                               " holds a NUL byte, so it is no text file (UTF-8 text is expected)",
                               path, line_of(&maps[i], check.first_nul));
            }
        }
        done += maps[i].n_bytes;
        if (check.n_malformed > maps[i].n_bytes / 100) {
            return mb_fail(error, MB_ERROR_FORMAT,
                           "cannot read '%s': %.0f%% of its bytes are not UTF-8, the first in line %" PRIu64
                           "; convert it, e.g. with iconv -t UTF-8",
                           path, ceil(100.0 * (double)check.n_malformed / (double)maps[i].n_bytes),
                           line_of(&maps[i], check.first_malformed));
        }
        if (check.n_malformed > 0) {
            mb_job_message(job, MB_LEVEL_WARNING, "'%s': %" PRIu64 " bytes are not UTF-8, the first in line %" PRIu64, path,
                           check.n_malformed, line_of(&maps[i], check.first_malformed));
        }
    }
    return MB_OK;
}

static mb_status make_shard(const mb_map *maps, const mb_corpus_options *options, const mb_tokenizer *tokenizer,
                            const mb_job *job, uint64_t fingerprint, const char *path, mb_error *error) {
    mb_status status = check_files(maps, options, job, error);
    if (status != MB_OK) {
        return status;
    }
    mb_corpus_tokenize_options tokenize = {
        .maps = maps, .n_maps = options->n_files, .split = options->split, .dedup = options->dedup};
    if (options->split != MB_SPLIT_ALL && !mb_held_out_limit(maps, options->n_files, job, &tokenize.held_out_limit)) {
        return interrupted(error);
    }
    mb_shard_writer *writer = NULL;
    status = mb_dir_make(options->cache_dir, error);
    if (status == MB_OK) {
        status = mb_shard_writer_open(path, fingerprint, (uint32_t)mb_tokenizer_vocab_size(tokenizer), &writer, error);
    }
    if (status == MB_OK) {
        status = mb_corpus_tokenize(&tokenize, tokenizer, job, writer, error);
    }
    if (status == MB_OK && mb_shard_writer_n_tokens(writer) == 0) {
        const char *what = "there is no text in it";
        if (options->split == MB_SPLIT_TRAIN) {
            what = "it has too little text to hold out a part of it for validation; give more text, or a validation file";
        }
        status = mb_fail(error, MB_ERROR_FORMAT, "cannot use corpus '%s'%s: %s", options->files[0],
                         options->n_files > 1 ? " and the files after it" : "", what);
    }
    if (status != MB_OK) {
        mb_shard_writer_abort(writer);
        return status;
    }
    return mb_shard_writer_commit(writer, error);
}

/* Whether `path` holds a sound shard of this very corpus. */
static bool find_shard(const char *path, uint64_t fingerprint, size_t vocab_size, const mb_job *job) {
    if (!mb_path_exists(path)) {
        return false;
    }
    mb_shard shard;
    mb_error error;
    if (mb_shard_open(path, true, &shard, &error) != MB_OK) {
        mb_job_message(job, MB_LEVEL_WARNING, "%s (making it anew)", error.message);
        return false;
    }
    const bool found = shard.fingerprint == fingerprint && shard.vocab_size == vocab_size;
    mb_shard_close(&shard);
    if (!found) {
        mb_job_message(job, MB_LEVEL_WARNING, "'%s' was made from another corpus than its name says (making it anew)", path);
    }
    return found;
}

static mb_status prepare(const mb_map *maps, const mb_corpus_options *options, const mb_tokenizer *tokenizer, const mb_job *job,
                         char **shard_path, mb_error *error) {
    uint64_t fingerprint;
    mb_status status = fingerprint_corpus(maps, options->n_files, tokenizer, options, job, &fingerprint, error);
    if (status != MB_OK) {
        return status;
    }
    char name[40];
    snprintf(name, sizeof(name), "tokens-%016" PRIx64 ".shard", fingerprint);
    char *path = mb_path_join(options->cache_dir, name);
    if (path == NULL) {
        return out_of_memory(error);
    }
    if (!find_shard(path, fingerprint, mb_tokenizer_vocab_size(tokenizer), job)) {
        status = make_shard(maps, options, tokenizer, job, fingerprint, path, error);
        if (status != MB_OK) {
            free(path);
            return status;
        }
    }
    *shard_path = path;
    return MB_OK;
}

mb_status mb_corpus_prepare(const mb_corpus_options *options, const mb_tokenizer *tokenizer, const mb_job *job,
                            char **shard_path, mb_error *error) {
    *shard_path = NULL;
    if (options->n_files == 0) {
        return mb_fail(error, MB_ERROR_USAGE, "no corpus files were given");
    }
    mb_map *maps = calloc(options->n_files, sizeof(*maps));
    if (maps == NULL) {
        return out_of_memory(error);
    }
    mb_status status = MB_OK;
    for (size_t i = 0; i < options->n_files && status == MB_OK; i++) {
        status = mb_map_open(options->files[i], &maps[i], error);
    }
    if (status == MB_OK) {
        status = prepare(maps, options, tokenizer, job, shard_path, error);
    }
    for (size_t i = 0; i < options->n_files; i++) {
        mb_map_close(&maps[i]);
    }
    free(maps);
    return status;
}
