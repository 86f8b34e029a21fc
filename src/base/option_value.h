/* Private to base/options*.c: one option's value from text, and back. */
#ifndef MB_BASE_OPTION_VALUE_H
#define MB_BASE_OPTION_VALUE_H

#include "base/options.h"

/* Calls for every option of every table: `index` counts over all tables, in order. */
typedef struct mb_option_iterator {
    const mb_option *option; /* NULL at the end */
    void *target;            /* the struct its offset refers to */
    size_t index;
    size_t table; /* number of the table */
} mb_option_iterator;
mb_option_iterator mb_option_first(const mb_option_set *set);
void mb_option_advance(const mb_option_set *set, mb_option_iterator *it);

/* Name comparison in which '-' and '_' are equal. `n` characters of `name` must be all of `option`. */
bool mb_option_name_equals(const char *option, const char *name, size_t n);

/* Keeps a malloc'ed block until mb_option_set_free; false (and the block freed) without memory. */
bool mb_option_own(mb_option_set *set, void *block);

/* Parses `text` as one value of the option, checks it and stores it; a TEXT_LIST gets one more item. `label` names the
 * option in messages: "--lr", or "'run.json': lr". */
mb_status mb_option_store(mb_option_set *set, const mb_option *option, void *target, const char *label, const char *text,
                          mb_error *error);

#endif
