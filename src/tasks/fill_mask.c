#include "tasks/fill_mask.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/text_escape.h"
#include "tasks/text_model.h"
#include "tasks/top_k.h"

static const char *const format_names[] = {"tsv", "jsonl", NULL};
enum { FORMAT_TSV, FORMAT_JSONL };

#define FIELD(name) offsetof(mb_fill_mask_options, name)
const mb_option mb_fill_mask_option_table[] = {
    {.name = "model",
     .type = MB_OPTION_TEXT,
     .offset = FIELD(model),
     .argument = "DIR",
     .help = "a masked language model's directory",
     .required = true},
    {.name = "top-k",
     .type = MB_OPTION_INT,
     .offset = FIELD(top_k),
     .default_text = "5",
     .argument = "K",
     .help = "how many pieces for each [MASK]",
     .min = 1,
     .max = 1e6},
    {.name = "format",
     .type = MB_OPTION_CHOICE,
     .offset = FIELD(format),
     .default_text = "tsv",
     .choices = format_names,
     .help = "tsv: piece, probability, filled text"},
    {.name = "text",
     .type = MB_OPTION_TEXT_LIST,
     .offset = FIELD(texts),
     .argument = "TEXT",
     .help = "a text with one or more [MASK] in it",
     .required = true,
     .positional = true},
    {0},
};

/* One text at work. */
typedef struct query {
    const char *text;
    mb_encoding encoding; /* with [CLS] and [SEP] */
    int32_t *mask_rows;   /* tokens that are [MASK] */
    int64_t n_masks;
} query;

static void query_free(query *q) {
    mb_encoding_free(&q->encoding);
    free(q->mask_rows);
}

static mb_status query_read(query *q, const mb_text_model *m, size_t number, mb_error *error) {
    const size_t n_bytes = strlen(q->text);
    const mb_status status = mb_tokenizer_encode_pair(m->tokenizer, q->text, n_bytes, NULL, 0, 0, &q->encoding, error);
    if (status != MB_OK) {
        return status;
    }
    const int32_t mask = mb_tokenizer_special(m->tokenizer, MB_SPECIAL_MASK);
    const int32_t max_positions = mb_model_get_config(m->model)->max_positions;
    if (q->encoding.n_tokens > (size_t)max_positions) {
        return mb_fail(error, MB_ERROR_USAGE, "text %zu has %zu tokens, the model reads %d", number, q->encoding.n_tokens,
                       max_positions);
    }
    free(q->mask_rows);
    q->mask_rows = calloc(q->encoding.n_tokens + 1, sizeof *q->mask_rows);
    if (!q->mask_rows) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for text %zu", number);
    }
    q->n_masks = 0;
    for (size_t t = 0; t < q->encoding.n_tokens; t++) {
        if (q->encoding.ids[t] == mask) {
            q->mask_rows[q->n_masks++] = (int32_t)t;
        }
    }
    if (q->n_masks == 0) {
        return mb_fail(error, MB_ERROR_USAGE, "text %zu has no %s: '%.200s'", number, mb_tokenizer_piece(m->tokenizer, mask),
                       q->text);
    }
    return MB_OK;
}

/* The text with its bytes [start, end) replaced by a piece; "##ing" is glued to what stands before it. */
static bool append_filled(mb_buffer *out, const query *q, int32_t row, const char *piece) {
    size_t start = q->encoding.starts[row];
    if (strncmp(piece, "##", 2) == 0 && piece[2] != '\0') {
        piece += 2;
        while (start > 0 && q->text[start - 1] == ' ') {
            start--;
        }
    }
    return mb_buffer_append(out, q->text, start) && mb_buffer_append_text(out, piece) &&
           mb_buffer_append_text(out, q->text + q->encoding.ends[row]);
}

typedef struct place {
    size_t text;
    int64_t mask;
} place;

static bool format_candidate(mb_buffer *out, int format, const query *q, place at, const char *piece, int32_t id,
                             double probability) {
    mb_buffer filled = {0};
    bool fine = append_filled(&filled, q, q->mask_rows[at.mask], piece);
    if (format == FORMAT_TSV) {
        for (size_t i = 0; fine && i < filled.n_bytes; i++) { /* a tab or line feed of the text would break the columns */
            const char c = filled.data[i];
            filled.data[i] = (char)(c == '\t' || c == '\n' || c == '\r' ? ' ' : c);
        }
        fine = fine && mb_buffer_printf(out, "%s\t%.6g\t%s\n", piece, probability, filled.data);
    } else {
        fine = fine && mb_buffer_printf(out, "{\"text\": %zu, \"mask\": %lld, \"token\": ", at.text, (long long)at.mask) &&
               mb_append_json_text(out, piece, strlen(piece)) &&
               mb_buffer_printf(out, ", \"id\": %d, \"probability\": %.9g, \"filled\": ", id, probability) &&
               mb_append_json_text(out, filled.data, filled.n_bytes) && mb_buffer_append_text(out, "}\n");
    }
    mb_buffer_free(&filled);
    return fine;
}

/* The lines of one [MASK], from its logits (V). Padding rows that some vocabularies have beyond the last piece take part in
 * the softmax, as they do in training, but are never shown. */
static mb_status write_mask(const mb_fill_mask_options *options, const mb_text_model *m, const query *q, place at,
                            const float *logits, FILE *rows, mb_error *error) {
    const int32_t n_logits = mb_model_get_config(m->model)->vocab_size;
    const int64_t n_pieces = (int64_t)mb_tokenizer_vocab_size(m->tokenizer);
    double max = -INFINITY, sum = 0;
    for (int32_t i = 0; i < n_logits; i++) {
        max = fmax(max, logits[i]);
    }
    for (int32_t i = 0; i < n_logits; i++) {
        sum += exp(logits[i] - max);
    }
    mb_top_k best;
    mb_status status = mb_top_k_init(&best, options->top_k < n_pieces ? options->top_k : n_pieces, error);
    if (status != MB_OK) {
        return status;
    }
    for (int64_t i = 0; i < n_pieces; i++) {
        mb_top_k_offer(&best, logits[i], i);
    }
    mb_top_k_sort(&best);
    mb_buffer out = {0};
    for (int64_t k = 0; status == MB_OK && k < best.n; k++) {
        const int32_t id = (int32_t)best.items[k].index;
        if (!format_candidate(&out, options->format, q, at, mb_tokenizer_piece(m->tokenizer, id), id,
                              exp(best.items[k].score - max) / sum)) {
            status = mb_fail(error, MB_ERROR_MEMORY, "out of memory for the results");
        }
    }
    if (status == MB_OK && fwrite(out.data, 1, out.n_bytes, rows) != out.n_bytes) {
        status = mb_fail(error, MB_ERROR_IO, "cannot write the results: %s", strerror(errno));
    }
    mb_buffer_free(&out);
    mb_top_k_free(&best);
    return status;
}

static mb_status write_query(const mb_fill_mask_options *options, const mb_text_model *m, mb_tape *tape, const query *q,
                             size_t number, FILE *rows, mb_error *error) {
    const int32_t offsets[2] = {0, (int32_t)q->encoding.n_tokens};
    const mb_model_input input = {
        .n_tokens = offsets[1], .ids = q->encoding.ids, .sequences = {.n = 1, .offsets = offsets, .max_length = offsets[1]}};
    mb_tape_begin(tape, 0, 0);
    mb_tensor *hidden = mb_model_encode(m->model, tape, &input, NULL);
    const mb_tensor *logits = mb_model_masked_lm_logits(m->model, tape, hidden, q->mask_rows, q->n_masks);
    if (!logits) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for text %zu", number + 1);
    }
    const int64_t n_logits = logits->dims[1];
    mb_status status = MB_OK;
    for (int64_t k = 0; status == MB_OK && k < q->n_masks; k++) {
        status = write_mask(options, m, q, (place){number, k}, mb_tensor_real(logits) + k * n_logits, rows, error);
    }
    return status;
}

mb_status mb_fill_mask(const mb_fill_mask_options *options, const mb_job *job, FILE *rows, mb_error *error) {
    mb_text_model m = {0};
    query q = {0};
    mb_tape *tape = NULL;
    mb_status status = mb_text_model_load(options->model, MB_HEAD_MASKED_LM, job, &m, error);
    for (size_t i = 0; status == MB_OK && i < options->texts.n; i++) {
        q.text = options->texts.items[i];
        status = query_read(&q, &m, i + 1, error);
    }
    if (status == MB_OK) {
        tape = mb_tape_new(false);
        status = tape ? MB_OK : mb_fail(error, MB_ERROR_MEMORY, "out of memory for the model's activations");
    }
    for (size_t i = 0; status == MB_OK && i < options->texts.n; i++) {
        if (mb_job_should_stop(job)) {
            status = mb_fail(error, MB_ERROR_INTERRUPTED, "interrupted");
            break;
        }
        q.text = options->texts.items[i];
        if (i > 0 && options->format == FORMAT_TSV && fputc('\n', rows) == EOF) {
            status = mb_fail(error, MB_ERROR_IO, "cannot write the results: %s", strerror(errno));
            break;
        }
        status = query_read(&q, &m, i + 1, error);
        if (status == MB_OK) {
            status = write_query(options, &m, tape, &q, i, rows, error);
        }
    }
    mb_tape_free(tape);
    query_free(&q);
    mb_text_model_free(&m);
    return status;
}
