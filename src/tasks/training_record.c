#include "tasks/training_record.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "tasks/machine.h"

static mb_status out_of_memory(mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "out of memory");
}

mb_status mb_training_record_new(const char *command, int64_t seed, const json_t *configuration, json_t **out,
                                 mb_error *error) {
    json_t *record = json_pack("{s:s, s:s, s:I}", "minibert", MINIBERT_VERSION, "command", command, "seed", (json_int_t)seed);
    json_t *copy = configuration != NULL ? json_deep_copy(configuration) : json_object();
    if (record == NULL || json_object_set_new(record, "configuration", copy) != 0 ||
        json_object_set_new(record, "machine", mb_machine_describe()) != 0) {
        json_decref(record);
        return out_of_memory(error);
    }
    *out = record;
    return MB_OK;
}

mb_status mb_training_record_add_files(json_t *record, const char *name, const char *const *files, size_t n_files,
                                       mb_error *error) {
    json_t *list = json_array();
    mb_status status = MB_OK;
    for (size_t i = 0; i < n_files && status == MB_OK; i++) {
        uint64_t n_bytes = 0, hash = 0;
        status = mb_file_hash(files[i], &n_bytes, &hash, error);
        if (status == MB_OK) {
            json_t *file = json_pack("{s:s, s:I, s:o}", "path", files[i], "bytes", (json_int_t)n_bytes, "xxh64",
                                     json_sprintf("%016" PRIx64, hash));
            status = json_array_append_new(list, file) == 0 ? MB_OK : out_of_memory(error);
        }
    }
    json_t *entry = json_pack("{s:O}", "files", list);
    json_decref(list);
    if (status != MB_OK) {
        json_decref(entry);
        return status;
    }
    return json_object_set_new(record, name, entry) == 0 ? MB_OK : out_of_memory(error);
}

mb_status mb_training_record_add_shard(json_t *record, const char *name, const mb_text_list *files, const mb_shard *shard,
                                       mb_error *error) {
    json_t *entry = json_pack("{s:o, s:I, s:I, s:I}", "fingerprint", json_sprintf("%016" PRIx64, shard->fingerprint), "tokens",
                              (json_int_t)shard->n_tokens, "lines", (json_int_t)shard->n_lines, "documents",
                              (json_int_t)shard->n_documents);
    json_t *paths = json_array();
    int failed = paths == NULL;
    for (size_t i = 0; i < files->n; i++) {
        failed |= json_array_append_new(paths, json_string(files->items[i]));
    }
    failed |= json_object_set_new(entry, "files", paths);
    failed |= json_object_set_new(record, name, entry);
    return failed ? out_of_memory(error) : MB_OK;
}

mb_status mb_training_record_save(const json_t *record, const char *dir, mb_error *error) {
    char *path = mb_path_join(dir, "training.json");
    mb_status status = path == NULL ? out_of_memory(error) : mb_json_save(path, record, error);
    free(path);
    return status;
}

/* Options that say where and how to show things, not what is computed. */
static bool changes_nothing(const char *key) {
    static const char *const keys[] = {"resume",    "dry-run", "config",    "threads", "quiet",
                                       "log-every", "out",     "cache-dir", NULL};
    for (const char *const *k = keys; *k != NULL; k++) {
        if (strcmp(*k, key) == 0) {
            return true;
        }
    }
    return false;
}

static void report_change(const char *key, const json_t *before, const json_t *now, const mb_job *job) {
    char *was = before != NULL ? mb_json_text(before, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(9)) : NULL;
    char *is = mb_json_text(now, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
    mb_job_message(job, MB_LEVEL_INFO, "--%s was %s before, from here on it is %s", key, was != NULL ? was : "not set",
                   is != NULL ? is : "another");
    free(was);
    free(is);
}

/* Not a wrong thing to do, but the reason if the last bits differ from those of a run that was not stopped. */
static void report_machine(const json_t *before, const json_t *now, const mb_job *job) {
    static const char *const keys[] = {"cpu", "compiler", "blas", "blas_kernel", "bf16_kernel", "libc", "utf8proc"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *was = json_string_value(json_object_get(before, keys[i]));
        const char *is = json_string_value(json_object_get(now, keys[i]));
        if (was != NULL && is != NULL && strcmp(was, is) != 0) {
            mb_job_message(job, MB_LEVEL_INFO,
                           "the run was begun with another %s ('%.80s', here '%.80s'): numbers may differ in their last bits",
                           keys[i], was, is);
        }
    }
}

static bool same_value(const json_t *a, const json_t *b) {
    if (json_is_number(a) && json_is_number(b)) { /* 1 and 1.0; and training.json keeps nine digits */
        double x = json_number_value(a), y = json_number_value(b), larger = x < 0 ? -x : x;
        return x - y <= 1e-8 * larger && y - x <= 1e-8 * larger;
    }
    return json_equal(a, b);
}

mb_status mb_training_record_report_changes(const char *dir, const json_t *configuration, const mb_job *job, mb_error *error) {
    char *path = mb_path_join(dir, "training.json");
    json_t *record = NULL;
    mb_status status = path == NULL ? out_of_memory(error) : mb_json_load(path, &record, error);
    free(path);
    if (status != MB_OK) {
        return status;
    }
    const json_t *before = json_object_get(record, "configuration");
    const char *key;
    json_t *now;
    json_object_foreach((json_t *)(uintptr_t)configuration, key, now) {
        if (!changes_nothing(key) && !same_value(json_object_get(before, key), now)) {
            report_change(key, json_object_get(before, key), now, job);
        }
    }
    json_t *machine = mb_machine_describe();
    report_machine(json_object_get(record, "machine"), machine, job);
    json_decref(machine);
    json_decref(record);
    return MB_OK;
}
