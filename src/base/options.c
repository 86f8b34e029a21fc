/* Option sets: defaults, the command line and the configuration file. Values are parsed in option_value.c; help and JSON are
 * in option_text.c. */
#include "base/options.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/nearest.h"
#include "base/option_value.h"

static mb_status out_of_memory(mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "out of memory while reading the options");
}

/* Steps over the ends of tables. */
static void settle(const mb_option_set *set, mb_option_iterator *it) {
    while (it->option && !it->option->name) {
        it->table++;
        it->option = set->tables[it->table];
        it->target = it->option ? set->targets[it->table] : NULL;
    }
}

mb_option_iterator mb_option_first(const mb_option_set *set) {
    mb_option_iterator it = {.option = set->tables[0], .target = set->tables[0] ? set->targets[0] : NULL};
    settle(set, &it);
    return it;
}

void mb_option_advance(const mb_option_set *set, mb_option_iterator *it) {
    it->option++;
    it->index++;
    settle(set, it);
}

bool mb_option_name_equals(const char *option, const char *name, size_t n) {
    if (strlen(option) != n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const char c = (char)(name[i] == '_' ? '-' : name[i]);
        if (option[i] != c) {
            return false;
        }
    }
    return true;
}

static mb_option_iterator find(const mb_option_set *set, const char *name, size_t n) {
    mb_option_iterator it = mb_option_first(set);
    while (it.option && !mb_option_name_equals(it.option->name, name, n)) {
        mb_option_advance(set, &it);
    }
    return it;
}

static mb_option_iterator find_positional(const mb_option_set *set) {
    mb_option_iterator it = mb_option_first(set);
    while (it.option && !it.option->positional) {
        mb_option_advance(set, &it);
    }
    return it;
}

static size_t count_options(const mb_option_set *set) {
    size_t n = 0;
    for (mb_option_iterator it = mb_option_first(set); it.option; mb_option_advance(set, &it)) {
        n++;
    }
    return n;
}

static mb_status unknown_option(const mb_option_set *set, const char *label, const char *prefix, const char *name,
                                size_t length, mb_error *error) {
    char wanted[80];
    snprintf(wanted, sizeof wanted, "%.*s", (int)(length < sizeof wanted ? length : sizeof wanted - 1), name);
    const size_t n = count_options(set);
    const char **names = calloc(n + 1, sizeof *names);
    if (!names) {
        return out_of_memory(error);
    }
    for (mb_option_iterator it = mb_option_first(set); it.option; mb_option_advance(set, &it)) {
        names[it.index] = it.option->name;
    }
    const char *near = mb_nearest_name(wanted, names, n);
    mb_fail(error, MB_ERROR_USAGE, "%s '%s%s'%s%s%s%s", label, prefix, wanted, near ? "; did you mean '" : "",
            near ? prefix : "", near ? near : "", near ? "'?" : "");
    free(names);
    return MB_ERROR_USAGE;
}

mb_status mb_option_set_init(mb_option_set *set, const mb_option *const *tables, void *const *targets, mb_error *error) {
    *set = (mb_option_set){.tables = tables, .targets = targets};
    set->given = calloc(count_options(set) + 1, sizeof *set->given);
    if (!set->given) {
        return out_of_memory(error);
    }
    for (mb_option_iterator it = mb_option_first(set); it.option; mb_option_advance(set, &it)) {
        if (!it.option->default_text) {
            continue;
        }
        const mb_status status = mb_option_store(set, it.option, it.target, it.option->name, it.option->default_text, error);
        if (status != MB_OK) {
            mb_option_set_free(set);
            return status;
        }
    }
    return MB_OK;
}

void mb_option_set_free(mb_option_set *set) {
    for (size_t i = 0; i < set->n_owned; i++) {
        free(set->owned[i]);
    }
    free(set->owned);
    free(set->given);
    *set = (mb_option_set){0};
}

mb_status mb_option_set_default(mb_option_set *set, const char *name, const char *text, mb_error *error) {
    const mb_option_iterator it = find(set, name, strlen(name));
    assert(it.option && it.option->type != MB_OPTION_TEXT_LIST && it.option->type != MB_OPTION_INT_LIST);
    return set->given[it.index] ? MB_OK : mb_option_store(set, it.option, it.target, it.option->name, text, error);
}

bool mb_option_set_given(const mb_option_set *set, const char *name) {
    const mb_option_iterator it = find(set, name, strlen(name));
    return it.option && set->given[it.index];
}

/* --- the command line --- */

/* One run over the arguments. */
typedef struct parse {
    mb_option_set *set;
    bool config_only;        /* first run: find --config and pass over the rest */
    bool *here;              /* per option: given in this run, so that a list's first item replaces default or config */
    const char *config_path; /* the last --config seen */
} parse;

/* Also "-name", as older tools spell long options. A number ("-1") and a lone "-" (standard input) are values. */
static bool is_flag(const char *argument) {
    if (argument[0] != '-' || argument[1] == '\0') {
        return false;
    }
    return argument[1] == '-' || (argument[1] >= 'a' && argument[1] <= 'z') || (argument[1] >= 'A' && argument[1] <= 'Z');
}

static mb_status take(parse *p, mb_option_iterator it, const char *label, const char *text, mb_error *error) {
    if (p->config_only) {
        if (strcmp(it.option->name, "config") == 0 && it.option->type == MB_OPTION_TEXT) {
            p->config_path = text;
        }
        return MB_OK;
    }
    if (it.option->type == MB_OPTION_TEXT_LIST && !p->here[it.index]) {
        ((mb_text_list *)((char *)it.target + it.option->offset))->n = 0;
    }
    p->here[it.index] = true;
    p->set->given[it.index] = true;
    return mb_option_store(p->set, it.option, it.target, label, text, error);
}

/* One flag with its values; *i is its place in argv and ends at the last argument used. */
static mb_status take_flag(parse *p, int argc, char *const *argv, int *i, mb_error *error) {
    const char *argument = argv[*i];
    const char *name = argument + (argument[1] == '-' ? 2 : 1);
    const size_t length = strcspn(name, "=");
    const char *value = name[length] == '=' ? name + length + 1 : NULL;
    mb_option_iterator it = find(p->set, name, length);
    bool negated = false;
    if (!it.option && (strncmp(name, "no-", 3) == 0 || strncmp(name, "no_", 3) == 0)) {
        it = find(p->set, name + 3, length - 3);
        negated = true;
        if (it.option && (it.option->type != MB_OPTION_BOOL || value)) {
            it.option = NULL;
        }
    }
    if (!it.option) {
        return unknown_option(p->set, "unknown option", "--", name, length, error);
    }
    char label[80];
    snprintf(label, sizeof label, "--%s", it.option->name);
    if (it.option->type == MB_OPTION_BOOL) {
        const char *next = *i + 1 < argc ? argv[*i + 1] : "";
        if (!negated && !value && !find_positional(p->set).option && (strcmp(next, "0") == 0 || strcmp(next, "1") == 0)) {
            *i += 1; /* "-cbow 0", as older tools spell it: with no positional arguments it can be nothing else */
            value = next;
        }
        return take(p, it, label, negated ? "false" : value ? value : "true", error);
    }
    if (value) {
        return take(p, it, label, value, error);
    }
    if (*i + 1 >= argc || is_flag(argv[*i + 1])) {
        return mb_fail(error, MB_ERROR_USAGE, "%s needs a value%s%s", label, it.option->argument ? ": " : "",
                       it.option->argument ? it.option->argument : "");
    }
    mb_status status = MB_OK;
    do {
        *i += 1;
        status = take(p, it, label, argv[*i], error);
    } while (status == MB_OK && it.option->type == MB_OPTION_TEXT_LIST && *i + 1 < argc && !is_flag(argv[*i + 1]));
    return status;
}

static mb_status walk(parse *p, int argc, char *const *argv, mb_error *error) {
    const mb_option_iterator positional = find_positional(p->set);
    bool flags_ended = false;
    size_t n_positional = 0;
    for (int i = 0; i < argc; i++) {
        mb_status status = MB_OK;
        if (!flags_ended && strcmp(argv[i], "--") == 0) {
            flags_ended = true;
        } else if (!flags_ended && is_flag(argv[i])) {
            status = take_flag(p, argc, argv, &i, error);
        } else if (!positional.option || (positional.option->type == MB_OPTION_TEXT && n_positional == 1)) {
            status = mb_fail(error, MB_ERROR_USAGE, "unexpected argument '%s'", argv[i]);
        } else {
            n_positional++;
            status = take(p, positional, positional.option->argument ? positional.option->argument : positional.option->name,
                          argv[i], error);
        }
        if (status != MB_OK) {
            return status;
        }
    }
    return MB_OK;
}

/* --- the configuration file --- */

/* A JSON number or truth value as the text a user would have typed; NULL for any other value. */
static const char *json_scalar_text(const json_t *value, char *number, size_t number_bytes) {
    if (json_is_string(value)) {
        return json_string_value(value);
    }
    if (json_is_boolean(value)) {
        return json_is_true(value) ? "true" : "false";
    }
    if (json_is_integer(value)) {
        snprintf(number, number_bytes, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return number;
    }
    if (json_is_real(value)) {
        snprintf(number, number_bytes, "%.17g", json_real_value(value));
        return number;
    }
    return NULL;
}

static mb_status wrong_config_type(const char *label, mb_error *error) {
    return mb_fail(error, MB_ERROR_USAGE, "%s has a value of the wrong type", label);
}

static mb_status store_config_list(mb_option_set *set, mb_option_iterator it, const char *label, const json_t *array,
                                   mb_error *error) {
    if (it.option->type == MB_OPTION_INT_LIST) { /* as the text "1,2,3" */
        char joined[1024] = "";
        size_t used = 0;
        for (size_t i = 0; i < json_array_size(array); i++) {
            char number[48];
            const json_t *item = json_array_get(array, i);
            const char *text = json_is_integer(item) ? json_scalar_text(item, number, sizeof number) : NULL;
            if (!text || used + strlen(text) + 2 > sizeof joined) {
                return wrong_config_type(label, error);
            }
            used += (size_t)snprintf(joined + used, sizeof joined - used, "%s%s", i ? "," : "", text);
        }
        return mb_option_store(set, it.option, it.target, label, joined, error);
    }
    if (it.option->type != MB_OPTION_TEXT_LIST) {
        return wrong_config_type(label, error);
    }
    ((mb_text_list *)((char *)it.target + it.option->offset))->n = 0;
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *text = json_string_value(json_array_get(array, i));
        if (!text) {
            return wrong_config_type(label, error);
        }
        const mb_status status = mb_option_store(set, it.option, it.target, label, text, error);
        if (status != MB_OK) {
            return status;
        }
    }
    return MB_OK;
}

static mb_status store_config_value(mb_option_set *set, mb_option_iterator it, const char *label, const json_t *value,
                                    mb_error *error) {
    if (json_is_array(value)) {
        return store_config_list(set, it, label, value, error);
    }
    char number[48];
    const char *text = json_scalar_text(value, number, sizeof number);
    const bool wants_text = it.option->type == MB_OPTION_TEXT || it.option->type == MB_OPTION_TEXT_LIST;
    if (!text || (wants_text && !json_is_string(value))) {
        return wrong_config_type(label, error);
    }
    if (it.option->type == MB_OPTION_TEXT_LIST) {
        ((mb_text_list *)((char *)it.target + it.option->offset))->n = 0;
    }
    return mb_option_store(set, it.option, it.target, label, text, error);
}

static mb_status read_config(mb_option_set *set, const char *path, mb_error *error) {
    json_t *config = NULL;
    mb_status status = mb_json_load(path, &config, error);
    if (status != MB_OK) {
        return status;
    }
    char prefix[400];
    snprintf(prefix, sizeof prefix, "'%s': unknown key", path);
    const char *key;
    json_t *value;
    json_object_foreach(config, key, value) {
        const mb_option_iterator it = find(set, key, strlen(key));
        if (!it.option || strcmp(it.option->name, "config") == 0) {
            status = unknown_option(set, prefix, "", key, strlen(key), error);
        } else if (!json_is_null(value)) {
            char label[480];
            snprintf(label, sizeof label, "'%s': %s", path, it.option->name);
            set->given[it.index] = true;
            status = store_config_value(set, it, label, value, error);
        }
        if (status != MB_OK) {
            break;
        }
    }
    json_decref(config);
    return status;
}

static mb_status check_required(const mb_option_set *set, mb_error *error) {
    for (mb_option_iterator it = mb_option_first(set); it.option; mb_option_advance(set, &it)) {
        if (!it.option->required || set->given[it.index]) {
            continue;
        }
        const char *argument = it.option->argument ? it.option->argument : "";
        if (it.option->positional) {
            return mb_fail(error, MB_ERROR_USAGE, "%s is missing: %s", *argument ? argument : it.option->name, it.option->help);
        }
        return mb_fail(error, MB_ERROR_USAGE, "--%s%s%s is missing: %s", it.option->name, *argument ? " " : "", argument,
                       it.option->help);
    }
    return MB_OK;
}

mb_status mb_option_set_parse(mb_option_set *set, int argc, char *const *argv, mb_error *error) {
    parse p = {.set = set, .config_only = true};
    mb_status status = walk(&p, argc, argv, error);
    if (status == MB_OK && p.config_path) {
        status = read_config(set, p.config_path, error);
    }
    if (status != MB_OK) {
        return status;
    }
    p.config_only = false;
    p.here = calloc(count_options(set) + 1, sizeof *p.here);
    if (!p.here) {
        return out_of_memory(error);
    }
    status = walk(&p, argc, argv, error);
    free(p.here);
    return status == MB_OK ? check_required(set, error) : status;
}
