#include "tasks/pseudo_likelihood.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/tape.h"
#include "tasks/text_input.h"

/* Tokens of one forward pass: enough to keep the cores busy, little enough to stay in memory. */
enum { PASS_TOKENS = 8192, BLOCK_LINES = 256, BLOCK_BYTES = 1 << 20 };

/* Memory for one forward pass: copies of a line, each with another token masked. */
typedef struct scorer {
    const mb_text_model *m;
    mb_tape *tape;
    mb_encoding encoding;
    int32_t max_length, max_copies;
    int32_t *ids, *types, *offsets, *rows, *targets;
} scorer;

static mb_status out_of_memory(mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "out of memory");
}

static mb_status scorer_init(scorer *s, const mb_text_model *m, int32_t max_length, mb_error *error) {
    *s = (scorer){.m = m, .max_length = max_length, .tape = mb_tape_new(false)};
    const size_t n = PASS_TOKENS + (size_t)max_length;
    s->ids = calloc(n, sizeof *s->ids);
    s->types = calloc(n, sizeof *s->types);
    s->offsets = calloc(n + 1, sizeof *s->offsets);
    s->rows = calloc(n, sizeof *s->rows);
    s->targets = calloc(n, sizeof *s->targets);
    return s->tape == NULL || s->ids == NULL || s->types == NULL || s->offsets == NULL || s->rows == NULL || s->targets == NULL
               ? out_of_memory(error)
               : MB_OK;
}

static void scorer_free(scorer *s) {
    free(s->ids);
    free(s->types);
    free(s->offsets);
    free(s->rows);
    free(s->targets);
    mb_encoding_free(&s->encoding);
    mb_tape_free(s->tape);
}

/* Adds log p of the encoded line's tokens first .. first + n_copies - 1, one copy of the line each. */
static mb_status score_copies(scorer *s, int32_t first, int32_t n_copies, double *score, mb_error *error) {
    const int32_t length = (int32_t)s->encoding.n_tokens;
    const int32_t mask = mb_tokenizer_special(s->m->tokenizer, MB_SPECIAL_MASK);
    for (int32_t c = 0; c < n_copies; c++) {
        memcpy(s->ids + c * length, s->encoding.ids, (size_t)length * sizeof *s->ids);
        s->rows[c] = c * length + first + c;
        s->targets[c] = s->ids[s->rows[c]];
        s->ids[s->rows[c]] = mask;
        s->offsets[c + 1] = (c + 1) * length;
    }
    const mb_model_input input = {
        .n_tokens = (int64_t)n_copies * length,
        .ids = s->ids,
        .types = s->types,
        .sequences = {.n = n_copies, .offsets = s->offsets, .max_length = length},
    };
    mb_tape_begin(s->tape, 0, 0);
    mb_tensor *hidden = mb_model_encode(s->m->model, s->tape, &input, NULL);
    const mb_masked_tokens masked = {.n = n_copies, .rows = s->rows, .targets = s->targets};
    const mb_tensor *loss = mb_model_masked_lm_loss(s->m->model, s->tape, hidden, &masked, 1, NULL);
    if (loss == NULL) {
        return out_of_memory(error);
    }
    *score -= (double)mb_tensor_real(loss)[0];
    return MB_OK;
}

static mb_status score_line(scorer *s, const mb_text_line *line, bool *cut, double *score, mb_error *error) {
    mb_status status = mb_tokenizer_encode_pair(s->m->tokenizer, line->text, line->n_bytes, NULL, 0, 0, &s->encoding, error);
    *cut = status == MB_OK && s->encoding.n_tokens > (size_t)s->max_length;
    if (*cut) {
        status = mb_tokenizer_encode_pair(s->m->tokenizer, line->text, line->n_bytes, NULL, 0, (size_t)s->max_length,
                                          &s->encoding, error);
    }
    const int32_t length = (int32_t)s->encoding.n_tokens;
    const int32_t at_once = length > 0 && PASS_TOKENS / length > 1 ? PASS_TOKENS / length : 1;
    *score = 0;
    for (int32_t i = 1; i < length - 1 && status == MB_OK; i += at_once) { /* not [CLS] and [SEP] */
        status = score_copies(s, i, length - 1 - i < at_once ? length - 1 - i : at_once, score, error);
    }
    return status;
}

static mb_status score_block(scorer *s, const mb_text_block *block, int64_t *n_cut, FILE *rows, mb_error *error) {
    for (size_t i = 0; i < block->n; i++) {
        bool cut = false;
        double score = 0;
        mb_status status = score_line(s, &block->lines[i], &cut, &score, error);
        if (status != MB_OK) {
            return status;
        }
        *n_cut += cut;
        if (fprintf(rows, "%.6f\n", score) < 0) {
            return mb_fail(error, MB_ERROR_IO, "cannot write the scores: %s", strerror(errno));
        }
    }
    return MB_OK;
}

mb_status mb_pseudo_likelihood(const mb_text_model *m, const char *path, int32_t max_length, const mb_job *job, FILE *rows,
                               mb_error *error) {
    scorer s;
    mb_text_input *input = NULL;
    mb_text_block block = {0};
    int64_t n_cut = 0;
    mb_status status = scorer_init(&s, m, max_length, error);
    status = status == MB_OK ? mb_text_input_open(path, &input, error) : status;
    while (status == MB_OK) {
        status = mb_text_input_next(input, BLOCK_LINES, BLOCK_BYTES, job, &block, error);
        if (status != MB_OK || block.n == 0) {
            break;
        }
        status = score_block(&s, &block, &n_cut, rows, error);
        mb_text_input_report(input, job, "score", 0);
    }
    if (status == MB_OK && n_cut > 0) {
        mb_job_message(job, MB_LEVEL_WARNING,
                       "%" PRId64 " of %" PRId64 " lines are longer than %d tokens: only those are scored", n_cut,
                       mb_text_input_n_lines(input), (int)max_length);
    }
    mb_text_block_free(&block);
    mb_text_input_close(input);
    scorer_free(&s);
    return status;
}
