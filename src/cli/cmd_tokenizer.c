/* tokenizer train | encode | decode. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/encode_lines.h"
#include "minibert/tokenizer.h"
#include "tasks/text_input.h"

/* --- train --- */

typedef struct train_options {
    mb_text_list corpus;
    const char *out;
    const char *initial_vocab;
    int64_t vocab_size, min_frequency, limit_alphabet;
    bool cased;
} train_options;

#define FIELD(name) offsetof(train_options, name)
static const mb_option train_table[] = {
    {.name = "corpus",
     .type = MB_OPTION_TEXT_LIST,
     .offset = FIELD(corpus),
     .argument = "FILE",
     .help = "UTF-8 text",
     .required = true},
    {.name = "out",
     .type = MB_OPTION_TEXT,
     .offset = FIELD(out),
     .argument = "DIR",
     .help = "where vocab.txt, tokenizer.json and tokenizer_config.json go",
     .required = true},
    {.name = "vocab-size",
     .type = MB_OPTION_INT,
     .offset = FIELD(vocab_size),
     .default_text = "30522",
     .argument = "N",
     .help = "wordpieces, special ones included",
     .min = 6,
     .max = 1e7},
    {.name = "initial-vocab",
     .type = MB_OPTION_TEXT,
     .offset = FIELD(initial_vocab),
     .argument = "FILE",
     .help = "a vocab.txt or a model directory to extend: its ids and settings stay, new pieces follow"},
    {.name = "cased", .type = MB_OPTION_BOOL, .offset = FIELD(cased), .help = "keep case and accents"},
    {.name = "min-frequency",
     .type = MB_OPTION_INT,
     .offset = FIELD(min_frequency),
     .default_text = "2",
     .argument = "N",
     .help = "pairs of pieces seen less often are not joined",
     .min = 1,
     .max = 1e12},
    {.name = "limit-alphabet",
     .type = MB_OPTION_INT,
     .offset = FIELD(limit_alphabet),
     .default_text = "1000",
     .argument = "N",
     .help = "how many different characters are kept, the most frequent ones",
     .min = 1,
     .max = 1e6},
    {0},
};
#undef FIELD

static bool report_training(void *user, const char *phase, double fraction) {
    const mb_job *job = user;
    const mb_progress progress = {.phase = phase,
                                  .unit = "of 100",
                                  .done = (int64_t)(fraction * 100),
                                  .loss = NAN,
                                  .learning_rate = NAN,
                                  .tokens_per_second = NAN,
                                  .elapsed_seconds = NAN,
                                  .eta_seconds = NAN};
    mb_job_progress(job, &progress);
    return !mb_job_should_stop(job);
}

static mb_status train(mb_cli *cli, void *options, mb_error *error) {
    const train_options *o = options;
    mb_vocab_train_options settings = {
        .files = o->corpus.items,
        .n_files = o->corpus.n,
        .vocab_size = (size_t)o->vocab_size,
        .min_frequency = o->min_frequency,
        .limit_alphabet = (size_t)o->limit_alphabet,
        .config = mb_tokenizer_config_default(),
        .progress = report_training,
        .user = &cli->job,
    };
    mb_tokenizer *tokenizer = NULL, *initial = NULL;
    mb_status status = o->initial_vocab ? mb_tokenizer_load(o->initial_vocab, &initial, error) : MB_OK;
    if (initial) {
        settings.initial = initial;
        settings.config = *mb_tokenizer_get_config(initial);
    }
    settings.config.do_lower_case = settings.config.do_lower_case && !o->cased;
    if (status == MB_OK) {
        status = mb_tokenizer_train(&settings, &tokenizer, error);
    }
    mb_tokenizer_free(initial);
    if (status == MB_OK) {
        status = mb_dir_make(o->out, error);
    }
    if (status == MB_OK) {
        status = mb_tokenizer_save(tokenizer, o->out, error);
    }
    if (status == MB_OK) {
        mb_job_message(&cli->job, MB_LEVEL_INFO, "%zu wordpieces in '%s'", mb_tokenizer_vocab_size(tokenizer), o->out);
    }
    mb_tokenizer_free(tokenizer);
    return status;
}

const mb_command mb_command_tokenizer_train = {
    .name = "tokenizer train",
    .synopsis = "--corpus FILE... --out DIR [options]",
    .summary = "Learn a vocabulary of wordpieces from raw text",
    .details =
        "The same files give the same vocabulary at any number of threads. Hugging Face loads DIR and gives the same ids.",
    .table = train_table,
    .options_bytes = sizeof(train_options),
    .run = train,
};

/* --- encode --- */

#define FIELD(name) offsetof(mb_encode_lines_options, name)
static const char *const format_names[] = {"ids", "tokens", "jsonl", NULL};
static const char *const compat_names[] = {"auto", "hf", "google", NULL};
static const mb_option encode_table[] = {
    {.name = "model",
     .type = MB_OPTION_TEXT,
     .offset = FIELD(model),
     .argument = "DIR",
     .help = "a model directory, or a vocab.txt",
     .required = true},
    {.name = "compat",
     .type = MB_OPTION_CHOICE,
     .offset = FIELD(compat),
     .default_text = "auto",
     .choices = compat_names,
     .help = "ids of Hugging Face's tokenizers or of google-research/bert; auto: hf unless DIR says google"},
    {.name = "format",
     .type = MB_OPTION_CHOICE,
     .offset = FIELD(format),
     .default_text = "ids",
     .choices = format_names,
     .help = "ids or tokens separated by spaces, or JSON lines"},
    {.name = "no-special", .type = MB_OPTION_BOOL, .offset = FIELD(no_special), .help = "no [CLS] and [SEP]"},
    {.name = "max-length",
     .type = MB_OPTION_INT,
     .offset = FIELD(max_length),
     .default_text = "0",
     .argument = "N",
     .help = "cut longer lines to N tokens; 0: cut nothing",
     .max = 1e9},
    {0},
};
#undef FIELD

static mb_status encode(mb_cli *cli, void *options, mb_error *error) {
    return mb_encode_lines(options, &cli->job, stdout, error);
}

const mb_command mb_command_tokenizer_encode = {
    .name = "tokenizer encode",
    .synopsis = "--model DIR [options] < lines",
    .summary = "Turn each line of standard input into wordpieces",
    .details = "One line of output for each line of input, in order. jsonl: {\"ids\", \"tokens\", \"offsets\"}; an offset is "
               "the first byte\n"
               "of the token in the line and the byte after its last.",
    .table = encode_table,
    .options_bytes = sizeof(mb_encode_lines_options),
    .run = encode,
};

/* --- decode --- */

typedef struct decode_options {
    const char *model;
    bool keep_special;
} decode_options;

#define FIELD(name) offsetof(decode_options, name)
static const mb_option decode_table[] = {
    {.name = "model",
     .type = MB_OPTION_TEXT,
     .offset = FIELD(model),
     .argument = "DIR",
     .help = "a model directory, or a vocab.txt",
     .required = true},
    {.name = "keep-special",
     .type = MB_OPTION_BOOL,
     .offset = FIELD(keep_special),
     .help = "write [CLS], [SEP] and the like too"},
    {0},
};
#undef FIELD

/* "101 7592 102" to ids; *ids grows. The line is not NUL terminated. */
static mb_status parse_ids(const mb_text_line *line, int64_t number, const mb_tokenizer *tokenizer, int32_t **ids,
                           size_t *capacity, size_t *n_ids, mb_error *error) {
    *n_ids = 0;
    for (size_t at = 0; at < line->n_bytes;) {
        if (line->text[at] == ' ' || line->text[at] == '\t') {
            at++;
            continue;
        }
        int64_t id = 0;
        const size_t begin = at;
        for (; at < line->n_bytes && line->text[at] >= '0' && line->text[at] <= '9' && at - begin < 10; at++) {
            id = id * 10 + (line->text[at] - '0');
        }
        const bool ended = at == line->n_bytes || line->text[at] == ' ' || line->text[at] == '\t';
        if (at == begin || !ended || id >= (int64_t)mb_tokenizer_vocab_size(tokenizer)) {
            return mb_fail(error, MB_ERROR_FORMAT,
                           "cannot read 'standard input': line %lld has something that is no id below %zu", (long long)number,
                           mb_tokenizer_vocab_size(tokenizer));
        }
        if (*n_ids == *capacity) {
            const size_t larger = *capacity ? 2 * *capacity : 256;
            int32_t *grown = realloc(*ids, larger * sizeof *grown);
            if (!grown) {
                return mb_fail(error, MB_ERROR_MEMORY, "out of memory for line %lld", (long long)number);
            }
            *ids = grown;
            *capacity = larger;
        }
        (*ids)[(*n_ids)++] = (int32_t)id;
    }
    return MB_OK;
}

static mb_status decode_block(const mb_text_block *block, const mb_tokenizer *tokenizer, const decode_options *o, int32_t **ids,
                              size_t *capacity, mb_error *error) {
    mb_status status = MB_OK;
    for (size_t i = 0; status == MB_OK && i < block->n; i++) {
        size_t n_ids;
        status = parse_ids(&block->lines[i], block->first_number + (int64_t)i, tokenizer, ids, capacity, &n_ids, error);
        if (status == MB_OK) {
            char *text = mb_tokenizer_decode(tokenizer, *ids, n_ids, !o->keep_special, error);
            if (!text) {
                return error->status;
            }
            puts(text);
            free(text);
            status = mb_cli_check_output(error);
        }
    }
    return status;
}

static mb_status decode(mb_cli *cli, void *options, mb_error *error) {
    const decode_options *o = options;
    mb_tokenizer *tokenizer = NULL;
    mb_text_input *input = NULL;
    mb_text_block block = {0};
    int32_t *ids = NULL;
    size_t capacity = 0;
    mb_status status = mb_tokenizer_load(o->model, &tokenizer, error);
    if (status == MB_OK) {
        status = mb_text_input_open("-", &input, error);
    }
    while (status == MB_OK) {
        status = mb_text_input_next(input, 1024, 1 << 20, &cli->job, &block, error);
        if (status != MB_OK || block.n == 0) {
            break;
        }
        status = decode_block(&block, tokenizer, o, &ids, &capacity, error);
    }
    free(ids);
    mb_text_block_free(&block);
    mb_text_input_close(input);
    mb_tokenizer_free(tokenizer);
    return status;
}

const mb_command mb_command_tokenizer_decode = {
    .name = "tokenizer decode",
    .synopsis = "--model DIR < ids",
    .summary = "Turn lines of ids back into text",
    .table = decode_table,
    .options_bytes = sizeof(decode_options),
    .run = decode,
};
