#include "cli/cli.h"
#include "skipgram/analogy.h"

static mb_status run(mb_cli *cli, void *options, mb_error *error) {
    (void)cli;
    json_t *result = NULL;
    mb_status status = mb_analogy(options, &result, error);
    if (status == MB_OK) {
        status = mb_cli_print_json(result, error);
    }
    json_decref(result);
    return status;
}

const mb_command mb_command_analogy = {
    .name = "analogy",
    .synopsis = "--vectors FILE [options] QUESTIONS",
    .summary = "Judge word vectors by analogies: a is to b as c is to d",
    .details = "QUESTIONS has four words a line and ': name' before a section (word2vec's questions-words.txt). The result is\n"
               "JSON. The vectors' words must be in order of frequency for --restrict, as skipgram, word2vec.c and gensim "
               "write them.\n\n"
               "  minibert analogy --vectors words.vec questions-words.txt",
    .table = mb_analogy_option_table,
    .options_bytes = sizeof(mb_analogy_options),
    .run = run,
};
