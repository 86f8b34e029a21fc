#include "base/option_value.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/nearest.h"

static mb_status out_of_memory(mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "out of memory while reading the options");
}

/* 10^3, 10^6, 10^9 for a suffix that ends the text, 1 for none, 0 for anything else. */
static double count_suffix(const char *end) {
    if (*end == '\0') {
        return 1;
    }
    if (end[1] != '\0') {
        return 0;
    }
    switch (*end) {
    case 'k':
    case 'K':
        return 1e3;
    case 'M':
        return 1e6;
    case 'G':
        return 1e9;
    default:
        return 0;
    }
}

static double time_suffix(const char *end) {
    if (*end == '\0' || strcmp(end, "s") == 0) {
        return 1;
    }
    if (strcmp(end, "m") == 0) {
        return 60;
    }
    return strcmp(end, "h") == 0 ? 3600 : 0;
}

static bool parse_real(const char *text, bool time, double *out) {
    char *end;
    const double value = strtod(text, &end);
    if (end == text || *text == ' ' || *text == '\t' || !isfinite(value)) {
        return false;
    }
    const double factor = time ? time_suffix(end) : count_suffix(end);
    *out = value * factor;
    return factor != 0 && isfinite(*out);
}

/* Plain digits are read exactly; with a suffix, a point or an exponent ("1.5M", "1e6") the product must be a whole number
 * that a double holds exactly. */
static bool parse_int(const char *text, int64_t *out) {
    const size_t sign = *text == '-' || *text == '+' ? 1 : 0;
    if (text[sign] != '\0' && text[sign + strspn(text + sign, "0123456789")] == '\0') {
        errno = 0;
        const long long value = strtoll(text, NULL, 10);
        *out = value;
        return errno == 0;
    }
    double value;
    if (strpbrk(text, "xX") || !parse_real(text, false, &value) || value != rint(value) || fabs(value) > 0x1p53) {
        return false;
    }
    *out = (int64_t)value;
    return true;
}

static mb_status check_bounds(const mb_option *option, const char *label, const char *text, double value, mb_error *error) {
    const bool bounded = option->min != 0 || option->max != 0 || option->exclusive_min;
    const bool has_max = option->max > option->min;
    if (!bounded ||
        ((option->exclusive_min ? value > option->min : value >= option->min) && !(has_max && value > option->max))) {
        return MB_OK;
    }
    if (!has_max) {
        return mb_fail(error, MB_ERROR_USAGE, "%s must be %s %.10g, not '%s'", label,
                       option->exclusive_min ? "greater than" : "at least", option->min, text);
    }
    return mb_fail(error, MB_ERROR_USAGE, "%s must be %s %.10g and at most %.10g, not '%s'", label,
                   option->exclusive_min ? "greater than" : "at least", option->min, option->max, text);
}

static mb_status store_bool(bool *field, const char *label, const char *text, mb_error *error) {
    static const char *const yes[] = {"true", "yes", "on", "1"}, *const no[] = {"false", "no", "off", "0"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *field = strcmp(text, yes[i]) == 0;
            return MB_OK;
        }
    }
    return mb_fail(error, MB_ERROR_USAGE, "%s must be true or false, not '%s'", label, text);
}

static mb_status store_choice(const mb_option *option, int *field, const char *label, const char *text, mb_error *error) {
    size_t n = 0;
    for (; option->choices[n]; n++) {
        if (strcmp(option->choices[n], text) == 0) {
            *field = (int)n;
            return MB_OK;
        }
    }
    mb_buffer list = {0};
    for (size_t i = 0; i < n; i++) {
        if (!mb_buffer_printf(&list, "%s%s", i ? ", " : "", option->choices[i])) {
            mb_buffer_free(&list);
            return out_of_memory(error);
        }
    }
    const char *near = mb_nearest_name(text, option->choices, n);
    mb_fail(error, MB_ERROR_USAGE, "%s must be one of %s, not '%s'%s%s%s", label, list.data ? list.data : "", text,
            near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    mb_buffer_free(&list);
    return MB_ERROR_USAGE;
}

static mb_status store_int_list(const mb_option *option, mb_int_list *field, const char *label, const char *text,
                                mb_error *error) {
    const size_t max = sizeof field->items / sizeof *field->items;
    mb_int_list list = {.n = 0};
    for (const char *item = text;; item++) {
        char number[32];
        const size_t length = strcspn(item, ",");
        if (length == 0 || length >= sizeof number) {
            return mb_fail(error, MB_ERROR_USAGE, "%s must be whole numbers joined by commas, not '%s'", label, text);
        }
        memcpy(number, item, length);
        number[length] = '\0';
        if (list.n == max) {
            return mb_fail(error, MB_ERROR_USAGE, "%s has more than %zu numbers", label, max);
        }
        if (!parse_int(number, &list.items[list.n])) {
            return mb_fail(error, MB_ERROR_USAGE, "%s must be whole numbers joined by commas, not '%s'", label, text);
        }
        const mb_status status = check_bounds(option, label, number, (double)list.items[list.n], error);
        if (status != MB_OK) {
            return status;
        }
        list.n++;
        item += length;
        if (*item == '\0') {
            break;
        }
    }
    *field = list;
    return MB_OK;
}

bool mb_option_own(mb_option_set *set, void *block) {
    void **owned = realloc(set->owned, (set->n_owned + 1) * sizeof *owned);
    if (!owned) {
        free(block);
        return false;
    }
    set->owned = owned;
    set->owned[set->n_owned++] = block;
    return true;
}

/* The array doubles whenever its length is a power of two; outgrown ones stay with the set until it is freed. */
static bool append_text(mb_option_set *set, mb_text_list *list, const char *text) {
    if (__builtin_popcountll(list->n) <= 1) {
        const char **items = calloc(list->n ? 2 * list->n : 1, sizeof *items);
        if (!items || !mb_option_own(set, items)) {
            return false;
        }
        if (list->n) {
            memcpy(items, list->items, list->n * sizeof *items);
        }
        list->items = items;
    }
    list->items[list->n++] = text;
    return true;
}

static mb_status store_number(const mb_option *option, void *field, const char *label, const char *text, mb_error *error) {
    double value;
    int64_t whole = 0;
    if (option->type == MB_OPTION_INT) {
        if (!parse_int(text, &whole)) {
            return mb_fail(error, MB_ERROR_USAGE, "%s must be a whole number (suffixes k, M, G), not '%s'", label, text);
        }
        value = (double)whole;
    } else if (!parse_real(text, option->type == MB_OPTION_SECONDS, &value)) {
        return mb_fail(error, MB_ERROR_USAGE,
                       option->type == MB_OPTION_SECONDS ? "%s must be a time such as 90s, 30m or 2h, not '%s'"
                                                         : "%s must be a finite number, not '%s'",
                       label, text);
    }
    const mb_status status = check_bounds(option, label, text, value, error);
    if (status == MB_OK && option->type == MB_OPTION_INT) {
        *(int64_t *)field = whole;
    } else if (status == MB_OK) {
        *(double *)field = value;
    }
    return status;
}

mb_status mb_option_store(mb_option_set *set, const mb_option *option, void *target, const char *label, const char *text,
                          mb_error *error) {
    void *field = (char *)target + option->offset;
    switch (option->type) {
    case MB_OPTION_INT:
    case MB_OPTION_REAL:
    case MB_OPTION_SECONDS:
        return store_number(option, field, label, text, error);
    case MB_OPTION_BOOL:
        return store_bool(field, label, text, error);
    case MB_OPTION_CHOICE:
        return store_choice(option, field, label, text, error);
    case MB_OPTION_INT_LIST:
        return store_int_list(option, field, label, text, error);
    case MB_OPTION_TEXT:
    case MB_OPTION_TEXT_LIST:
        break;
    }
    char *copy = strdup(text);
    if (!copy || !mb_option_own(set, copy)) {
        return out_of_memory(error);
    }
    if (option->type == MB_OPTION_TEXT) {
        *(const char **)field = copy;
    } else if (!append_text(set, field, copy)) {
        return out_of_memory(error);
    }
    return MB_OK;
}
