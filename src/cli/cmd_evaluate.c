#include <stdio.h>

#include "cli/cli.h"
#include "tasks/evaluate.h"

static mb_status run(mb_cli *cli, void *options, mb_error *error) {
    mb_evaluate_options *evaluate = options;
    json_t *result = NULL;
    evaluate->seed = cli->common.seed;
    mb_status status = mb_evaluate(evaluate, &cli->job, stdout, &result, error);
    if (status == MB_OK && result) {
        mb_progress_line_close(&cli->line);
        status = mb_cli_print_json(result, error);
    }
    json_decref(result);
    return status;
}

const mb_command mb_command_evaluate = {
    .name = "evaluate",
    .synopsis = "--model DIR --data FILE [options]",
    .summary = "Measure a model on a file: a classifier on labelled texts, a masked language model on text",
    .details = "The metrics are JSON. With --pll a masked language model scores each line instead: its pseudo-log-likelihood.",
    .table = mb_evaluate_option_table,
    .options_bytes = sizeof(mb_evaluate_options),
    .run = run,
};
