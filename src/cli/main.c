/* minibert COMMAND ...: finds the command, reads its options, runs it, and turns what came back into a message and an exit
 * code. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/nearest.h"
#include "base/threads.h"
#include "cli/cli.h"
#include "cli/signals.h"
#include "tensor/gemm_bf16.h"

/* In the order of a tour: text to tokens, to a model, to its uses. */
static const mb_command *const commands[] = {
    &mb_command_tokenizer_train,
    &mb_command_tokenizer_encode,
    &mb_command_tokenizer_decode,
    &mb_command_pretrain,
    &mb_command_finetune,
    &mb_command_evaluate,
    &mb_command_predict,
    &mb_command_embed,
    &mb_command_fill_mask,
    &mb_command_neighbors,
    &mb_command_senses,
    &mb_command_phrases,
    &mb_command_skipgram,
    &mb_command_similarity,
    &mb_command_analogy,
    &mb_command_info,
    &mb_command_check,
    NULL,
};
enum { N_COMMANDS = sizeof commands / sizeof *commands - 1 };

enum { EXIT_USAGE = 2, EXIT_SIGNAL = 128 };

enum { PRECISION_AUTO, PRECISION_FP32, PRECISION_BF16 };
static const char *const precision_names[] = {"auto", "fp32", "bf16", NULL};

#define FIELD(name) offsetof(mb_common_options, name)
const mb_option mb_common_option_table[] = {
    {.name = "threads",
     .type = MB_OPTION_INT,
     .offset = FIELD(threads),
     .default_text = "0",
     .argument = "N",
     .help = "threads to use; 0: as many as the machine has cores",
     .min = 0,
     .max = 4096},
    {.name = "seed",
     .type = MB_OPTION_INT,
     .offset = FIELD(seed),
     .default_text = "1",
     .argument = "N",
     .help = "the same seed, data and options give the same result",
     .min = 0,
     .max = 0x1p53},
    {.name = "precision",
     .type = MB_OPTION_CHOICE,
     .offset = FIELD(precision),
     .default_text = "auto",
     .choices = precision_names,
     .help = "what models compute in; auto: bf16 where the processor has AMX or AVX512-BF16"},
    {.name = "log-every",
     .type = MB_OPTION_INT,
     .offset = FIELD(log_every),
     .default_text = "0",
     .argument = "N",
     .help = "a line of progress every N steps or lines; 0: as time goes by",
     .min = 0,
     .max = 1e15},
    {.name = "quiet",
     .type = MB_OPTION_BOOL,
     .offset = FIELD(quiet),
     .help = "no progress and no notes; warnings and errors stay"},
    {.name = "config",
     .type = MB_OPTION_TEXT,
     .offset = FIELD(config),
     .argument = "FILE.json",
     .help = "options from a JSON object; the command line wins"},
    {0},
};

mb_status mb_cli_check_output(mb_error *error) {
    if (!ferror(stdout)) {
        return MB_OK;
    }
    return mb_fail(error, MB_ERROR_IO, "cannot write to standard output: %s", strerror(errno));
}

mb_status mb_cli_print_json(const json_t *json, mb_error *error) {
    char *text = mb_json_text(json, JSON_INDENT(2) | JSON_REAL_PRECISION(10)); /* all of it, before any of it is written */
    if (text == NULL) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the result");
    }
    puts(text);
    free(text);
    return mb_cli_check_output(error);
}

/* What was buffered for standard output may fail to be written only now. */
static mb_status finish_output(mb_error *error) {
    errno = 0;
    const bool failed = ferror(stdout) != 0;
    if (fclose(stdout) == 0 && !failed) {
        return MB_OK;
    }
    return mb_fail(error, MB_ERROR_IO, "cannot write to standard output%s%s", errno ? ": " : "", errno ? strerror(errno) : "");
}

/* Whether argv begins with the words of the command's name; *n_words is how many. */
static bool name_matches(const char *name, int argc, char *const *argv, int *n_words) {
    for (*n_words = 0; *n_words < argc; *n_words += 1) {
        const size_t length = strcspn(name, " ");
        if (strlen(argv[*n_words]) != length || strncmp(name, argv[*n_words], length) != 0) {
            return false;
        }
        name += length;
        if (*name == '\0') {
            *n_words += 1;
            return true;
        }
        name++;
    }
    return false;
}

static const mb_command *find_command(int argc, char *const *argv, int *n_words) {
    for (size_t i = 0; commands[i]; i++) {
        if (name_matches(commands[i]->name, argc, argv, n_words)) {
            return commands[i];
        }
    }
    *n_words = 0;
    return NULL;
}

static mb_status unknown_command(int argc, char *const *argv, mb_error *error) {
    const char *names[N_COMMANDS + 1];
    char wanted[80];
    bool is_group = false; /* "tokenizer" alone, or with a second word that it has not */
    const size_t length = strlen(argv[0]);
    for (size_t i = 0; commands[i]; i++) {
        names[i] = commands[i]->name;
        is_group |= strncmp(names[i], argv[0], length) == 0 && names[i][length] == ' ';
    }
    names[N_COMMANDS] = "help";
    const bool two_words = is_group && argc > 1 && argv[1][0] != '-';
    snprintf(wanted, sizeof wanted, "%s%s%s", argv[0], two_words ? " " : "", two_words ? argv[1] : "");
    const char *near = mb_nearest_name(wanted, names, N_COMMANDS + 1);
    if (near) {
        return mb_fail(error, MB_ERROR_USAGE, "unknown command '%s'; did you mean '%s'?", wanted, near);
    }
    return mb_fail(error, MB_ERROR_USAGE, "%s '%s' (see minibert help%s%s)",
                   is_group && !two_words ? "more words are needed after" : "unknown command", wanted, is_group ? " " : "",
                   is_group ? argv[0] : "");
}

/* "minibert help", "minibert help embed", "minibert help tokenizer" (every command of that group). */
static mb_status help(int argc, char *const *argv, mb_error *error) {
    if (argc == 0) {
        mb_cli_print_commands(commands, stdout);
        return MB_OK;
    }
    int n_words;
    const mb_command *command = find_command(argc, argv, &n_words);
    if (command) {
        return mb_cli_print_help(command, stdout, error);
    }
    size_t n_shown = 0;
    const size_t length = strlen(argv[0]);
    for (size_t i = 0; argc == 1 && commands[i]; i++) {
        if (strncmp(commands[i]->name, argv[0], length) == 0 && commands[i]->name[length] == ' ') {
            (void)fputs(n_shown++ ? "\n" : "", stdout);
            const mb_status status = mb_cli_print_help(commands[i], stdout, error);
            if (status != MB_OK) {
                return status;
            }
        }
    }
    return n_shown ? MB_OK : unknown_command(argc, argv, error);
}

/* Whether the options ask for help. After "--" everything is text. */
static bool wants_help(int argc, char *const *argv) {
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return true;
        }
    }
    return false;
}

static mb_status run_with_options(mb_cli *cli, const mb_command *command, void *options, mb_error *error) {
    mb_progress_line_init(&cli->line, stderr, cli->common.quiet, cli->common.log_every);
    cli->job = (mb_job){
        .user = &cli->line,
        .message = mb_progress_line_message,
        .progress = mb_progress_line_show,
        .stop_signal = mb_signals_stop(),
        .n_threads = mb_threads_set((int)cli->common.threads),
        .bf16 = cli->common.precision == PRECISION_BF16 || (cli->common.precision == PRECISION_AUTO && mb_bf16_is_fast()),
    };
    const mb_status status = command->run(cli, options, error);
    mb_progress_line_close(&cli->line);
    return status;
}

static mb_status run_command(const mb_command *command, int argc, char *const *argv, mb_error *error) {
    mb_cli cli = {0};
    void *options = calloc(1, command->options_bytes);
    if (!options) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the options");
    }
    const mb_option *const tables[] = {command->table, mb_common_option_table, NULL};
    void *const targets[] = {options, &cli.common};
    mb_status status = mb_option_set_init(&cli.options, tables, targets, error);
    if (status == MB_OK) {
        mb_error wrong;
        status = mb_option_set_parse(&cli.options, argc, argv, &wrong);
        if (status == MB_ERROR_USAGE) {
            mb_fail(error, status, "%.900s (see minibert help %s)", wrong.message, command->name);
        } else if (status != MB_OK) {
            *error = wrong;
        } else {
            status = run_with_options(&cli, command, options, error);
        }
        mb_option_set_free(&cli.options);
    }
    free(options);
    return status;
}

static mb_status dispatch(int argc, char *const *argv, mb_error *error) {
    if (argc == 0) {
        mb_cli_print_commands(commands, stderr);
        return mb_fail(error, MB_ERROR_USAGE, "a command is needed");
    }
    if (strcmp(argv[0], "--version") == 0 || strcmp(argv[0], "version") == 0) {
        mb_cli_print_version(stdout);
        return MB_OK;
    }
    if (strcmp(argv[0], "help") == 0 || strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
        return help(argc - 1, argv + 1, error);
    }
    int n_words;
    const mb_command *command = find_command(argc, argv, &n_words);
    if (command && !wants_help(argc - n_words, argv + n_words)) {
        return run_command(command, argc - n_words, argv + n_words, error);
    }
    if (command) {
        return mb_cli_print_help(command, stdout, error);
    }
    if (argc == 2 && wants_help(1, argv + 1)) { /* "minibert tokenizer --help" */
        return help(1, argv, error);
    }
    return unknown_command(argc, argv, error);
}

/* Threads that have nothing to do wait for the others by spinning, libgomp's for about a millisecond: on a machine with other
 * work each of the many short parallel regions then costs a time slice (the end-to-end test of usage beside 10 busy
 * processes: 173 s; so: 14). A twentieth of that is as fast on a quiet machine. libgomp reads its environment before main,
 * so the program starts itself once more. Where that cannot be, it goes on as it is. */
static void spin_briefly(char **argv) {
    char path[PATH_MAX] = {0}; /* the name, so that `ps` shows it */
    if (!getenv("GOMP_SPINCOUNT") && !getenv("OMP_WAIT_POLICY") && readlink("/proc/self/exe", path, sizeof path - 1) > 0 &&
        setenv("GOMP_SPINCOUNT", "2000", 1) == 0) {
        execv(path, argv);
    }
}

/* Not a part of main: the compiler may use what main has yet to look for. */
__attribute__((noinline)) static int run(int argc, char **argv) {
    spin_briefly(argv);
    mb_signals_install();
    mb_error error = {0}, output_error = {0};
    mb_status status = dispatch(argc - 1, argv + 1, &error);
    const int signal_number = *mb_signals_stop();
    const mb_status output = finish_output(&output_error);
    if (status == MB_OK && output != MB_OK && !signal_number) {
        status = output;
        error = output_error;
    }
    if (signal_number) { /* whatever came of it, the work may not be whole */
        fprintf(stderr, "minibert: %s\n", status == MB_ERROR_INTERRUPTED ? error.message : "interrupted");
        return EXIT_SIGNAL + signal_number;
    }
    if (status == MB_OK) {
        return EXIT_SUCCESS;
    }
    fprintf(stderr, "minibert: %s\n", error.message);
    return status == MB_ERROR_USAGE ? EXIT_USAGE : EXIT_FAILURE;
}

int main(int argc, char **argv) {
    const char *missing = mb_cli_missing_cpu_feature();
    if (missing) {
        fprintf(stderr, "minibert: compiled for a CPU with %s, which this one lacks; build it on this machine\n", missing);
        return EXIT_FAILURE;
    }
    return run(argc, argv);
}
