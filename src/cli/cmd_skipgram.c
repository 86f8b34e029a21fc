#include "cli/cli.h"
#include "skipgram/skipgram.h"

static mb_status run(mb_cli *cli, void *options, mb_error *error) {
    mb_skipgram_options *skipgram = options;
    json_t *result = NULL;
    skipgram->seed = cli->common.seed;
    mb_status status = mb_skipgram(skipgram, &cli->job, &result, error);
    if (status == MB_OK) {
        mb_progress_line_close(&cli->line);
        status = mb_cli_print_json(result, error);
    }
    json_decref(result);
    return status;
}

const mb_command mb_command_skipgram = {
    .name = "skipgram",
    .synopsis = "--corpus FILE --out FILE [options]",
    .summary = "Learn word vectors from raw text: Skip-Gram or CBOW",
    .details = "Options may be spelled as in word2vec.c: -train FILE -output FILE -size 100 -cbow 0 -negative 5 -iter 5.\n"
               "The result is JSON: words_per_second counts all words of the text, over the seconds of training alone.\n\n"
               "  minibert skipgram --corpus text.txt --out words.vec --epochs 5\n"
               "  minibert neighbors --vectors words.vec king queen",
    .table = mb_skipgram_option_table,
    .options_bytes = sizeof(mb_skipgram_options),
    .run = run,
};
