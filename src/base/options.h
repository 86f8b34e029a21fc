/* Option tables: one table per task is the truth for flags, config keys, --help, defaults and the stored configuration.
 *
 * A task declares a plain struct and, next to it, a table that names each field once:
 *
 *     typedef struct mb_embed_options { const char *model; int64_t max_length; bool normalize; } mb_embed_options;
 *     const mb_option mb_embed_option_table[] = {
 *         {"model", MB_OPTION_TEXT, offsetof(mb_embed_options, model), NULL, "DIR", "the model directory", .required = true},
 *         {"max-length", MB_OPTION_INT, offsetof(mb_embed_options, max_length), "256", "N", "...", .min = 3, .max = 8192},
 *         {"normalize", MB_OPTION_BOOL, offsetof(mb_embed_options, normalize), "false", NULL, "..."},
 *         {0},
 *     };
 */
#ifndef MB_BASE_OPTIONS_H
#define MB_BASE_OPTIONS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "minibert/status.h"

typedef enum mb_option_type {
    MB_OPTION_INT = 1,   /* int64_t; suffixes k, M, G (powers of ten): "100k", "1.5M" */
    MB_OPTION_REAL,      /* double; must be finite */
    MB_OPTION_SECONDS,   /* double; suffixes s, m, h: "30s", "30m", "2h"; a bare number is seconds */
    MB_OPTION_BOOL,      /* bool; a flag without value is true; --flag=false and --no-flag are false */
    MB_OPTION_TEXT,      /* const char *, NULL when not given; owned by the option set */
    MB_OPTION_TEXT_LIST, /* mb_text_list; the flag takes one or more arguments, and repeats add */
    MB_OPTION_CHOICE,    /* int: the index in .choices */
    MB_OPTION_INT_LIST,  /* mb_int_list: "-1,-2,-3" */
} mb_option_type;

typedef struct mb_text_list {
    const char **items;
    size_t n;
} mb_text_list;

typedef struct mb_int_list {
    int64_t items[64];
    size_t n;
} mb_int_list;

/* The first six fields stand in the order in which tables give them. */
typedef struct mb_option { /* NOLINT(clang-analyzer-optin.performance.Padding) */
    const char *name;      /* with '-' between words; '_' is accepted in its place */
    mb_option_type type;
    size_t offset;              /* of the field in the task's struct */
    const char *default_text;   /* parsed like user input; NULL: zero / NULL / empty */
    const char *argument;       /* "N", "FILE", "DIR" in --help; NULL for flags and choices */
    const char *help;           /* one line */
    const char *const *choices; /* for CHOICE, NULL terminated */
    double min, max;            /* inclusive bounds for numbers; max <= min: no upper bound; both 0: no bounds at all */
    bool required;
    bool positional;    /* takes the arguments that follow the flags (TEXT or TEXT_LIST; at most one per table) */
    bool exclusive_min; /* the value must be greater than min, not equal (then min = max = 0 bounds too: above 0) */
} mb_option;

/* Where the current values came from and the memory behind texts and lists. */
typedef struct mb_option_set {
    const mb_option *const *tables; /* NULL terminated list of tables, e.g. the task's and the common one */
    void *const *targets;           /* the struct that each table's offsets refer to */
    bool *given;                    /* per option, in table order: set by the user or a config file */
    void **owned;                   /* malloc'ed texts and arrays */
    size_t n_owned;
} mb_option_set;

/* Binds tables to their structs and writes every default. */
mb_status mb_option_set_init(mb_option_set *set, const mb_option *const *tables, void *const *targets, mb_error *error);
void mb_option_set_free(mb_option_set *set);
/* argv without program and subcommand. "--flag value", "--flag=value" and "-flag value" are the same; "--" ends the flags. A
 * value may not begin with "-" and a letter, unless written --flag=value. An unknown flag names the closest known one. If a
 * table has "config", a "--config FILE" is read first; the command line wins. Checks types, bounds, choices and required
 * options: what the user got wrong is MB_ERROR_USAGE, a configuration file that cannot be read or parsed is what
 * mb_json_load says. */
mb_status mb_option_set_parse(mb_option_set *set, int argc, char *const *argv, mb_error *error);
/* Another default for an option of a known name: written unless the user gave a value. */
mb_status mb_option_set_default(mb_option_set *set, const char *name, const char *text, mb_error *error);
/* Whether the user gave this option (command line or config file). */
bool mb_option_set_given(const mb_option_set *set, const char *name);
/* The resolved configuration: every option as a JSON member. New reference; NULL without memory. */
json_t *mb_option_set_to_json(const mb_option_set *set);
/* The --help text of the tables, one option a line with live defaults; malloc'ed. */
char *mb_option_set_help(const mb_option_set *set);

#endif
