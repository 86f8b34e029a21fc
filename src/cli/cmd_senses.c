#include "cli/cli.h"
#include "tasks/senses.h"

static mb_status run(mb_cli *cli, void *options, mb_error *error) {
    mb_senses_options *senses = options;
    json_t *result = NULL;
    senses->seed = cli->common.seed;
    mb_status status = mb_senses(senses, &cli->job, &result, error);
    if (status == MB_OK) {
        mb_progress_line_close(&cli->line);
        status = mb_cli_print_json(result, error);
    }
    json_decref(result);
    return status;
}

const mb_command mb_command_senses = {
    .name = "senses",
    .synopsis = "--model DIR --corpus FILE [options] WORD...",
    .summary = "Tell a word's senses apart: its occurrences in a text, grouped by their vectors",
    .details =
        "A word vector is one point, whatever the word means here or there; a model gives each occurrence its own. The\n"
        "result is JSON: for each word its groups, most frequent first, with the words that are typical of their lines,\n"
        "lines near their centre, and, with --vectors, the words whose vectors are near.\n\n"
        "  minibert embed --model DIR --static corpus.txt --max-occurrences 100 --out words.vec\n"
        "  minibert senses --model DIR --corpus corpus.txt --vectors words.vec --points senses.tsv window port mouse \\\n"
        "      > senses.json\n"
        "  python3 scripts/senses_svg.py senses.tsv senses.svg senses.json",
    .table = mb_senses_option_table,
    .options_bytes = sizeof(mb_senses_options),
    .run = run,
};
