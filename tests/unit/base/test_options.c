#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/nearest.h"
#include "base/options.h"

static const char *const colours[] = {"red", "green", "blue", NULL};

typedef struct paint {
    int64_t coats;
    double gloss, drying;
    bool matt, primer;
    const char *room;
    mb_text_list files, words;
    int colour;
    mb_int_list layers;
} paint;

static const mb_option paint_table[] = {
    {.name = "coats",
     .type = MB_OPTION_INT,
     .offset = offsetof(paint, coats),
     .default_text = "2",
     .argument = "N",
     .help = "coats",
     .min = 1,
     .max = 1e9},
    {.name = "gloss-rate",
     .type = MB_OPTION_REAL,
     .offset = offsetof(paint, gloss),
     .default_text = "0.5",
     .argument = "X",
     .help = "shine",
     .exclusive_min = true},
    {.name = "drying",
     .type = MB_OPTION_SECONDS,
     .offset = offsetof(paint, drying),
     .default_text = "30m",
     .argument = "TIME",
     .help = "time between coats"},
    {.name = "matt", .type = MB_OPTION_BOOL, .offset = offsetof(paint, matt), .help = "no shine at all"},
    {.name = "primer",
     .type = MB_OPTION_BOOL,
     .offset = offsetof(paint, primer),
     .default_text = "true",
     .help = "a first coat of primer"},
    {.name = "room",
     .type = MB_OPTION_TEXT,
     .offset = offsetof(paint, room),
     .argument = "ROOM",
     .help = "which room",
     .required = true},
    {.name = "files",
     .type = MB_OPTION_TEXT_LIST,
     .offset = offsetof(paint, files),
     .default_text = "plan",
     .argument = "FILE",
     .help = "plans"},
    {.name = "words",
     .type = MB_OPTION_TEXT_LIST,
     .offset = offsetof(paint, words),
     .argument = "WORD",
     .help = "what to write",
     .positional = true},
    {0},
};

typedef struct extra {
    int colour;
    mb_int_list layers;
    const char *config;
} extra;

static const mb_option extra_table[] = {
    {.name = "colour",
     .type = MB_OPTION_CHOICE,
     .offset = offsetof(extra, colour),
     .default_text = "green",
     .choices = colours,
     .help = "the colour"},
    {.name = "layers",
     .type = MB_OPTION_INT_LIST,
     .offset = offsetof(extra, layers),
     .default_text = "-1",
     .argument = "I,J",
     .help = "layers"},
    {.name = "config",
     .type = MB_OPTION_TEXT,
     .offset = offsetof(extra, config),
     .argument = "FILE",
     .help = "a configuration"},
    {0},
};

static paint p;
static extra e;
static mb_option_set set;
static mb_error error;
static const mb_option *const tables[] = {paint_table, extra_table, NULL};
static void *const targets[] = {&p, &e};

enum { MAX_ARGUMENTS = 20 };

/* Parses a NULL-terminated argument list from the defaults. */
static mb_status parse(const char *const *arguments) {
    mb_option_set_free(&set);
    p = (paint){0};
    e = (extra){0};
    error.message[0] = '\0';
    cr_assert_eq(mb_option_set_init(&set, tables, targets, &error), MB_OK, "%s", error.message);
    char *argv[MAX_ARGUMENTS];
    int argc = 0;
    for (; arguments[argc]; argc++) {
        argv[argc] = (char *)(uintptr_t)arguments[argc];
    }
    return mb_option_set_parse(&set, argc, argv, &error);
}
#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})

static void finish(void) {
    mb_option_set_free(&set);
}

TestSuite(options, .fini = finish);

Test(options, defaults_are_parsed_like_user_input) {
    cr_assert_eq(PARSE("--room", "hall"), MB_OK, "%s", error.message);
    cr_expect_eq(p.coats, 2);
    cr_expect_eq(p.gloss, 0.5);
    cr_expect_eq(p.drying, 1800);
    cr_expect(!p.matt && p.primer);
    cr_expect_eq(e.colour, 1);
    cr_expect(e.layers.n == 1 && e.layers.items[0] == -1);
    cr_expect(p.files.n == 1 && p.words.n == 0);
    cr_expect(mb_option_set_given(&set, "room") && !mb_option_set_given(&set, "coats"));
}

Test(options, spellings_of_a_flag_are_equal) {
    static const char *const spellings[][3] = {{"--gloss-rate", "0.25"},
                                               {"--gloss_rate", "0.25"},
                                               {"--gloss-rate=0.25"},
                                               {"--gloss_rate=.25"},
                                               {"-gloss-rate", "2.5e-1"}};
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        const char *arguments[] = {"--room=x", spellings[i][0], spellings[i][1], NULL};
        cr_assert_eq(parse(arguments), MB_OK, "%s", error.message);
        cr_expect_eq(p.gloss, 0.25);
    }
}

Test(options, numbers_take_suffixes) {
    static const struct {
        const char *text;
        int64_t value;
    } counts[] = {{"7", 7}, {"100k", 100000}, {"1.5M", 1500000}, {"1e3", 1000}, {"1G", 1000000000}, {"+4", 4}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        cr_assert_eq(PARSE("--room=x", "--coats", counts[i].text), MB_OK, "%s", error.message);
        cr_expect_eq(p.coats, counts[i].value, "%s", counts[i].text);
    }
    static const struct {
        const char *text;
        double value;
    } times[] = {{"90", 90}, {"30s", 30}, {"1.5m", 90}, {"2h", 7200}};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        cr_assert_eq(PARSE("--room=x", "--drying", times[i].text), MB_OK, "%s", error.message);
        cr_expect_eq(p.drying, times[i].value, "%s", times[i].text);
    }
}

Test(options, bools) {
    cr_assert_eq(PARSE("--room=x", "--matt", "--no-primer"), MB_OK, "%s", error.message);
    cr_expect(p.matt && !p.primer);
    cr_assert_eq(PARSE("--room=x", "--matt=false", "--primer=yes"), MB_OK, "%s", error.message);
    cr_expect(!p.matt && p.primer);
    cr_assert_eq(PARSE("--room=x", "--no_matt"), MB_OK, "%s", error.message);
    cr_expect(!p.matt && mb_option_set_given(&set, "matt"));
}

Test(options, lists_eat_what_follows_and_repeats_add) {
    cr_assert_eq(PARSE("--files", "a", "-", "-1", "--room", "x", "--files=b"), MB_OK, "%s", error.message);
    cr_assert_eq(p.files.n, 4);
    cr_expect_str_eq(p.files.items[0], "a");
    cr_expect_str_eq(p.files.items[1], "-");
    cr_expect_str_eq(p.files.items[2], "-1");
    cr_expect_str_eq(p.files.items[3], "b");
    cr_assert_eq(PARSE("--layers", "-1,-2,3", "--room=x"), MB_OK, "%s", error.message);
    cr_expect(e.layers.n == 3 && e.layers.items[1] == -2 && e.layers.items[2] == 3);
}

Test(options, positionals_mix_with_flags) {
    cr_assert_eq(PARSE("one", "--room", "x", "two", "--", "--three"), MB_OK, "%s", error.message);
    cr_assert_eq(p.words.n, 3);
    cr_expect_str_eq(p.words.items[2], "--three");
}

Test(options, wrong_usage_names_the_option) {
    static const struct {
        const char *arguments[4];
        const char *message; /* part of it */
    } cases[] = {
        {{"--rom", "x"}, "unknown option '--rom'; did you mean '--room'?"},
        {{"--zzzzz", "x"}, "unknown option '--zzzzz'"},
        {{"--no-room"}, "unknown option '--no-room'"},
        {{"--no-matt=true"}, "unknown option '--no-matt'"},
        {{"--coats", "2"}, "--room ROOM is missing: which room"},
        {{"--room=x", "--coats", "0"}, "--coats must be at least 1 and at most 1000000000, not '0'"},
        {{"--room=x", "--coats", "2.5"}, "--coats must be a whole number"},
        {{"--room=x", "--coats", "99999999999999999999"}, "--coats must be a whole number"},
        {{"--room=x", "--coats", "0x10"}, "--coats must be a whole number"},
        {{"--room=x", "--coats", ""}, "--coats must be a whole number"},
        {{"--room=x", "--coats", "2m"}, "--coats must be a whole number"},
        {{"--room=x", "--coats"}, "--coats needs a value: N"},
        {{"--room=x", "--coats", "--matt"}, "--coats needs a value: N"},
        {{"--room=x", "--gloss-rate", "nan"}, "--gloss-rate must be a finite number, not 'nan'"},
        {{"--room=x", "--gloss-rate", "inf"}, "--gloss-rate must be a finite number, not 'inf'"},
        {{"--room=x", "--gloss-rate", "1e999"}, "--gloss-rate must be a finite number"},
        {{"--room=x", "--gloss-rate", "1x"}, "--gloss-rate must be a finite number"},
        {{"--room=x", "--gloss-rate", "0"}, "--gloss-rate must be greater than 0, not '0'"},
        {{"--room=x", "--drying", "5d"}, "--drying must be a time such as 90s, 30m or 2h, not '5d'"},
        {{"--room=x", "--matt=maybe"}, "--matt must be true or false, not 'maybe'"},
        {{"--room=x", "--colour", "gren"}, "--colour must be one of red, green, blue, not 'gren'; did you mean 'green'?"},
        {{"--room=x", "--layers", "1,,2"}, "--layers must be whole numbers joined by commas"},
        {{"--room=x", "--layers", "1,"}, "--layers must be whole numbers joined by commas"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_expect_eq(parse(cases[i].arguments), MB_ERROR_USAGE, "case %zu", i);
        cr_expect(strstr(error.message, cases[i].message), "case %zu: '%s' lacks '%s'", i, error.message, cases[i].message);
    }
}

/* Writes a configuration file; the path stays valid until the next call. */
static const char *config_file(const char *json) {
    static char path[] = "/tmp/minibert-test-options-XXXXXX";
    memcpy(path + sizeof path - 7, "XXXXXX", 6);
    const int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, json, strlen(json)), (ssize_t)strlen(json));
    cr_assert_eq(close(fd), 0);
    return path;
}

Test(options, config_file_gives_values_and_the_command_line_wins) {
    const char *path =
        config_file("{\"coats\": \"3k\", \"gloss_rate\": 0.125, \"drying\": 60, \"matt\": true, \"room\": \"attic\","
                    " \"files\": [\"f\", \"g\"], \"layers\": [-1, 2], \"colour\": \"blue\", \"primer\": null}");
    cr_assert_eq(PARSE("--gloss-rate", "0.75", "--config", path, "--files", "h"), MB_OK, "%s", error.message);
    cr_expect_eq(p.coats, 3000);
    cr_expect_eq(p.gloss, 0.75);
    cr_expect_eq(p.drying, 60);
    cr_expect(p.matt && p.primer);
    cr_expect_str_eq(p.room, "attic");
    cr_expect(p.files.n == 1 && strcmp(p.files.items[0], "h") == 0, "the command line's list replaces the file's");
    cr_expect(e.layers.n == 2 && e.layers.items[1] == 2);
    cr_expect_eq(e.colour, 2);
    cr_assert_eq(PARSE("--config", path), MB_OK, "%s", error.message);
    cr_expect(p.files.n == 2 && strcmp(p.files.items[1], "g") == 0);
    cr_expect(mb_option_set_given(&set, "coats"));
    remove(path);
}

Test(options, config_file_errors_name_the_file) {
    static const struct {
        const char *json, *message;
        mb_status status;
    } cases[] = {
        {"{\"coat\": 3}", "unknown key 'coat'; did you mean 'coats'?", MB_ERROR_USAGE},
        {"{\"config\": \"x\"}", "unknown key 'config'", MB_ERROR_USAGE},
        {"{\"coats\": true}", "coats must be a whole number", MB_ERROR_USAGE},
        {"{\"coats\": -1}", "coats must be at least 1", MB_ERROR_USAGE},
        {"{\"coats\": [1]}", "coats has a value of the wrong type", MB_ERROR_USAGE},
        {"{\"room\": 5}", "room has a value of the wrong type", MB_ERROR_USAGE},
        {"{\"files\": [1]}", "files has a value of the wrong type", MB_ERROR_USAGE},
        {"{\"layers\": [1.5]}", "layers has a value of the wrong type", MB_ERROR_USAGE},
        {"{\"coats\": {}}", "coats has a value of the wrong type", MB_ERROR_USAGE},
        {"{\"coats\": ", "", MB_ERROR_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = config_file(cases[i].json);
        cr_expect_eq(PARSE("--room=x", "--config", path), cases[i].status, "case %zu: %s", i, error.message);
        cr_expect(strstr(error.message, cases[i].message), "case %zu: '%s'", i, error.message);
        cr_expect(strstr(error.message, path), "case %zu: '%s' lacks the path", i, error.message);
        remove(path);
    }
    cr_expect_eq(PARSE("--room=x", "--config", "/nonexistent/run.json"), MB_ERROR_IO);
}

Test(options, json_of_the_resolved_options_reads_back_as_the_same) {
    cr_assert_eq(PARSE("--room", "h\"all", "--files", "a", "b", "--layers=4,5", "--matt", "--colour=blue", "--coats=5", "w"),
                 MB_OK);
    json_t *json = mb_option_set_to_json(&set);
    cr_assert_not_null(json);
    json_object_del(json, "config");
    char *text = json_dumps(json, 0);
    const char *path = config_file(text);
    cr_assert_eq(PARSE("--config", path), MB_OK, "%s", error.message);
    cr_expect_str_eq(p.room, "h\"all");
    cr_expect_eq(p.coats, 5);
    json_t *again = mb_option_set_to_json(&set);
    json_object_del(again, "config");
    cr_expect(json_equal(json, again));
    remove(path);
    free(text);
    json_decref(json);
    json_decref(again);
}

Test(options, help_lists_every_option_with_its_default) {
    cr_assert_eq(PARSE("--room=x"), MB_OK);
    char *help = mb_option_set_help(&set);
    cr_assert_not_null(help);
    static const char *const parts[] = {"--coats N ",
                                        "coats [2]\n",
                                        "--gloss-rate X",
                                        "[0.5]",
                                        "time between coats [30m]",
                                        "--matt ",
                                        "--no-primer",
                                        "--room ROOM",
                                        "which room (required)",
                                        "--files FILE...",
                                        "WORD...",
                                        "--colour red|green|blue",
                                        "the colour [green]"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        cr_expect(strstr(help, parts[i]), "the help lacks '%s':\n%s", parts[i], help);
    }
    size_t column = 0; /* the texts begin in one column */
    static const char *const texts[] = {"coats [2]", "shine [0.5]", "which room", "the colour [green]"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *at = strstr(help, texts[i]), *line = at;
        cr_assert_not_null(at);
        while (line > help && line[-1] != '\n') {
            line--;
        }
        cr_expect(column == 0 || column == (size_t)(at - line));
        column = (size_t)(at - line);
    }
    free(help);
}

Test(nearest, finds_typing_errors_only) {
    static const char *const names[] = {"pretrain", "finetune", NULL, "embed", "info"};
    cr_expect_str_eq(mb_nearest_name("pretain", names, 5), "pretrain");
    cr_expect_str_eq(mb_nearest_name("fientune", names, 5), "finetune");
    cr_expect_str_eq(mb_nearest_name("emebd", names, 5), "embed");
    cr_expect_null(mb_nearest_name("skipgram", names, 5));
    cr_expect_null(mb_nearest_name("", names, 5));
    char wide[300];
    memset(wide, 'a', sizeof wide - 1);
    wide[sizeof wide - 1] = '\0';
    cr_expect_null(mb_nearest_name(wide, names, 5));
}
