#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

void mb_cli_print_commands(const mb_command *const *commands, FILE *out) {
    (void)fputs("minibert trains BERT models on raw text and uses them: from text to embeddings.\n\n"
                "usage: minibert COMMAND [options]\n\n",
                out);
    int width = 0;
    for (size_t i = 0; commands[i]; i++) {
        const int length = (int)strlen(commands[i]->name);
        width = length > width ? length : width;
    }
    for (size_t i = 0; commands[i]; i++) {
        fprintf(out, "  %-*s  %s\n", width, commands[i]->name, commands[i]->summary);
    }
    (void)fputs("\n"
                "  minibert help COMMAND       a command's options, with their defaults\n"
                "  minibert --version          version, compiler, libraries, CPU\n\n"
                "Results go to standard output, progress and errors to standard error.\n"
                "Exit codes: 0 done, 1 the work failed, 2 wrong usage, 130 or 143 stopped by Ctrl-C or SIGTERM.\n",
                out);
}

mb_status mb_cli_print_help(const mb_command *command, FILE *out, mb_error *error) {
    /* The defaults come from the same parse that fills the options of a real run. */
    mb_common_options common = {0};
    void *options = calloc(1, command->options_bytes);
    const mb_option *const tables[] = {command->table, mb_common_option_table, NULL};
    void *const targets[] = {options, &common};
    mb_option_set set;
    mb_status status = options ? mb_option_set_init(&set, tables, targets, error)
                               : mb_fail(error, MB_ERROR_MEMORY, "out of memory for the help");
    if (status == MB_OK) {
        char *help = mb_option_set_help(&set);
        if (help) {
            fprintf(out, "usage: minibert %s %s\n\n%s.\n", command->name, command->synopsis, command->summary);
            if (command->details) {
                fprintf(out, "\n%s\n", command->details);
            }
            fprintf(out, "\n%s", help);
        } else {
            status = mb_fail(error, MB_ERROR_MEMORY, "out of memory for the help");
        }
        free(help);
        mb_option_set_free(&set);
    }
    free(options);
    return status;
}
