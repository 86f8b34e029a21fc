#include <stdio.h>

#include "cli/cli.h"
#include "tasks/predict.h"

static mb_status run(mb_cli *cli, void *options, mb_error *error) {
    return mb_predict(options, &cli->job, stdout, error);
}

const mb_command mb_command_predict = {
    .name = "predict",
    .synopsis = "--model DIR [--input FILE] [options]",
    .summary = "Label texts with a fine-tuned model",
    .details = "Reads what finetune reads (a label column is not needed) and writes label<TAB>score for each text, in order;\n"
               "of a pipe, as the texts come.",
    .table = mb_predict_option_table,
    .options_bytes = sizeof(mb_predict_options),
    .run = run,
};
