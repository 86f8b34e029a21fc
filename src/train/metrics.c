#include "train/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

struct mb_metrics {
    FILE *file;
    char *path;
};

/* Appends a line to `kept`, unless it is a record of a step that will be made again, or half a line. */
static mb_status keep(const char *line, size_t n_bytes, int64_t resumed_step, mb_buffer *kept) {
    json_t *record = NULL;
    if (mb_json_parse(line, n_bytes, 0, &record, NULL) == MB_ERROR_MEMORY) {
        return MB_ERROR_MEMORY;
    }
    const json_t *step = json_object_get(record, "step");
    const bool stale = record == NULL || (json_is_integer(step) && json_integer_value(step) > resumed_step);
    json_decref(record);
    return stale || mb_buffer_append(kept, line, n_bytes) ? MB_OK : MB_ERROR_MEMORY;
}

/* Rewrites the file with the records that stay. */
static mb_status drop_stale_records(const char *path, int64_t resumed_step, mb_error *error) {
    mb_buffer text = {0}, kept = {0};
    mb_status status = mb_file_read(path, &text, error);
    for (size_t begin = 0; status == MB_OK && begin < text.n_bytes;) {
        const char *line = text.data + begin;
        const char *newline = memchr(line, '\n', text.n_bytes - begin);
        size_t n_bytes = newline != NULL ? (size_t)(newline - line) + 1 : text.n_bytes - begin;
        if (newline != NULL && keep(line, n_bytes, resumed_step, &kept) != MB_OK) {
            status = mb_fail(error, MB_ERROR_MEMORY, "cannot read '%s': out of memory", path);
        }
        begin += n_bytes;
    }
    if (status == MB_OK) {
        status = mb_file_write(path, kept.data != NULL ? kept.data : "", kept.n_bytes, error);
    }
    mb_buffer_free(&text);
    mb_buffer_free(&kept);
    return status;
}

mb_status mb_metrics_open(const char *dir, int64_t resumed_step, mb_metrics **out, mb_error *error) {
    mb_metrics *metrics = calloc(1, sizeof *metrics);
    char *path = mb_path_join(dir, "metrics.jsonl");
    if (metrics == NULL || path == NULL) {
        free(metrics);
        free(path);
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    metrics->path = path;
    mb_status status = MB_OK;
    if (resumed_step >= 0 && mb_path_exists(path)) {
        status = drop_stale_records(path, resumed_step, error);
    }
    if (status == MB_OK) {
        metrics->file = fopen(path, resumed_step >= 0 ? "ae" : "we");
        if (metrics->file == NULL) {
            status = mb_fail(error, MB_ERROR_IO, "cannot write '%s': %s", path, strerror(errno));
        }
    }
    if (status != MB_OK) {
        free(metrics->path);
        free(metrics);
        return status;
    }
    *out = metrics;
    return MB_OK;
}

mb_status mb_metrics_append(mb_metrics *metrics, const json_t *record, mb_error *error) {
    char *line = mb_json_text(record, JSON_COMPACT | JSON_REAL_PRECISION(9));
    if (line == NULL) {
        return mb_fail(error, MB_ERROR_MEMORY, "cannot write '%s': out of memory", metrics->path);
    }
    bool written = fprintf(metrics->file, "%s\n", line) > 0 && fflush(metrics->file) == 0;
    free(line);
    return written ? MB_OK : mb_fail(error, MB_ERROR_IO, "cannot write '%s': %s", metrics->path, strerror(errno));
}

mb_status mb_metrics_close(mb_metrics *metrics, mb_error *error) {
    mb_status status = MB_OK;
    if (metrics != NULL) {
        if (fclose(metrics->file) != 0) {
            status = mb_fail(error, MB_ERROR_IO, "cannot write '%s': %s", metrics->path, strerror(errno));
        }
        free(metrics->path);
        free(metrics);
    }
    return status;
}
