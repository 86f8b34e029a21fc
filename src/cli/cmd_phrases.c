#include "cli/cli.h"
#include "skipgram/phrases.h"

static mb_status run(mb_cli *cli, void *options, mb_error *error) {
    json_t *result = NULL;
    mb_status status = mb_phrases(options, &cli->job, &result, error);
    if (status == MB_OK) {
        mb_progress_line_close(&cli->line);
        status = mb_cli_print_json(result, error);
    }
    json_decref(result);
    return status;
}

const mb_command mb_command_phrases = {
    .name = "phrases",
    .synopsis = "--corpus FILE --out FILE [options]",
    .summary = "Join words that belong together, new_york, before word vectors are learned",
    .details = "Options may be spelled as in word2phrase: -train FILE -output FILE -threshold 100 -min-count 5.\n"
               "The rest of the text stays as it is; skipgram reads the result.\n\n"
               "  minibert phrases --corpus text.txt --out phrases.txt --passes 2",
    .table = mb_phrases_option_table,
    .options_bytes = sizeof(mb_phrases_options),
    .run = run,
};
