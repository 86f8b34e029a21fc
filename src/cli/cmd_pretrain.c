#include "cli/cli.h"
#include "tasks/pretrain.h"

static mb_status run(mb_cli *cli, void *options, mb_error *error) {
    mb_pretrain_options *pretrain = options;
    mb_status status = mb_pretrain_apply_recipe(&cli->options, pretrain, error);
    if (status != MB_OK) {
        return status;
    }
    json_t *configuration = mb_option_set_to_json(&cli->options), *result = NULL;
    if (!configuration) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the configuration");
    }
    pretrain->seed = cli->common.seed;
    pretrain->log_every = cli->common.log_every;
    pretrain->configuration = configuration;
    status = mb_pretrain(pretrain, &cli->job, &result, error);
    if (status == MB_OK) {
        mb_progress_line_close(&cli->line);
        status = mb_cli_print_json(result, error);
    }
    json_decref(result);
    json_decref(configuration);
    return status;
}

const mb_command mb_command_pretrain = {
    .name = "pretrain",
    .synopsis = "--corpus FILE... --out DIR [options]",
    .summary = "Train a BERT on raw text: masked language modelling",
    .details =
        "A corpus is UTF-8 text; a blank line ends a document. Without --valid a fixed 1% of the documents is held out.\n"
        "The defaults below are what learns most in minutes to hours on a CPU. --arch bert and --init begin from\n"
        "  " MB_RECIPE_BERT "\nand --recipe classic from BERT's own settings,\n"
        "  " MB_RECIPE_CLASSIC "\nA flag that is given always counts.\n"
        "OUT becomes a Hugging Face directory. Ctrl-C saves; the same command with --resume goes on. The result is JSON.\n\n"
        "  minibert pretrain --corpus text.txt --out model --size mini --budget 30m",
    .table = mb_pretrain_option_table,
    .options_bytes = sizeof(mb_pretrain_options),
    .run = run,
};
