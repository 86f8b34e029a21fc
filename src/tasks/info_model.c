#include "tasks/info_model.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "tasks/text_model.h"

static mb_status out_of_memory(mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the description");
}

/* As config.json names it; the name stays owned by `json`. */
static const char *activation_name(const json_t *json, mb_layout layout) {
    const char *name = json_string_value(json_object_get(json, layout == MB_LAYOUT_BERT ? "hidden_act" : "hidden_activation"));
    return name ? name : "?";
}

/* What is not as in BERT. */
static bool describe_parts(mb_buffer *out, const mb_model_config *c) {
    if (c->layout == MB_LAYOUT_BERT) {
        return true;
    }
    int32_t n_local = 0;
    for (int32_t i = 0; i < c->n_layers; i++) {
        n_local += c->is_local[i];
    }
    return mb_buffer_printf(
        out,
        "               gated feed-forward, rotary positions (base %g, local %g), norms before the sub-layers\n"
        "               %d layers see the whole text, %d the %d tokens on either side\n",
        c->global_theta, c->local_theta, c->n_layers - n_local, n_local, c->local_attention / 2);
}

static bool describe_config(mb_buffer *out, const mb_model_config *c, mb_head head) {
    const char *architecture = mb_head_architecture(c->layout, head);
    json_t *json = mb_model_config_to_json(c, architecture);
    bool fine = mb_buffer_printf(out, "architecture   %s\n", architecture) &&
                mb_buffer_printf(out, "encoder        %d layers, %d wide, %d heads of %d, feed-forward %d (%s), %d positions\n",
                                 c->n_layers, c->hidden_size, c->n_heads, c->hidden_size / c->n_heads, c->intermediate_size,
                                 activation_name(json, c->layout), c->max_positions) &&
                describe_parts(out, c);
    json_decref(json);
    if (c->n_labels > 0) {
        fine = fine && mb_buffer_printf(out, "labels         %d:", c->n_labels);
        for (int32_t i = 0; fine && i < c->n_labels && i < 20; i++) {
            fine = mb_buffer_printf(out, "%s %s", i ? "," : "", c->labels[i]);
        }
        fine = fine && mb_buffer_append_text(out, c->n_labels > 20 ? ", ...\n" : "\n");
    }
    return fine;
}

/* The part of the model that a view belongs to: its name up to what differs inside a layer. */
static size_t part_length(const char *name) {
    static const char *const layers[] = {"bert.encoder.layer.", "model.layers."};
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        const size_t length = strlen(layers[i]);
        if (strncmp(name, layers[i], length) == 0) {
            return length + strspn(name + length, "0123456789");
        }
    }
    const char *dot = strchr(name, '.');
    if (dot && strncmp(name, "classifier", 10) != 0) {
        const char *second = strchr(dot + 1, '.');
        return second ? (size_t)(second - name) : (size_t)(dot - name);
    }
    return dot ? (size_t)(dot - name) : strlen(name);
}

static bool describe_view(mb_buffer *out, const mb_param *view) {
    char shape[64];
    if (view->n_dims == 2) {
        snprintf(shape, sizeof shape, "(%" PRId64 ",%" PRId64 ")", view->dims[0], view->dims[1]);
    } else {
        snprintf(shape, sizeof shape, "(%" PRId64 ")", view->dims[0]);
    }
    return mb_buffer_printf(out, "  %12" PRId64 "  %-16s %s\n", view->count, shape, view->name);
}

static bool describe_params(mb_buffer *out, const mb_params *params, bool tensors) {
    bool fine = mb_buffer_printf(out, "parameters     %" PRId64 "\n", mb_params_n_weights(params));
    for (size_t i = 0, next; fine && i < params->n_views; i = next) {
        next = i + 1;
        if (tensors) {
            fine = describe_view(out, &params->views[i]);
            continue;
        }
        const char *name = params->views[i].name;
        const size_t length = part_length(name);
        int64_t count = params->views[i].count;
        while (next < params->n_views && part_length(params->views[next].name) == length &&
               strncmp(params->views[next].name, name, length) == 0) {
            count += params->views[next++].count;
        }
        fine = mb_buffer_printf(out, "  %12" PRId64 "  %.*s\n", count, (int)length, name);
    }
    return fine;
}

static bool describe_vocabulary(mb_buffer *out, const mb_tokenizer *tokenizer) {
    const mb_tokenizer_config *c = mb_tokenizer_get_config(tokenizer);
    return mb_buffer_printf(out, "vocabulary     %zu wordpieces, %s%s, texts up to %d tokens\n",
                            mb_tokenizer_vocab_size(tokenizer), c->do_lower_case ? "lower case" : "cased",
                            c->tokenize_chinese_chars ? ", Chinese by character" : "", c->model_max_length);
}

/* "key value" pairs of an object's plain members, in order. */
static bool describe_members(mb_buffer *out, const char *title, const json_t *object) {
    bool fine = mb_buffer_printf(out, "%-15s", title);
    const char *key, *separator = "";
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        if (!fine || json_is_null(value) || json_is_object(value) || json_is_array(value)) {
            continue;
        }
        char *text = mb_json_text(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
        fine = text && mb_buffer_printf(out, "%s%s %s", separator, key, text);
        free(text);
        separator = ", ";
    }
    return fine && mb_buffer_append_text(out, "\n");
}

/* training.json, where minibert trained the model. */
static mb_status describe_training(mb_buffer *out, const char *dir, mb_error *error) {
    char *path = mb_path_join(dir, "training.json");
    if (!path) {
        return out_of_memory(error);
    }
    json_t *record = NULL;
    mb_status status = mb_path_exists(path) ? mb_json_load(path, &record, error) : MB_OK;
    free(path);
    if (status != MB_OK || !record) {
        return status;
    }
    bool fine = describe_members(out, "training", record);
    const json_t *configuration = json_object_get(record, "configuration"), *result = json_object_get(record, "result");
    fine = fine && (!json_is_object(configuration) || describe_members(out, "options", configuration));
    fine = fine && (json_is_object(result) ? describe_members(out, "result", result)
                                           : mb_buffer_append_text(out, "result         none: the run did not end\n"));
    json_decref(record);
    return fine ? MB_OK : out_of_memory(error);
}

mb_status mb_info_model(const char *dir, bool tensors, mb_buffer *out, mb_error *error) {
    mb_head head;
    mb_status status = mb_model_detect_head(dir, &head, error);
    mb_text_model m = {0};
    if (status == MB_OK) {
        status = mb_text_model_load(dir, head, NULL, &m, error);
    }
    if (status != MB_OK) {
        return status;
    }
    const bool fine = describe_config(out, mb_model_get_config(m.model), head) &&
                      describe_params(out, mb_model_params(m.model), tensors) && describe_vocabulary(out, m.tokenizer);
    mb_text_model_free(&m);
    return fine ? describe_training(out, dir, error) : out_of_memory(error);
}
