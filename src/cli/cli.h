/* What the commands share. A command is one row in main.c's table: an option table from its task, and a `run` that calls the
 * task and prints what came back. Only src/cli prints or exits. */
#ifndef MB_CLI_CLI_H
#define MB_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/job.h"
#include "base/options.h"
#include "cli/progress.h"
#include "minibert/status.h"

/* The options that every command takes. */
typedef struct mb_common_options {
    int64_t threads, seed, log_every;
    int precision;
    bool quiet;
    const char *config;
} mb_common_options;

extern const mb_option mb_common_option_table[];

typedef struct mb_cli {
    mb_common_options common;
    mb_option_set options; /* the command's table and the common one */
    mb_job job;
    mb_progress_line line;
} mb_cli;

typedef struct mb_command {
    const char *name;     /* "embed", "tokenizer train" */
    const char *synopsis; /* what follows the name: "--model DIR [options]" */
    const char *summary;  /* one line */
    const char *details;  /* formats and examples; may be NULL */
    const mb_option *table;
    size_t options_bytes; /* size of the struct that the table's offsets refer to */
    mb_status (*run)(mb_cli *cli, void *options, mb_error *error);
} mb_command;

/* One per subcommand, in cmd_*.c. */
extern const mb_command mb_command_tokenizer_train, mb_command_tokenizer_encode, mb_command_tokenizer_decode;
extern const mb_command mb_command_pretrain, mb_command_finetune, mb_command_evaluate, mb_command_predict;
extern const mb_command mb_command_embed, mb_command_fill_mask, mb_command_neighbors, mb_command_senses, mb_command_info;
extern const mb_command mb_command_check, mb_command_phrases, mb_command_skipgram, mb_command_similarity, mb_command_analogy;

/* A command's result on standard output, indented; jansson's "key": value. */
mb_status mb_cli_print_json(const json_t *json, mb_error *error);
/* MB_ERROR_IO once a write to standard output has failed; commands that stream check it between blocks. */
mb_status mb_cli_check_output(mb_error *error);

/* help.c and version.c */
void mb_cli_print_commands(const mb_command *const *commands, FILE *out);
mb_status mb_cli_print_help(const mb_command *command, FILE *out, mb_error *error);
void mb_cli_print_version(FILE *out);
/* The name of an instruction set that this binary was compiled for and that the CPU lacks; NULL: none. */
const char *mb_cli_missing_cpu_feature(void);

#endif
