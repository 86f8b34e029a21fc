#include <stdio.h>

#include "cli/cli.h"
#include "tasks/neighbors.h"

static mb_status run(mb_cli *cli, void *options, mb_error *error) {
    return mb_neighbors(options, &cli->job, stdout, error);
}

const mb_command mb_command_neighbors = {
    .name = "neighbors",
    .synopsis = "(--model DIR --corpus FILE | --vectors FILE) [options] TEXT...",
    .summary = "Find the texts nearest in meaning to a text",
    .details = "Writes cosine<TAB>text, nearest first, and a blank line between queries. All vectors are held in memory.\n\n"
               "  minibert neighbors --model DIR --corpus texts.txt --save-vectors texts.npy \"edit photos\"\n"
               "  minibert neighbors --model DIR --corpus texts.txt --vectors texts.npy \"play chess\"\n"
               "  minibert neighbors --vectors words.vec king queen",
    .table = mb_neighbors_option_table,
    .options_bytes = sizeof(mb_neighbors_options),
    .run = run,
};
