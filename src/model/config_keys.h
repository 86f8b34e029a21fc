/* Between config.c and config_modernbert.c: what the two layouts of config.json share, and what ModernBERT's adds. */
#ifndef MB_MODEL_CONFIG_KEYS_H
#define MB_MODEL_CONFIG_KEYS_H

#include "model/config.h"

/* --- config.c --- */
/* From model_type, "bert" where it is missing; another is MB_ERROR_FORMAT. */
mb_status mb_config_layout(const json_t *json, const char *path, mb_layout *out, mb_error *error);
mb_status mb_config_check_fraction(double value, const char *key, const char *source, mb_error *error);
mb_status mb_config_read_activation(const json_t *json, const char *path, const char *key, mb_activation *out, mb_error *error);
const char *mb_config_activation_name(mb_activation activation);
/* Takes the reference; false without memory, a NULL value included. */
bool mb_config_set(json_t *json, const char *key, json_t *value);

/* --- config_modernbert.c --- */
/* What ModernBertConfig has where a file says nothing. */
void mb_config_modern_defaults(mb_model_config *config);
/* All but the sizes, the initializer's range, the problem type and the labels. */
mb_status mb_config_read_modern(const json_t *json, const char *path, mb_model_config *config, mb_error *error);
mb_status mb_config_check_modern(const mb_model_config *config, const char *source, mb_error *error);
bool mb_config_write_modern(json_t *json, const mb_model_config *config);

#endif
