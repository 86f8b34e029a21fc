#include "tasks/static_vectors.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "skipgram/lexicon.h"
#include "skipgram/word_vectors.h"
#include "tasks/embedder_state.h"
#include "tasks/vector_writer.h"
#include "tasks/word_pieces.h"

enum { BLOCK_LINES = 1024, BLOCK_BYTES = 1 << 17 };

typedef struct distillation {
    const mb_embed_options *options;
    const mb_job *job;
    mb_tokenizer *tokenizer;
    mb_embedder *embedder;
    mb_encoding encoding;
    mb_lexicon words; /* most frequent first */
    float *means;     /* (words.n, width): so far */
    int64_t *n_seen;  /* occurrences in them */
    mb_text_line *wanted;
    mb_embedding_rows rows;
    float *sum; /* of an occurrence's pieces */
    int64_t width, n_lines, n_encoded;
} distillation;

static void distillation_free(distillation *d) {
    mb_embedding_rows_free(&d->rows);
    mb_encoding_free(&d->encoding);
    mb_lexicon_free(&d->words);
    mb_embedder_free(d->embedder);
    mb_tokenizer_free(d->tokenizer);
    free(d->means);
    free(d->n_seen);
    free(d->wanted);
    free(d->sum);
}

static mb_status out_of_memory(const distillation *d, mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the words of '%s'; raise --min-count", d->options->static_corpus);
}

static mb_status check_options(const mb_embed_options *options, mb_error *error) {
    struct stat info;
    if (!options->out || strcmp(options->out, "-") == 0) {
        return mb_fail(error, MB_ERROR_USAGE, "--static needs --out FILE for the words' vectors");
    }
    if (options->format != MB_VECTOR_WORD2VEC && options->format != MB_VECTOR_NPY) {
        return mb_fail(error, MB_ERROR_USAGE, "--static writes --format word2vec or npy, not %s",
                       mb_vector_format_names[options->format]);
    }
    if (stat(options->static_corpus, &info) == 0 && !S_ISREG(info.st_mode)) {
        return mb_fail(error, MB_ERROR_USAGE, "--static '%s' is read twice: it must be a regular file", options->static_corpus);
    }
    return MB_OK;
}

typedef mb_status (*take_block)(distillation *d, const mb_text_block *block, mb_error *error);

static mb_status read_corpus(distillation *d, const char *phase, take_block take, mb_error *error) {
    mb_text_input *input;
    mb_text_block block = {0};
    mb_status status = mb_text_input_open(d->options->static_corpus, &input, error);
    d->n_lines = 0;
    while (status == MB_OK) {
        status = mb_text_input_next(input, BLOCK_LINES, BLOCK_BYTES, d->job, &block, error);
        if (status != MB_OK || block.n == 0) {
            break;
        }
        status = take(d, &block, error);
        d->n_lines += (int64_t)block.n;
        mb_text_input_report(input, d->job, phase, d->embedder ? mb_embedder_n_tokens(d->embedder) : 0);
    }
    mb_text_block_free(&block);
    mb_text_input_close(input);
    return status;
}

/* --- first reading: which words there are --- */

static bool ends_word(const mb_encoding *e, const mb_tokenizer *tokenizer, size_t token) {
    return token + 1 == e->n_tokens || !mb_tokenizer_is_continuation(tokenizer, e->ids[token + 1]);
}

static mb_status count_block(distillation *d, const mb_text_block *block, mb_error *error) {
    for (size_t i = 0; i < block->n; i++) {
        const mb_text_line *line = &block->lines[i];
        const mb_status status = mb_tokenizer_encode(d->tokenizer, line->text, line->n_bytes, &d->encoding, error);
        if (status != MB_OK) {
            return status;
        }
        mb_word_pieces word = {0};
        for (size_t t = 0; t < d->encoding.n_tokens; t++) {
            mb_word_pieces_add(&word, d->tokenizer, mb_tokenizer_piece(d->tokenizer, d->encoding.ids[t]));
            if (ends_word(&d->encoding, d->tokenizer, t) && word.is_word &&
                mb_lexicon_add(&d->words, word.bytes, word.n_bytes, 1) < 0) {
                return out_of_memory(d, error);
            }
        }
    }
    return MB_OK;
}

/* Most frequent first, without the rare ones. */
static mb_status choose_words(distillation *d, mb_error *error) {
    mb_lexicon all = d->words;
    uint32_t *order = mb_lexicon_order(&all);
    int64_t n = 0;
    d->words = (mb_lexicon){0};
    while (order && n < all.n && all.counts[order[n]] >= d->options->min_count) {
        n++;
    }
    mb_status status = order && mb_lexicon_select(&all, order, n, &d->words) ? MB_OK : out_of_memory(d, error);
    free(order);
    mb_lexicon_free(&all);
    if (status == MB_OK && n == 0) {
        status = mb_fail(error, MB_ERROR_FORMAT, "'%s' has no word that occurs %lld times or more; lower --min-count",
                         d->options->static_corpus, (long long)d->options->min_count);
    }
    return status;
}

/* --- second reading: their means --- */

static bool is_wanted(const distillation *d, int64_t word) {
    return word >= 0 && (d->options->max_occurrences == 0 || d->n_seen[word] < d->options->max_occurrences);
}

/* Whether the line holds a word that has not been seen often enough. */
static mb_status check_line(distillation *d, const mb_text_line *line, bool *wanted, mb_error *error) {
    *wanted = d->options->max_occurrences == 0;
    if (*wanted) {
        return MB_OK;
    }
    const mb_status status = mb_tokenizer_encode(d->tokenizer, line->text, line->n_bytes, &d->encoding, error);
    mb_word_pieces word = {0};
    for (size_t t = 0; status == MB_OK && t < d->encoding.n_tokens && !*wanted; t++) {
        mb_word_pieces_add(&word, d->tokenizer, mb_tokenizer_piece(d->tokenizer, d->encoding.ids[t]));
        *wanted = ends_word(&d->encoding, d->tokenizer, t) && word.is_word &&
                  is_wanted(d, mb_lexicon_find(&d->words, word.bytes, word.n_bytes));
    }
    return status;
}

/* mean += (vector - mean) / n: no sum that grows. */
static void add_occurrence(distillation *d, const mb_word_pieces *word, int64_t n_pieces) {
    const int64_t id = word->is_word ? mb_lexicon_find(&d->words, word->bytes, word->n_bytes) : -1;
    if (!is_wanted(d, id)) {
        return;
    }
    float *mean = d->means + id * d->width;
    const float share = 1.0f / (float)++d->n_seen[id];
    for (int64_t j = 0; j < d->width; j++) {
        mean[j] += (d->sum[j] / (float)n_pieces - mean[j]) * share;
    }
}

/* The words of the rows: each begins at a piece that continues none. */
static void add_rows(distillation *d) {
    mb_word_pieces word = {0};
    int64_t n_pieces = 0;
    for (int64_t row = 0; row < d->rows.n; row++) {
        const mb_embedding_span *span = &d->rows.spans[row];
        if (n_pieces == 0) {
            memset(d->sum, 0, (size_t)d->width * sizeof *d->sum);
        }
        mb_word_pieces_add(&word, d->tokenizer, span->piece);
        n_pieces++;
        for (int64_t j = 0; j < d->width; j++) {
            d->sum[j] += d->rows.vectors[row * d->width + j];
        }
        const mb_embedding_span *next = span + 1;
        if (row + 1 == d->rows.n || next->line != span->line || !mb_piece_continues(next->piece)) {
            add_occurrence(d, &word, n_pieces);
            n_pieces = 0;
        }
    }
}

static mb_status encode_block(distillation *d, const mb_text_block *block, mb_error *error) {
    size_t n = 0;
    for (size_t i = 0; i < block->n; i++) {
        bool wanted;
        const mb_status status = check_line(d, &block->lines[i], &wanted, error);
        if (status != MB_OK) {
            return status;
        }
        if (wanted) {
            d->wanted[n++] = block->lines[i];
        }
    }
    d->n_encoded += (int64_t)n;
    mb_embedding_rows rows = d->rows;
    const mb_status status = mb_embedder_run(d->embedder, d->wanted, n, &rows, error);
    d->rows = rows;
    if (status == MB_OK) {
        add_rows(d);
    }
    return status;
}

static mb_status prepare_means(distillation *d, mb_error *error) {
    mb_embedder_options embedder = d->options->embedder;
    embedder.pooling = MB_POOLING_TOKENS;
    embedder.normalize = false; /* the means are, in the end */
    const mb_status status = mb_embedder_new(d->options->model, &embedder, d->job, &d->embedder, error);
    if (status != MB_OK) {
        return status;
    }
    size_t count;
    d->width = mb_embedder_width(d->embedder);
    d->wanted = calloc(BLOCK_LINES, sizeof *d->wanted);
    d->sum = calloc((size_t)d->width, sizeof *d->sum);
    d->n_seen = calloc((size_t)d->words.n, sizeof *d->n_seen);
    d->means = __builtin_mul_overflow((size_t)d->words.n, (size_t)d->width, &count) ? NULL : calloc(count, sizeof *d->means);
    return d->wanted && d->sum && d->n_seen && d->means ? MB_OK : out_of_memory(d, error);
}

/* Words of which every occurrence lay behind --max-length have no vector. */
static mb_status drop_unseen(distillation *d, mb_error *error) {
    mb_lexicon all = d->words;
    uint32_t *order = malloc((size_t)all.n * sizeof *order);
    int64_t n = 0;
    for (int64_t i = 0; order && i < all.n; i++) {
        if (d->n_seen[i] > 0) {
            memmove(d->means + n * d->width, d->means + i * d->width, (size_t)d->width * sizeof *d->means);
            order[n++] = (uint32_t)i;
        }
    }
    d->words = (mb_lexicon){0};
    const bool fine = order && mb_lexicon_select(&all, order, n, &d->words);
    if (fine && n < all.n) {
        mb_job_message(d->job, MB_LEVEL_WARNING,
                       "%lld words are left out: they stand behind the first %lld tokens of their lines",
                       (long long)(all.n - n), (long long)mb_embedder_max_length(d->embedder));
    }
    free(order);
    mb_lexicon_free(&all);
    return fine ? MB_OK : out_of_memory(d, error);
}

static mb_status save(distillation *d, mb_error *error) {
    if (d->options->embedder.normalize) {
        mb_embedding_rows rows = {.vectors = d->means, .n = d->words.n, .width = d->width};
        mb_embedding_rows_normalize(&rows);
    }
    const mb_word_format format = d->options->format == MB_VECTOR_NPY ? MB_WORD_FORMAT_NPY : MB_WORD_FORMAT_TEXT;
    return mb_word_vectors_save(d->options->out, format, &d->words, d->means, d->width, d->width, error);
}

mb_status mb_static_vectors(const mb_embed_options *options, const mb_job *job, mb_error *error) {
    distillation d = {.options = options, .job = job};
    mb_status status = check_options(options, error);
    status = status == MB_OK ? mb_tokenizer_load(options->model, &d.tokenizer, error) : status;
    status = status == MB_OK ? read_corpus(&d, "count words", count_block, error) : status;
    status = status == MB_OK ? choose_words(&d, error) : status;
    status = status == MB_OK ? prepare_means(&d, error) : status;
    status = status == MB_OK ? read_corpus(&d, "embed", encode_block, error) : status;
    status = status == MB_OK ? drop_unseen(&d, error) : status;
    status = status == MB_OK ? save(&d, error) : status;
    if (status == MB_OK) {
        mb_job_message(job, MB_LEVEL_INFO, "%lld words, from %lld of %lld lines", (long long)d.words.n, (long long)d.n_encoded,
                       (long long)d.n_lines);
    }
    distillation_free(&d);
    return status;
}
