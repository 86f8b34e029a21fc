#include "base/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

mb_status mb_json_load(const char *path, json_t **out, mb_error *error) {
    mb_buffer text = {0};
    mb_status status = mb_file_read(path, &text, error);
    if (status != MB_OK) {
        mb_buffer_free(&text);
        return status;
    }
    json_error_t where;
    json_t *root = NULL;
    status = mb_json_parse(text.data == NULL ? "" : text.data, text.n_bytes, JSON_REJECT_DUPLICATES, &root, &where);
    mb_buffer_free(&text);
    if (status == MB_ERROR_MEMORY) {
        return mb_fail(error, MB_ERROR_MEMORY, "cannot read '%s': out of memory", path);
    }
    if (root == NULL) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': line %d is not valid JSON: %s", path, where.line, where.text);
    }
    if (!json_is_object(root)) {
        json_decref(root);
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': expected a JSON object", path);
    }
    *out = root;
    return MB_OK;
}

mb_status mb_json_save(const char *path, const json_t *object, mb_error *error) {
    char *text = mb_json_text(object, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    if (text == NULL) {
        return mb_fail(error, MB_ERROR_MEMORY, "cannot write '%s': out of memory", path);
    }
    mb_writer *writer = NULL;
    mb_status status = mb_writer_open(path, &writer, error);
    if (status == MB_OK) {
        mb_writer_write(writer, text, strlen(text));
        mb_writer_write(writer, "\n", 1);
        status = mb_writer_commit(writer, error);
    }
    free(text);
    return status;
}

/* The member, or NULL when absent or null: then the caller's default stays. */
static const json_t *member(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

mb_status mb_json_get_int(const json_t *object, const char *path, const char *key, int64_t min, int64_t max, int64_t *out,
                          mb_error *error) {
    const json_t *value = member(object, key);
    if (value == NULL) {
        return MB_OK;
    }
    if (!json_is_integer(value)) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': '%s' is not an integer", path, key);
    }
    int64_t number = json_integer_value(value);
    if (number < min || number > max) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': '%s' is %lld, expected %lld to %lld", path, key,
                       (long long)number, (long long)min, (long long)max);
    }
    *out = number;
    return MB_OK;
}

mb_status mb_json_get_real(const json_t *object, const char *path, const char *key, double *out, mb_error *error) {
    const json_t *value = member(object, key);
    if (value == NULL) {
        return MB_OK;
    }
    if (!json_is_number(value) || !isfinite(json_number_value(value))) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': '%s' is not a finite number", path, key);
    }
    *out = json_number_value(value);
    return MB_OK;
}

mb_status mb_json_get_bool(const json_t *object, const char *path, const char *key, bool *out, mb_error *error) {
    const json_t *value = member(object, key);
    if (value == NULL) {
        return MB_OK;
    }
    if (!json_is_boolean(value)) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': '%s' is not true or false", path, key);
    }
    *out = json_is_true(value);
    return MB_OK;
}

mb_status mb_json_get_text(const json_t *object, const char *path, const char *key, const char **out, mb_error *error) {
    const json_t *value = member(object, key);
    if (value == NULL) {
        return MB_OK;
    }
    if (!json_is_string(value)) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': '%s' is not a text", path, key);
    }
    *out = json_string_value(value);
    return MB_OK;
}
