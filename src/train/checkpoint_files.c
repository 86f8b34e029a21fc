#include "train/checkpoint_files.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

const char *const mb_checkpoint_file_names[] = {"config.json", "model.safetensors", "optimizer.safetensors", NULL};

/* A directory being written, and one being replaced, carry these in front of their names. */
static const char *const temporary_prefixes[] = {".new-", ".old-"};

char *mb_checkpoint_path(const char *out_dir, const char *prefix, int64_t step) {
    char *path = NULL;
    return asprintf(&path, "%s/checkpoints/%sstep-%08" PRId64, out_dir, prefix, step) < 0 ? NULL : path;
}

/* The step in "step-NNNNNNNN"; -1 for any other name. */
static int64_t step_of_name(const char *name) {
    enum { PREFIX = 5, MIN_DIGITS = 8, MAX_DIGITS = 18 };
    size_t digits = strncmp(name, "step-", PREFIX) == 0 ? strspn(name + PREFIX, "0123456789") : 0;
    if (digits < MIN_DIGITS || digits > MAX_DIGITS || name[PREFIX + digits] != '\0') {
        return -1;
    }
    return strtoll(name + PREFIX, NULL, 10);
}

static int newest_first(const void *a, const void *b) {
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left < right) - (left > right);
}

/* Calls `visit` with every name in OUT/checkpoints; a directory that does not exist has none. */
static mb_status each_name(const char *out_dir, mb_status (*visit)(void *user, const char *name, mb_error *error), void *user,
                           mb_error *error) {
    char *path = mb_path_join(out_dir, "checkpoints");
    if (path == NULL) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    mb_status status = MB_OK;
    DIR *dir = opendir(path);
    if (dir == NULL && errno != ENOENT) {
        status = mb_fail(error, MB_ERROR_IO, "cannot read '%s': %s", path, strerror(errno));
    }
    while (dir != NULL && status == MB_OK) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            if (errno != 0) {
                status = mb_fail(error, MB_ERROR_IO, "cannot read '%s': %s", path, strerror(errno));
            }
            break;
        }
        status = visit(user, entry->d_name, error);
    }
    if (dir != NULL) {
        closedir(dir);
    }
    free(path);
    return status;
}

typedef struct step_list {
    int64_t *steps;
    size_t n;
} step_list;

static mb_status collect_step(void *user, const char *name, mb_error *error) {
    step_list *list = user;
    int64_t step = step_of_name(name);
    if (step < 0) {
        return MB_OK;
    }
    int64_t *grown = reallocarray(list->steps, list->n + 1, sizeof *grown);
    if (grown == NULL) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    list->steps = grown;
    list->steps[list->n++] = step;
    return MB_OK;
}

mb_status mb_checkpoint_list(const char *out_dir, int64_t **steps, size_t *n, mb_error *error) {
    step_list list = {0};
    mb_status status = each_name(out_dir, collect_step, &list, error);
    if (status != MB_OK) {
        free(list.steps);
        return status;
    }
    if (list.n > 0) {
        qsort(list.steps, list.n, sizeof *list.steps, newest_first);
    }
    *steps = list.steps;
    *n = list.n;
    return MB_OK;
}

mb_status mb_checkpoint_count(const char *out_dir, size_t *n, mb_error *error) {
    int64_t *steps = NULL;
    mb_status status = mb_checkpoint_list(out_dir, &steps, n, error);
    free(steps);
    return status;
}

static mb_status sweep_name(void *user, const char *name, mb_error *error) {
    const char *out_dir = user;
    for (size_t i = 0; i < sizeof temporary_prefixes / sizeof *temporary_prefixes; i++) {
        size_t n_bytes = strlen(temporary_prefixes[i]);
        if (strncmp(name, temporary_prefixes[i], n_bytes) == 0 && step_of_name(name + n_bytes) >= 0) {
            char *path = mb_checkpoint_path(out_dir, temporary_prefixes[i], step_of_name(name + n_bytes));
            mb_status status = path == NULL ? mb_fail(error, MB_ERROR_MEMORY, "out of memory") : mb_path_remove(path, error);
            free(path);
            return status;
        }
    }
    return MB_OK;
}

mb_status mb_checkpoint_sweep(const char *out_dir, mb_error *error) {
    return each_name(out_dir, sweep_name, (void *)(uintptr_t)out_dir, error);
}

/* --- state.json --- */

static json_t *hex(uint64_t number) {
    return json_sprintf("%016" PRIx64, number);
}

/* The checksum of state.json itself, without the member that holds it. */
static mb_status hash_object(json_t *object, uint64_t *out, mb_error *error) {
    char *text = mb_json_text(object, JSON_COMPACT | JSON_SORT_KEYS);
    if (text == NULL) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    *out = mb_hash_bytes(text, strlen(text));
    free(text);
    return MB_OK;
}

static mb_status hash_file(const char *dir, const char *name, uint64_t *n_bytes, uint64_t *hash, mb_error *error) {
    char *path = mb_path_join(dir, name);
    if (path == NULL) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    const mb_status status = mb_file_hash(path, n_bytes, hash, error);
    free(path);
    return status;
}

static mb_status describe_files(const char *dir, json_t *files, mb_error *error) {
    for (const char *const *name = mb_checkpoint_file_names; *name != NULL; name++) {
        uint64_t n_bytes = 0, hash = 0;
        mb_status status = hash_file(dir, *name, &n_bytes, &hash, error);
        if (status != MB_OK) {
            return status;
        }
        json_t *file = json_pack("{s:I, s:o}", "bytes", (json_int_t)n_bytes, "xxh64", hex(hash));
        if (file == NULL || json_object_set_new(files, *name, file) != 0) {
            return mb_fail(error, MB_ERROR_MEMORY, "out of memory");
        }
    }
    return MB_OK;
}

static json_t *unrecorded_to_json(const mb_train_state *state) {
    return json_pack("{s:f, s:I, s:I, s:I}", "loss_sum", state->unrecorded.loss_sum, "targets",
                     (json_int_t)state->unrecorded.n_targets, "correct", (json_int_t)state->unrecorded.n_correct, "steps",
                     (json_int_t)state->unrecorded.n_steps);
}

static json_t *loss_watch_to_json(const mb_loss_watch *watch) {
    return json_pack("{s:f, s:f, s:I, s:I}", "first_sum", watch->first_sum, "recent", watch->recent, "steps",
                     (json_int_t)watch->n_steps, "above", (json_int_t)watch->n_above);
}

mb_status mb_checkpoint_seal(const char *dir, const mb_train_state *state, mb_error *error) {
    char *path = mb_path_join(dir, "state.json");
    json_t *files = json_object();
    json_t *object = json_pack("{s:s, s:I, s:I, s:I, s:f, s:f, s:o, s:o, s:o, s:o, s:o, s:O}", "format",
                               "minibert checkpoint 1", "step", (json_int_t)state->step, "tokens_seen",
                               (json_int_t)state->n_tokens_seen, "batches", (json_int_t)state->n_batches, "elapsed_seconds",
                               state->elapsed_seconds, "progress", state->progress, "unrecorded", unrecorded_to_json(state),
                               "loss_watch", loss_watch_to_json(&state->loss_watch), "seed", hex(state->seed), "corpus",
                               hex(state->corpus_fingerprint), "tokenizer", hex(state->tokenizer_fingerprint), "files", files);
    mb_status status = MB_OK;
    char *text = NULL;
    uint64_t hash = 0;
    if (path == NULL || files == NULL || object == NULL) {
        status = mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    status = status == MB_OK ? describe_files(dir, files, error) : status;
    status = status == MB_OK ? hash_object(object, &hash, error) : status;
    if (status == MB_OK &&
        (json_object_set_new(object, "xxh64", hex(hash)) != 0 || (text = mb_json_text(object, JSON_INDENT(2))) == NULL)) {
        status = mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    /* Not mb_json_save: elapsed_seconds must come back to the last bit, or the checksum would not hold. */
    status = status == MB_OK ? mb_file_write(path, text, strlen(text), error) : status;
    free(text);
    json_decref(files);
    json_decref(object);
    free(path);
    return status;
}

static mb_status get_hex(const json_t *object, const char *path, const char *key, uint64_t *out, mb_error *error) {
    const char *text = json_string_value(json_object_get(object, key));
    char *end = NULL;
    if (text == NULL || strlen(text) != 16 || (*out = strtoull(text, &end, 16), *end != '\0')) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': '%s' is not 16 hexadecimal digits", path, key);
    }
    return MB_OK;
}

static mb_status check_own_hash(json_t *object, const char *path, mb_error *error) {
    uint64_t stored = 0, actual = 0;
    mb_status status = get_hex(object, path, "xxh64", &stored, error);
    if (status != MB_OK) {
        return status;
    }
    json_object_del(object, "xxh64");
    status = hash_object(object, &actual, error);
    if (status == MB_OK && stored != actual) {
        status = mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': its checksum does not hold, the file was changed", path);
    }
    return status;
}

static mb_status check_files(const json_t *files, const char *dir, const char *state_path, mb_error *error) {
    for (const char *const *name = mb_checkpoint_file_names; *name != NULL; name++) {
        const json_t *entry = json_object_get(files, *name);
        uint64_t wanted_hash = 0, n_bytes = 0, hash = 0;
        int64_t wanted_bytes = -1;
        if (entry == NULL) {
            return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': it does not mention '%s'", state_path, *name);
        }
        mb_status status = mb_json_get_int(entry, state_path, "bytes", 0, INT64_MAX, &wanted_bytes, error);
        status = status == MB_OK ? get_hex(entry, state_path, "xxh64", &wanted_hash, error) : status;
        status = status == MB_OK ? hash_file(dir, *name, &n_bytes, &hash, error) : status;
        if (status != MB_OK) {
            return status;
        }
        if (wanted_bytes < 0 || n_bytes != (uint64_t)wanted_bytes || hash != wanted_hash) {
            return mb_fail(error, MB_ERROR_FORMAT, "cannot use '%s/%s': its checksum does not hold, the file is damaged", dir,
                           *name);
        }
    }
    return MB_OK;
}

static mb_status read_count(const json_t *object, const char *path, const char *key, int64_t *out, mb_error *error) {
    return mb_json_get_int(object, path, key, 0, INT64_C(1) << 53, out, error); /* room to go on counting */
}

static mb_status read_sums(const json_t *object, const char *path, mb_train_state *state, mb_error *error) {
    const json_t *sums = json_object_get(object, "unrecorded"), *watch = json_object_get(object, "loss_watch");
    mb_status status = mb_json_get_real(sums, path, "loss_sum", &state->unrecorded.loss_sum, error);
    status = status == MB_OK ? read_count(sums, path, "targets", &state->unrecorded.n_targets, error) : status;
    status = status == MB_OK ? read_count(sums, path, "correct", &state->unrecorded.n_correct, error) : status;
    status = status == MB_OK ? read_count(sums, path, "steps", &state->unrecorded.n_steps, error) : status;
    status = status == MB_OK ? mb_json_get_real(watch, path, "first_sum", &state->loss_watch.first_sum, error) : status;
    status = status == MB_OK ? mb_json_get_real(watch, path, "recent", &state->loss_watch.recent, error) : status;
    status = status == MB_OK ? read_count(watch, path, "steps", &state->loss_watch.n_steps, error) : status;
    return status == MB_OK ? read_count(watch, path, "above", &state->loss_watch.n_above, error) : status;
}

/* Checkpoints did not always say. */
static mb_status read_batches(const json_t *object, const char *path, mb_train_state *state, mb_error *error) {
    state->n_batches = -1;
    return json_object_get(object, "batches") == NULL ? MB_OK : read_count(object, path, "batches", &state->n_batches, error);
}

static mb_status read_state(const json_t *object, const char *path, mb_train_state *state, mb_error *error) {
    mb_status status = mb_json_get_int(object, path, "step", 0, INT64_C(1) << 40, &state->step, error);
    status = status == MB_OK ? read_count(object, path, "tokens_seen", &state->n_tokens_seen, error) : status;
    status = status == MB_OK ? read_batches(object, path, state, error) : status;
    status = status == MB_OK ? mb_json_get_real(object, path, "elapsed_seconds", &state->elapsed_seconds, error) : status;
    status = status == MB_OK ? mb_json_get_real(object, path, "progress", &state->progress, error) : status;
    status = status == MB_OK ? read_sums(object, path, state, error) : status;
    status = status == MB_OK ? get_hex(object, path, "seed", &state->seed, error) : status;
    status = status == MB_OK ? get_hex(object, path, "corpus", &state->corpus_fingerprint, error) : status;
    return status == MB_OK ? get_hex(object, path, "tokenizer", &state->tokenizer_fingerprint, error) : status;
}

mb_status mb_checkpoint_verify(const char *dir, mb_train_state *state, mb_error *error) {
    char *path = mb_path_join(dir, "state.json");
    if (path == NULL) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    json_t *object = NULL;
    mb_train_state read = {0};
    mb_status status = mb_json_load(path, &object, error);
    status = status == MB_OK ? check_own_hash(object, path, error) : status;
    status = status == MB_OK ? check_files(json_object_get(object, "files"), dir, path, error) : status;
    status = status == MB_OK ? read_state(object, path, &read, error) : status;
    if (status == MB_OK) {
        *state = read;
    }
    json_decref(object);
    free(path);
    return status;
}
