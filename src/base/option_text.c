/* What an option table says about itself: the resolved configuration as JSON, and the --help text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/option_value.h"
#include "base/options.h"

/* New reference; NULL without memory (or for text that is not UTF-8, which JSON cannot hold: written as null). */
static json_t *value_to_json(const mb_option *option, const void *field) {
    switch (option->type) {
    case MB_OPTION_INT:
        return json_integer(*(const int64_t *)field);
    case MB_OPTION_REAL:
    case MB_OPTION_SECONDS:
        return json_real(*(const double *)field);
    case MB_OPTION_BOOL:
        return json_boolean(*(const bool *)field);
    case MB_OPTION_CHOICE:
        return json_string(option->choices[*(const int *)field]);
    case MB_OPTION_TEXT: {
        const char *text = *(const char *const *)field;
        json_t *value = text ? json_string(text) : NULL;
        return value ? value : json_null();
    }
    case MB_OPTION_TEXT_LIST: {
        const mb_text_list *list = field;
        json_t *array = json_array();
        for (size_t i = 0; array && i < list->n; i++) {
            json_t *item = json_string(list->items[i]);
            if (json_array_append_new(array, item ? item : json_null()) != 0) {
                json_decref(array);
                return NULL;
            }
        }
        return array;
    }
    case MB_OPTION_INT_LIST: {
        const mb_int_list *list = field;
        json_t *array = json_array();
        for (size_t i = 0; array && i < list->n; i++) {
            if (json_array_append_new(array, json_integer(list->items[i])) != 0) {
                json_decref(array);
                return NULL;
            }
        }
        return array;
    }
    }
    return NULL;
}

json_t *mb_option_set_to_json(const mb_option_set *set) {
    json_t *object = json_object();
    if (!object) {
        return NULL;
    }
    for (mb_option_iterator it = mb_option_first(set); it.option; mb_option_advance(set, &it)) {
        json_t *value = value_to_json(it.option, (const char *)it.target + it.option->offset);
        if (json_object_set_new(object, it.option->name, value) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

/* --- help --- */

enum { HELP_MAX_COLUMN = 34, HELP_WIDTH = 110 };

/* "--pooling mean|cls|max", "--no-center", "TEXT..." */
static bool append_flag(mb_buffer *out, const mb_option *option) {
    /* "FILE..." for a list, whether the table spells the dots or not */
    const bool has_dots = option->argument && strstr(option->argument, "...");
    const bool list = option->type == MB_OPTION_TEXT_LIST && !has_dots;
    if (option->positional) {
        return mb_buffer_printf(out, "%s%s", option->argument ? option->argument : option->name, list ? "..." : "");
    }
    const bool on = option->type == MB_OPTION_BOOL && option->default_text && strcmp(option->default_text, "true") == 0;
    if (!mb_buffer_printf(out, "--%s%s", on ? "no-" : "", option->name)) {
        return false;
    }
    if (option->type == MB_OPTION_CHOICE) {
        for (size_t i = 0; option->choices[i]; i++) {
            if (!mb_buffer_printf(out, "%s%s", i ? "|" : " ", option->choices[i])) {
                return false;
            }
        }
        return true;
    }
    return !option->argument || mb_buffer_printf(out, " %s%s", option->argument, list ? "..." : "");
}

/* Columns that UTF-8 text takes, as far as our own help texts go: one a character. */
static size_t display_width(const char *text) {
    size_t n = 0;
    for (; *text; text++) {
        n += ((unsigned char)*text & 0xC0) != 0x80;
    }
    return n;
}

/* Words of `text` from `column` on, continued under it. */
static bool append_wrapped(mb_buffer *out, const char *text, size_t column) {
    size_t at = column;
    while (*text) {
        char word[160];
        const size_t length = strcspn(text, " ");
        snprintf(word, sizeof word, "%.*s", (int)length, text);
        const size_t width = display_width(word);
        if (at > column && at + 1 + width > HELP_WIDTH) {
            if (!mb_buffer_printf(out, "\n%*s", (int)column, "")) {
                return false;
            }
            at = column;
        }
        if (!mb_buffer_printf(out, "%s%s", at > column ? " " : "", word)) {
            return false;
        }
        at += width + (at > column ? 1 : 0);
        text += length;
        text += strspn(text, " ");
    }
    return mb_buffer_append_text(out, "\n");
}

static bool append_option(mb_buffer *out, const mb_option *option, size_t column) {
    mb_buffer text = {0};
    bool fine = append_flag(&text, option);
    const size_t width = fine ? display_width(text.data) : 0;
    fine = fine && mb_buffer_printf(out, "  %s", text.data);
    fine = fine && (width + 4 > column ? mb_buffer_printf(out, "\n%*s", (int)column, "")
                                       : mb_buffer_printf(out, "%*s", (int)(column - width - 2), ""));
    mb_buffer_clear(&text);
    fine = fine && mb_buffer_append_text(&text, option->help ? option->help : "");
    if (fine && option->required) {
        fine = mb_buffer_append_text(&text, " (required)");
    } else if (fine && option->default_text && option->type != MB_OPTION_BOOL) {
        fine = mb_buffer_printf(&text, " [%s]", option->default_text);
    } else if (fine && option->type == MB_OPTION_BOOL && option->default_text && strcmp(option->default_text, "true") == 0) {
        fine = mb_buffer_printf(&text, " [on unless this is given]");
    }
    fine = fine && append_wrapped(out, text.data, column);
    mb_buffer_free(&text);
    return fine;
}

char *mb_option_set_help(const mb_option_set *set) {
    mb_buffer out = {0}, flag = {0};
    size_t column = 0;
    bool fine = true;
    for (mb_option_iterator it = mb_option_first(set); fine && it.option; mb_option_advance(set, &it)) {
        mb_buffer_clear(&flag);
        fine = append_flag(&flag, it.option);
        const size_t width = fine ? display_width(flag.data) + 4 : 0;
        column = width <= HELP_MAX_COLUMN && width > column ? width : column;
    }
    size_t table = 0;
    for (mb_option_iterator it = mb_option_first(set); fine && it.option; mb_option_advance(set, &it)) {
        if (it.table != table && out.n_bytes) {
            fine = mb_buffer_append_text(&out, "\n");
        }
        table = it.table;
        fine = fine && append_option(&out, it.option, column);
    }
    mb_buffer_free(&flag);
    if (!fine) {
        mb_buffer_free(&out);
        return NULL;
    }
    return out.data ? out.data : strdup("");
}
