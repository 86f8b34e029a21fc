#include "tasks/sense_words.h"

#include <stdlib.h>
#include <string.h>

#include "tasks/text_input.h"
#include "tasks/word_pieces.h"

enum { BLOCK_LINES = 1024, BLOCK_BYTES = 1 << 17 };

/* An occurrence in a line that is about to be embedded. */
typedef struct hit {
    size_t line; /* in `wanted` */
    uint32_t start;
    int64_t word;
} hit;

typedef struct gathering {
    const mb_senses_options *options;
    const mb_job *job;
    mb_sense_words *found;
    mb_embedder *embedder;
    mb_encoding encoding;
    mb_embedding_rows rows;
    mb_text_line *wanted; /* BLOCK_LINES */
    size_t n_wanted;
    hit *hits;
    size_t n_hits, hits_capacity;
} gathering;

void mb_sense_words_free(mb_sense_words *words) {
    for (int64_t w = 0; words->words && w < words->names.n; w++) {
        for (int64_t i = 0; i < words->words[w].n; i++) {
            free(words->words[w].occurrences[i].line);
        }
        free(words->words[w].occurrences);
        free(words->words[w].vectors);
    }
    free(words->words);
    mb_lexicon_free(&words->names);
    mb_tokenizer_free(words->tokenizer);
    *words = (mb_sense_words){0};
}

static mb_status out_of_memory(const gathering *g, mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the occurrences in '%s'; lower --max-occurrences",
                   g->options->corpus);
}

/* The tokens [t, end) are one word; fills *word. */
static size_t next_word(const gathering *g, size_t t, mb_word_pieces *word) {
    const mb_encoding *e = &g->encoding;
    const uint32_t number = e->words[t];
    *word = (mb_word_pieces){0};
    do {
        mb_word_pieces_add(word, g->found->tokenizer, mb_tokenizer_piece(g->found->tokenizer, e->ids[t]));
        t++;
    } while (t < e->n_tokens && number != UINT32_MAX && e->words[t] == number);
    return t;
}

static mb_status read_names(gathering *g, mb_error *error) {
    for (size_t i = 0; i < g->options->words.n; i++) {
        const char *text = g->options->words.items[i];
        const mb_status status = mb_tokenizer_encode(g->found->tokenizer, text, strlen(text), &g->encoding, error);
        if (status != MB_OK) {
            return status;
        }
        mb_word_pieces word = {0};
        const size_t end = g->encoding.n_tokens ? next_word(g, 0, &word) : 0;
        if (end == 0 || end < g->encoding.n_tokens || !word.is_word) {
            return mb_fail(error, MB_ERROR_USAGE, "'%s' is not one word to the tokenizer in '%s'", text, g->options->model);
        }
        if (mb_lexicon_add(&g->found->names, word.bytes, word.n_bytes, 1) < 0) {
            return out_of_memory(g, error);
        }
    }
    g->found->words = calloc((size_t)g->found->names.n, sizeof *g->found->words);
    return g->found->words ? MB_OK : out_of_memory(g, error);
}

static bool add_hit(gathering *g, hit h) {
    if (g->n_hits == g->hits_capacity) {
        const size_t capacity = g->hits_capacity ? 2 * g->hits_capacity : 256;
        hit *hits = realloc(g->hits, capacity * sizeof *hits);
        if (!hits) {
            return false;
        }
        g->hits = hits;
        g->hits_capacity = capacity;
    }
    g->hits[g->n_hits++] = h;
    return true;
}

/* Notes where in the line the words are that have not been seen often enough. */
static mb_status find_hits(gathering *g, const mb_text_line *line, mb_error *error) {
    const size_t n_before = g->n_hits;
    const mb_status status = mb_tokenizer_encode(g->found->tokenizer, line->text, line->n_bytes, &g->encoding, error);
    for (size_t t = 0, end; status == MB_OK && t < g->encoding.n_tokens; t = end) {
        mb_word_pieces word;
        end = next_word(g, t, &word);
        const int64_t which = word.is_word ? mb_lexicon_find(&g->found->names, word.bytes, word.n_bytes) : -1;
        if (which >= 0 && g->found->words[which].n < g->options->max_occurrences &&
            !add_hit(g, (hit){g->n_wanted, g->encoding.starts[t], which})) {
            return out_of_memory(g, error);
        }
    }
    if (g->n_hits > n_before) {
        g->wanted[g->n_wanted++] = *line;
    }
    return status;
}

static bool add_occurrence(mb_sense_word *word, const mb_text_line *line, const mb_embedding_span *span, const float *vector,
                           int64_t width) {
    if (word->n == word->capacity) {
        const int64_t capacity = word->capacity ? 2 * word->capacity : 64;
        mb_occurrence *occurrences = realloc(word->occurrences, (size_t)capacity * sizeof *occurrences);
        word->occurrences = occurrences ? occurrences : word->occurrences;
        float *vectors = realloc(word->vectors, (size_t)capacity * (size_t)width * sizeof *vectors);
        word->vectors = vectors ? vectors : word->vectors;
        if (!occurrences || !vectors) {
            return false;
        }
        word->capacity = capacity;
    }
    char *copy = malloc(line->n_bytes + 1);
    if (!copy) {
        return false;
    }
    memcpy(copy, line->text, line->n_bytes);
    copy[line->n_bytes] = '\0';
    memcpy(word->vectors + word->n * width, vector, (size_t)width * sizeof *vector);
    word->occurrences[word->n++] = (mb_occurrence){copy, line->n_bytes, span->byte_start, span->byte_end};
    return true;
}

/* Rows and hits are both in the order of the text; hits behind --max-length have no row. */
static mb_status take_rows(gathering *g, mb_error *error) {
    size_t h = 0;
    for (int64_t row = 0; row < g->rows.n && h < g->n_hits; row++) {
        const mb_embedding_span *span = &g->rows.spans[row];
        while (h < g->n_hits &&
               (g->hits[h].line < span->line || (g->hits[h].line == span->line && g->hits[h].start < span->byte_start))) {
            h++;
        }
        if (h == g->n_hits || g->hits[h].line != span->line || g->hits[h].start != span->byte_start) {
            continue;
        }
        mb_sense_word *word = &g->found->words[g->hits[h].word];
        if (word->n < g->options->max_occurrences &&
            !add_occurrence(word, &g->wanted[span->line], span, g->rows.vectors + row * g->rows.width, g->rows.width)) {
            return out_of_memory(g, error);
        }
    }
    return MB_OK;
}

static mb_status take_block(gathering *g, const mb_text_block *block, mb_error *error) {
    mb_status status = MB_OK;
    g->n_wanted = g->n_hits = 0;
    for (size_t i = 0; status == MB_OK && i < block->n; i++) {
        status = find_hits(g, &block->lines[i], error);
    }
    status = status == MB_OK ? mb_embedder_run(g->embedder, g->wanted, g->n_wanted, &g->rows, error) : status;
    return status == MB_OK ? take_rows(g, error) : status;
}

static bool is_complete(const gathering *g) {
    for (int64_t w = 0; w < g->found->names.n; w++) {
        if (g->found->words[w].n < g->options->max_occurrences) {
            return false;
        }
    }
    return true;
}

static mb_status read_corpus(gathering *g, mb_error *error) {
    mb_text_input *input;
    mb_text_block block = {0};
    mb_status status = mb_text_input_open(g->options->corpus, &input, error);
    while (status == MB_OK && !is_complete(g)) {
        status = mb_text_input_next(input, BLOCK_LINES, BLOCK_BYTES, g->job, &block, error);
        if (status != MB_OK || block.n == 0) {
            break;
        }
        status = take_block(g, &block, error);
        mb_text_input_report(input, g->job, "embed", mb_embedder_n_tokens(g->embedder));
    }
    mb_text_block_free(&block);
    mb_text_input_close(input);
    return status;
}

static mb_status check_found(const gathering *g, mb_error *error) {
    for (int64_t w = 0; w < g->found->names.n; w++) {
        size_t n_bytes;
        const char *name = mb_lexicon_get(&g->found->names, w, &n_bytes);
        if (g->found->words[w].n == 0) {
            return mb_fail(error, MB_ERROR_FORMAT, "'%s' has no word '%.*s' within the first %lld tokens of a line",
                           g->options->corpus, (int)n_bytes, name, (long long)mb_embedder_max_length(g->embedder));
        }
    }
    return MB_OK;
}

mb_status mb_sense_words_gather(const mb_senses_options *options, const mb_job *job, mb_sense_words *out, mb_error *error) {
    *out = (mb_sense_words){0};
    gathering g = {.options = options, .job = job, .found = out};
    const mb_embedder_options embedder = {
        .pooling = MB_POOLING_WORDS, .layers = options->layers, .max_length = options->max_length};
    mb_status status = mb_tokenizer_load(options->model, &out->tokenizer, error);
    status = status == MB_OK ? read_names(&g, error) : status;
    status = status == MB_OK ? mb_embedder_new(options->model, &embedder, job, &g.embedder, error) : status;
    if (status == MB_OK) {
        out->width = mb_embedder_width(g.embedder);
        g.wanted = calloc(BLOCK_LINES, sizeof *g.wanted);
        status = g.wanted ? read_corpus(&g, error) : out_of_memory(&g, error);
    }
    status = status == MB_OK ? check_found(&g, error) : status;
    free(g.wanted);
    free(g.hits);
    mb_embedding_rows_free(&g.rows);
    mb_encoding_free(&g.encoding);
    mb_embedder_free(g.embedder);
    if (status != MB_OK) {
        mb_sense_words_free(out);
    }
    return status;
}
