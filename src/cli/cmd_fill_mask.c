#include <stdio.h>

#include "cli/cli.h"
#include "tasks/fill_mask.h"

static mb_status run(mb_cli *cli, void *options, mb_error *error) {
    return mb_fill_mask(options, &cli->job, stdout, error);
}

const mb_command mb_command_fill_mask = {
    .name = "fill-mask",
    .synopsis = "--model DIR [options] TEXT...",
    .summary = "Guess the words behind [MASK]",
    .details = "Writes token<TAB>probability<TAB>filled text, best first, and a blank line between texts. A text with several\n"
               "[MASK]s has --top-k lines for each of them, in order; jsonl says which text and which [MASK] a line is for.\n\n"
               "  minibert fill-mask --model DIR \"The capital of France is [MASK].\"",
    .table = mb_fill_mask_option_table,
    .options_bytes = sizeof(mb_fill_mask_options),
    .run = run,
};
