#include "cli/cli.h"
#include "tasks/finetune.h"

static mb_status run(mb_cli *cli, void *options, mb_error *error) {
    mb_finetune_options *finetune = options;
    json_t *configuration = mb_option_set_to_json(&cli->options), *result = NULL;
    if (!configuration) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the configuration");
    }
    finetune->seed = cli->common.seed;
    finetune->log_every = cli->common.log_every;
    finetune->configuration = configuration;
    mb_status status = mb_finetune(finetune, &cli->job, &result, error);
    if (status == MB_OK) {
        mb_progress_line_close(&cli->line);
        status = mb_cli_print_json(result, error);
    }
    json_decref(result);
    json_decref(configuration);
    return status;
}

const mb_command mb_command_finetune = {
    .name = "finetune",
    .synopsis = "--model DIR --train FILE --out DIR [--dev FILE] [options]",
    .summary = "Teach a pretrained model to classify texts, or pairs of texts",
    .details =
        "Files are TSV with a header line (classify: label, text; pair: label, text_a, text_b) or JSONL with the same keys.\n"
        "OUT becomes a Hugging Face directory. The result is JSON.\n\n"
        "  minibert finetune --model model --train train.tsv --dev dev.tsv --out classifier",
    .table = mb_finetune_option_table,
    .options_bytes = sizeof(mb_finetune_options),
    .run = run,
};
