/* JSON by jansson; here only what adds the file's name and the key to the error, and reading that survives want of memory. */
#ifndef MB_BASE_JSON_H
#define MB_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "minibert/status.h"

/* json_loadb and json_dumps, which must not be called themselves: json_memory.c says why.
 * Reading: MB_OK and a value that the caller owns; MB_ERROR_FORMAT and a `reason`, which may be NULL; or MB_ERROR_MEMORY. The
 * depth is bounded by jansson's 2048. Writing: malloc'ed; NULL without memory, or for a value that is no JSON. */
mb_status mb_json_parse(const char *text, size_t n_bytes, size_t flags, json_t **out, json_error_t *reason);
char *mb_json_text(const json_t *json, size_t flags);

/* Reads a JSON object from a file; the caller owns the reference (json_decref). */
mb_status mb_json_load(const char *path, json_t **out, mb_error *error);
/* Writes it indented by two spaces, keys in insertion order, atomically (base/file.h). */
mb_status mb_json_save(const char *path, const json_t *object, mb_error *error);

/* Optional typed members: an absent or null key leaves *out as it is; a wrong type or a number out of range is an error that
 * names `path` and `key`. */
mb_status mb_json_get_int(const json_t *object, const char *path, const char *key, int64_t min, int64_t max, int64_t *out,
                          mb_error *error);
mb_status mb_json_get_real(const json_t *object, const char *path, const char *key, double *out, mb_error *error);
mb_status mb_json_get_bool(const json_t *object, const char *path, const char *key, bool *out, mb_error *error);
/* The text stays owned by `object`. */
mb_status mb_json_get_text(const json_t *object, const char *path, const char *key, const char **out, mb_error *error);

#endif
