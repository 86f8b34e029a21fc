#include <stdio.h>

#include "cli/cli.h"
#include "tasks/embed.h"
#include "tasks/vector_writer.h"

static mb_status run(mb_cli *cli, void *options, mb_error *error) {
    mb_embed_options *embed = options;
    if (embed->static_corpus && !mb_option_set_given(&cli->options, "format")) {
        embed->format = MB_VECTOR_WORD2VEC; /* what programs for word vectors read */
    }
    return mb_embed(embed, &cli->job, stdout, error);
}

const mb_command mb_command_embed = {
    .name = "embed",
    .synopsis = "--model DIR [--input FILE] [--out FILE] [options]",
    .summary = "Turn each line of a text into a vector",
    .details =
        "Formats: npy (NumPy), jsonl ({\"text\", \"vector\"}), tsv (the numbers of a vector on a line), word2vec (text).\n"
        "With --pooling tokens or words there is a vector for every wordpiece or word, with its place in the line:\n"
        "jsonl and tsv begin with line, start and end (in characters); npy needs --index FILE for them.\n"
        "With --static each word of a text gets one vector, written as word2vec's text unless --format is npy.\n\n"
        "  minibert embed --model DIR --input texts.txt --normalize --out texts.npy\n"
        "  minibert embed --model DIR --static corpus.txt --max-occurrences 100 --out words.vec",
    .table = mb_embed_option_table,
    .options_bytes = sizeof(mb_embed_options),
    .run = run,
};
