#include "cli/cli.h"
#include "skipgram/similarity.h"

static mb_status run(mb_cli *cli, void *options, mb_error *error) {
    (void)cli;
    json_t *result = NULL;
    mb_status status = mb_similarity(options, &result, error);
    if (status == MB_OK) {
        status = mb_cli_print_json(result, error);
    }
    json_decref(result);
    return status;
}

const mb_command mb_command_similarity = {
    .name = "similarity",
    .synopsis = "--vectors FILE PAIRS...",
    .summary = "Judge word vectors by people's ratings of word pairs",
    .details =
        "PAIRS has two words and a rating a line (WordSim-353, SimLex-999, MEN). The result is JSON: the rank correlation\n"
        "of cosines and ratings, and how many pairs have a word without a vector. Case matters only where both are there.\n\n"
        "  minibert similarity --vectors words.vec simlex-999.tsv",
    .table = mb_similarity_option_table,
    .options_bytes = sizeof(mb_similarity_options),
    .run = run,
};
