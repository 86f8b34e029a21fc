/* The label names that a config owns. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "model/config.h"

static bool is_utf8(const char *text) {
    json_t *value = json_string(text);
    json_decref(value);
    return value != NULL;
}

static void free_labels(mb_model_config *config) {
    for (int32_t i = 0; config->labels && i < config->n_labels; i++) {
        free(config->labels[i]);
    }
    free(config->labels);
    config->labels = NULL;
    config->n_labels = 0;
}

mb_status mb_model_config_set_labels(mb_model_config *config, const char *const *labels, int32_t n_labels, mb_error *error) {
    if (n_labels < 0 || n_labels > MB_MAX_LABELS) {
        return mb_fail(error, MB_ERROR_USAGE, "there are %d labels, expected at most %d", n_labels, MB_MAX_LABELS);
    }
    char **copy = calloc((size_t)n_labels + 1, sizeof *copy);
    mb_status status = copy ? MB_OK : mb_fail(error, MB_ERROR_MEMORY, "out of memory copying %d labels", n_labels);
    for (int32_t i = 0; status == MB_OK && i < n_labels; i++) {
        if (!is_utf8(labels[i])) {
            status = mb_fail(error, MB_ERROR_FORMAT, "label %d ('%.40s') is not valid UTF-8", i, labels[i]);
        } else if (!(copy[i] = strdup(labels[i]))) {
            status = mb_fail(error, MB_ERROR_MEMORY, "out of memory copying %d labels", n_labels);
        }
    }
    if (status != MB_OK) {
        for (int32_t i = 0; copy && i < n_labels; i++) {
            free(copy[i]);
        }
        free(copy);
        return status;
    }
    free_labels(config);
    config->labels = copy;
    config->n_labels = n_labels;
    return MB_OK;
}

mb_status mb_model_config_copy(const mb_model_config *from, mb_model_config *to, mb_error *error) {
    *to = *from;
    to->labels = NULL;
    to->n_labels = 0;
    if (from->n_labels == 0) {
        return MB_OK;
    }
    return mb_model_config_set_labels(to, (const char *const *)from->labels, from->n_labels, error);
}

void mb_model_config_free(mb_model_config *config) {
    free_labels(config);
}
