#include "tasks/embed.h"

#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "tasks/static_vectors.h"
#include "tasks/text_escape.h"
#include "tasks/vector_writer.h"

/* Lines of a block: enough to fill the batches well, few enough to bound the memory. The vectors of a block with a row a token
 * take about (bytes / 4) * H floats. */
enum { BLOCK_LINES = 1024, BLOCK_BYTES = 1 << 20, BLOCK_BYTES_PER_TOKEN = 1 << 17 };

#define FIELD(name) offsetof(mb_embed_options, name)
const mb_option mb_embed_option_table[] = {
    {.name = "model",
     .type = MB_OPTION_TEXT,
     .offset = FIELD(model),
     .argument = "DIR",
     .help = "the model directory",
     .required = true},
    {.name = "input",
     .type = MB_OPTION_TEXT,
     .offset = FIELD(input),
     .default_text = "-",
     .argument = "FILE",
     .help = "UTF-8 text, a vector for each line; -: standard input"},
    {.name = "out",
     .type = MB_OPTION_TEXT,
     .offset = FIELD(out),
     .default_text = "-",
     .argument = "FILE",
     .help = "where the vectors go; -: standard output"},
    {.name = "format",
     .type = MB_OPTION_CHOICE,
     .offset = FIELD(format),
     .default_text = "npy",
     .choices = mb_vector_format_names,
     .help = "file format"},
    {.name = "pooling",
     .type = MB_OPTION_CHOICE,
     .offset = FIELD(embedder.pooling),
     .default_text = "mean",
     .choices = mb_pooling_names,
     .help = "from hidden states to vectors: tokens and words give one for every wordpiece or word"},
    {.name = "layers",
     .type = MB_OPTION_INT_LIST,
     .offset = FIELD(embedder.layers),
     .default_text = "-1",
     .argument = "L,L,...",
     .help = "the hidden states to average, e.g. -1,-2,-3,-4; 0 is the embeddings' output, -1 the last layer"},
    {.name = "normalize", .type = MB_OPTION_BOOL, .offset = FIELD(embedder.normalize), .help = "make every vector's length 1"},
    {.name = "max-length",
     .type = MB_OPTION_INT,
     .offset = FIELD(embedder.max_length),
     .default_text = "256",
     .argument = "N",
     .help = "tokens of a text, [CLS] and [SEP] among them; the rest is cut off",
     .min = 3,
     .max = 1 << 20},
    {.name = "stride",
     .type = MB_OPTION_INT,
     .offset = FIELD(embedder.stride),
     .default_text = "0",
     .argument = "N",
     .help = "read longer texts in windows of max-length, one every N tokens, and average; 0: cut them",
     .max = 1 << 20},
    {.name = "index",
     .type = MB_OPTION_TEXT,
     .offset = FIELD(index),
     .argument = "FILE",
     .help = "for tokens or words as npy: a TSV with each row's line, start, end (in characters) and text"},
    {.name = "static",
     .type = MB_OPTION_TEXT,
     .offset = FIELD(static_corpus),
     .argument = "CORPUS",
     .help = "make a vector for each word of this text instead, the mean over its occurrences"},
    {.name = "min-count",
     .type = MB_OPTION_INT,
     .offset = FIELD(min_count),
     .default_text = "5",
     .argument = "N",
     .help = "with --static: words that occur less often get no vector",
     .min = 1,
     .max = 1e15},
    {.name = "max-occurrences",
     .type = MB_OPTION_INT,
     .offset = FIELD(max_occurrences),
     .default_text = "0",
     .argument = "N",
     .help = "with --static: the first N of each word are enough; 0: all",
     .min = 0,
     .max = 1e15},
    {0},
};

/* What a run has open. */
typedef struct run {
    const mb_embed_options *options;
    const mb_job *job;
    mb_embedder *embedder;
    mb_text_input *input;
    mb_vector_writer *vectors;
    mb_writer *index; /* NULL: none */
    mb_text_block block;
    mb_embedding_rows rows;
} run;

static void run_free(run *r) {
    mb_embedding_rows_free(&r->rows);
    mb_text_block_free(&r->block);
    mb_text_input_close(r->input);
    mb_embedder_free(r->embedder);
    mb_vector_writer_abort(r->vectors);
    mb_writer_abort(r->index);
}

static bool is_per_token(const mb_embed_options *options) {
    return options->embedder.pooling == MB_POOLING_TOKENS || options->embedder.pooling == MB_POOLING_WORDS;
}

static bool is_regular(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

static mb_status run_open(run *r, FILE *standard_output, mb_error *error) {
    const mb_embed_options *options = r->options;
    const bool needs_index = is_per_token(options) && options->format == MB_VECTOR_NPY;
    if (needs_index && !options->index) {
        return mb_fail(error, MB_ERROR_USAGE,
                       "npy has no place for the texts of tokens or words: give --index FILE for them, or "
                       "take --format jsonl or tsv");
    }
    if (!needs_index && options->index) {
        return mb_fail(error, MB_ERROR_USAGE, "--index is for --pooling tokens or words with --format npy");
    }
    if (options->index && mb_path_exists(options->index) && !is_regular(options->index)) {
        return mb_fail(error, MB_ERROR_USAGE, "--index '%s' is no regular file: it would be replaced by one", options->index);
    }
    mb_status status = mb_embedder_new(options->model, &options->embedder, r->job, &r->embedder, error);
    if (status == MB_OK) {
        status = mb_text_input_open(options->input, &r->input, error);
    }
    if (status == MB_OK) {
        status = mb_vector_writer_open(options->out, standard_output, (mb_vector_format)options->format,
                                       mb_embedder_width(r->embedder), &r->vectors, error);
    }
    if (status == MB_OK && mb_vector_writer_streams(r->vectors)) {
        mb_text_input_answer_early(r->input);
    }
    if (status == MB_OK && options->index) {
        status = mb_writer_open(options->index, &r->index, error);
    }
    return status;
}

/* The label of row `row`, one of a line's spans. The offsets in characters are counted here; `place` remembers where the last
 * count ended, so that a line is walked once. */
typedef struct place {
    size_t line;
    int64_t byte, character;
} place;

static int64_t character_at(place *at, const mb_text_line *line, int64_t byte) {
    if (byte < at->byte) { /* a piece may begin inside the one before it, when one character gave several */
        at->byte = at->character = 0;
    }
    at->character += (int64_t)mb_count_characters(line->text + at->byte, (size_t)(byte - at->byte));
    at->byte = byte;
    return at->character;
}

static mb_vector_label label_span(const run *r, int64_t row, place *at) {
    const mb_embedding_span *span = &r->rows.spans[row];
    const mb_text_line *line = &r->block.lines[span->line];
    if (at->line != span->line) {
        *at = (place){.line = span->line};
    }
    mb_vector_label label = {.is_span = true,
                             .line = r->block.first_number + (int64_t)span->line,
                             .byte_start = span->byte_start,
                             .byte_end = span->byte_end};
    label.start = character_at(at, line, label.byte_start);
    label.end = character_at(at, line, label.byte_end);
    label.text = span->piece ? span->piece : line->text + span->byte_start;
    label.n_bytes = span->piece ? strlen(span->piece) : span->byte_end - span->byte_start;
    return label;
}

static mb_status write_index_row(run *r, const mb_vector_label *label, mb_error *error) {
    mb_buffer text = {0};
    if (!mb_append_word(&text, label->text, label->n_bytes)) {
        mb_buffer_free(&text);
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory writing '%s'", r->options->index);
    }
    mb_writer_printf(r->index, "%lld\t%lld\t%lld\t%s\n", (long long)label->line, (long long)label->start, (long long)label->end,
                     text.data);
    mb_buffer_free(&text);
    return MB_OK;
}

static mb_status write_rows(run *r, mb_error *error) {
    mb_status status = MB_OK;
    place at = {.line = SIZE_MAX};
    for (int64_t row = 0; status == MB_OK && row < r->rows.n; row++) {
        mb_vector_label label;
        if (is_per_token(r->options)) {
            label = label_span(r, row, &at);
        } else {
            label = (mb_vector_label){.text = r->block.lines[row].text, .n_bytes = r->block.lines[row].n_bytes};
        }
        status = mb_vector_writer_add(r->vectors, &label, r->rows.vectors + row * r->rows.width, error);
        if (status == MB_OK && r->index) {
            status = write_index_row(r, &label, error);
        }
    }
    return status;
}

static mb_status run_blocks(run *r, mb_error *error) {
    const size_t max_bytes = is_per_token(r->options) ? BLOCK_BYTES_PER_TOKEN : BLOCK_BYTES;
    while (true) {
        mb_status status = mb_text_input_next(r->input, BLOCK_LINES, max_bytes, r->job, &r->block, error);
        if (status != MB_OK || r->block.n == 0) {
            return status;
        }
        status = mb_embedder_run(r->embedder, r->block.lines, r->block.n, &r->rows, error);
        if (status == MB_OK) {
            status = write_rows(r, error);
        }
        if (status == MB_OK) {
            status = mb_vector_writer_flush(r->vectors, error);
        }
        if (status != MB_OK) {
            return status;
        }
        mb_text_input_report(r->input, r->job, "embed", mb_embedder_n_tokens(r->embedder));
    }
}

static mb_status commit(run *r, mb_error *error) {
    mb_status status = MB_OK;
    if (r->index) { /* first: vectors without their index would be the worse half */
        status = mb_writer_commit(r->index, error);
        r->index = NULL;
    }
    if (status == MB_OK) {
        status = mb_vector_writer_commit(r->vectors, error);
        r->vectors = NULL;
    }
    return status;
}

mb_status mb_embed(const mb_embed_options *options, const mb_job *job, FILE *standard_output, mb_error *error) {
    if (options->static_corpus) {
        return mb_static_vectors(options, job, error);
    }
    run r = {.options = options, .job = job};
    mb_status status = run_open(&r, standard_output, error);
    if (status == MB_OK) {
        status = run_blocks(&r, error);
    }
    if (status == MB_OK) {
        status = commit(&r, error);
    }
    if (status == MB_OK && mb_embedder_n_cut(r.embedder) > 0) {
        mb_job_message(job, MB_LEVEL_WARNING,
                       "%lld of %lld lines were longer than %lld tokens and cut; --stride N reads them whole",
                       (long long)mb_embedder_n_cut(r.embedder), (long long)mb_text_input_n_lines(r.input),
                       (long long)mb_embedder_max_length(r.embedder));
    }
    run_free(&r);
    return status;
}
