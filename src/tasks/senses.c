#include "tasks/senses.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/file.h"
#include "skipgram/word_lookup.h"
#include "tasks/clusters.h"
#include "tasks/embedder_state.h"
#include "tasks/sense_lines.h"
#include "tasks/top_k.h"

enum { N_STARTS = 8, N_WORDS = 8, N_NEIGHBORS = 5, MAX_SENSES = 20 };

#define FIELD(name) offsetof(mb_senses_options, name)
const mb_option mb_senses_option_table[] = {
    {.name = "model",
     .type = MB_OPTION_TEXT,
     .offset = FIELD(model),
     .argument = "DIR",
     .help = "the model directory whose hidden states tell occurrences apart",
     .required = true},
    {.name = "corpus",
     .type = MB_OPTION_TEXT,
     .offset = FIELD(corpus),
     .argument = "FILE",
     .help = "the text that has the words, UTF-8",
     .required = true},
    {.name = "vectors",
     .type = MB_OPTION_TEXT,
     .offset = FIELD(vectors),
     .argument = "FILE",
     .help = "word vectors to set beside them: each word's neighbours there, and, in those that embed --static made of the "
             "model, each sense's"},
    {.name = "senses",
     .type = MB_OPTION_INT,
     .offset = FIELD(n_senses),
     .default_text = "0",
     .argument = "N",
     .help = "groups of occurrences; 0: as many (2 or more) as are told apart best, by their silhouette",
     .min = 0,
     .max = MAX_SENSES},
    {.name = "max-senses",
     .type = MB_OPTION_INT,
     .offset = FIELD(max_senses),
     .default_text = "6",
     .argument = "N",
     .help = "with --senses 0: no more than these",
     .min = 2,
     .max = MAX_SENSES},
    {.name = "max-occurrences",
     .type = MB_OPTION_INT,
     .offset = FIELD(max_occurrences),
     .default_text = "1000",
     .argument = "N",
     .help = "the first N of each word are looked at",
     .min = 1,
     .max = 1e7},
    {.name = "layers",
     .type = MB_OPTION_INT_LIST,
     .offset = FIELD(layers),
     .default_text = "-1",
     .argument = "L,L,...",
     .help = "the hidden states to average; 0 is the embeddings' output, -1 the last layer"},
    {.name = "max-length",
     .type = MB_OPTION_INT,
     .offset = FIELD(max_length),
     .default_text = "256",
     .argument = "N",
     .help = "tokens of a line, [CLS] and [SEP] among them; the rest is not seen",
     .min = 3,
     .max = 1 << 20},
    {.name = "examples",
     .type = MB_OPTION_INT,
     .offset = FIELD(n_examples),
     .default_text = "3",
     .argument = "N",
     .help = "lines to show for each sense, those nearest to its centre",
     .min = 0,
     .max = 1000},
    {.name = "points",
     .type = MB_OPTION_TEXT,
     .offset = FIELD(points),
     .argument = "FILE",
     .help = "a TSV of every occurrence: word, sense, x, y (principal components), text; scripts/senses_svg.py draws it"},
    {.name = "word",
     .type = MB_OPTION_TEXT_LIST,
     .offset = FIELD(words),
     .argument = "WORD",
     .help = "words to look at",
     .required = true,
     .positional = true},
    {0},
};

typedef struct analysis {
    const mb_senses_options *options;
    const mb_job *job;
    mb_sense_words found;
    mb_word_vectors vectors; /* centred and of length 1, once loaded */
    mb_word_lookup lookup;
    double *vectors_mean; /* NULL: no vectors */
    mb_writer *points;
    /* Of the word in work: */
    const mb_sense_word *word;
    const float *rows; /* (n, width): centred and of length 1 */
    mb_clusters clusters;
} analysis;

static mb_status out_of_memory(mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the senses; lower --max-occurrences");
}

static void make_unit(float *row, int64_t width) {
    mb_embedding_rows one = {.vectors = row, .n = 1, .width = width};
    mb_embedding_rows_normalize(&one);
}

/* --- word vectors beside them --- */

static mb_status load_vectors(analysis *a, mb_error *error) {
    mb_status status = mb_word_vectors_load(a->options->vectors, &a->vectors, error);
    status = status == MB_OK ? mb_word_lookup_init(&a->lookup, &a->vectors, error) : status;
    if (status != MB_OK) {
        return status;
    }
    const int64_t n = a->vectors.words.n, width = a->vectors.width;
    a->vectors_mean = calloc((size_t)width, sizeof *a->vectors_mean);
    if (!a->vectors_mean) {
        return out_of_memory(error);
    }
    for (int64_t i = 0; i < n * width; i++) {
        a->vectors_mean[i % width] += (double)a->vectors.data[i] / (double)n;
    }
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < width; j++) {
            a->vectors.data[i * width + j] -= (float)a->vectors_mean[j];
        }
        make_unit(a->vectors.data + i * width, width);
    }
    if (width != a->found.width) {
        mb_job_message(a->job, MB_LEVEL_INFO,
                       "'%s' has vectors of %lld numbers, the model of %lld: words have neighbours there, senses have none",
                       a->options->vectors, (long long)width, (long long)a->found.width);
    }
    return MB_OK;
}

/* An array of the words nearest to a centred vector, but for row `except`; NULL without memory. */
static json_t *nearest_words(const analysis *a, const float *vector, int64_t except) {
    const int64_t width = a->vectors.width;
    mb_top_k top = {0};
    mb_error ignored;
    json_t *array = json_array();
    if (!array || mb_top_k_init(&top, N_NEIGHBORS, &ignored) != MB_OK) {
        json_decref(array);
        return NULL;
    }
    for (int64_t i = 0; i < a->vectors.words.n; i++) {
        double cosine = 0;
        for (int64_t j = 0; j < width; j++) {
            cosine += (double)vector[j] * (double)a->vectors.data[i * width + j];
        }
        if (i != except) {
            mb_top_k_offer(&top, cosine, i);
        }
    }
    mb_top_k_sort(&top);
    bool fine = true;
    for (int64_t i = 0; fine && i < top.n; i++) {
        size_t n_bytes;
        const char *bytes = mb_lexicon_get(&a->vectors.words, top.items[i].index, &n_bytes);
        fine = json_array_append_new(array, json_stringn(bytes, n_bytes)) == 0;
    }
    mb_top_k_free(&top);
    return array;
}

/* The row of the word that is the `which`th asked for; -1: none. */
static int64_t static_row(const analysis *a, int64_t which) {
    size_t n_bytes;
    const char *name = mb_lexicon_get(&a->found.names, which, &n_bytes);
    return a->vectors_mean ? mb_word_lookup_find(&a->lookup, (const unsigned char *)name, n_bytes) : -1;
}

static json_t *sense_neighbors(const analysis *a, int sense, int64_t except) {
    const int64_t width = a->found.width;
    float *mean = calloc((size_t)width, sizeof *mean);
    if (!mean) {
        return NULL;
    }
    for (int64_t i = 0; i < a->word->n; i++) {
        for (int64_t j = 0; a->clusters.of[i] == sense && j < width; j++) {
            mean[j] += a->word->vectors[i * width + j] / (float)a->clusters.sizes[sense];
        }
    }
    make_unit(mean, width);
    for (int64_t j = 0; j < width; j++) {
        mean[j] -= (float)a->vectors_mean[j];
    }
    make_unit(mean, width);
    json_t *array = nearest_words(a, mean, except);
    free(mean);
    return array;
}

/* --- grouping --- */

/* The word's vectors less their mean, of length 1; malloc'ed, NULL without memory. */
static float *center_rows(const mb_sense_word *word, int64_t width) {
    const int64_t n = word->n;
    double *mean = calloc((size_t)width, sizeof *mean);
    float *rows = malloc((size_t)n * (size_t)width * sizeof *rows);
    for (int64_t i = 0; mean && i < n * width; i++) {
        mean[i % width] += (double)word->vectors[i] / (double)n;
    }
    for (int64_t i = 0; mean && rows && i < n; i++) {
        for (int64_t j = 0; j < width; j++) {
            rows[i * width + j] = (float)((double)word->vectors[i * width + j] - mean[j]);
        }
        make_unit(rows + i * width, width);
    }
    if (!mean) {
        free(rows);
        rows = NULL;
    }
    free(mean);
    return rows;
}

static mb_status group(analysis *a, mb_error *error) {
    const int64_t n = a->word->n, wanted = a->options->n_senses;
    const uint64_t seed = (uint64_t)a->options->seed;
    const int first = wanted ? (int)(wanted < n ? wanted : n) : n < 4 ? 1 : 2;
    const int last = wanted || n < 4 ? first : (int)(a->options->max_senses < n / 2 ? a->options->max_senses : n / 2);
    mb_status status = mb_clusters_find(a->rows, n, a->found.width, first, N_STARTS, seed, &a->clusters, error);
    for (int k = first + 1; status == MB_OK && k <= last; k++) {
        mb_clusters more;
        status = mb_clusters_find(a->rows, n, a->found.width, k, N_STARTS, seed, &more, error);
        if (status == MB_OK && more.silhouette > a->clusters.silhouette) {
            mb_clusters_swap(&a->clusters, &more);
        }
        mb_clusters_free(&more);
    }
    return status;
}

static mb_status write_points(analysis *a, int64_t which, mb_error *error) {
    float *points = malloc((size_t)a->word->n * 2 * sizeof *points);
    mb_status status = points ? mb_principal_plane(a->rows, a->word->n, a->found.width, points, error) : out_of_memory(error);
    size_t n_bytes;
    const char *name = mb_lexicon_get(&a->found.names, which, &n_bytes);
    for (int64_t i = 0; status == MB_OK && i < a->word->n; i++) {
        mb_buffer text = {0};
        if (!mb_append_excerpt(&text, &a->word->occurrences[i])) {
            status = out_of_memory(error);
        }
        for (size_t b = 0; b < text.n_bytes; b++) {
            text.data[b] = (char)((unsigned char)text.data[b] < ' ' ? ' ' : text.data[b]);
        }
        mb_writer_printf(a->points, "%.*s\t%d\t%.4f\t%.4f\t%.*s\n", (int)n_bytes, name, a->clusters.of[i] + 1,
                         (double)points[2 * i], (double)points[2 * i + 1], (int)text.n_bytes, text.data ? text.data : "");
        mb_buffer_free(&text);
    }
    free(points);
    return status;
}

/* --- the result --- */

static json_t *describe_sense(const analysis *a, const mb_line_words *words, int sense, int64_t row) {
    const int64_t size = a->clusters.sizes[sense];
    json_t *object =
        json_pack("{s:I, s:f, s:o, s:o}", "occurrences", (json_int_t)size, "share", (double)size / (double)a->word->n, "words",
                  mb_line_words_typical(words, &a->clusters, sense, N_WORDS), "examples",
                  mb_sense_examples(a->word, a->rows, &a->clusters, sense, a->options->n_examples));
    if (object && a->vectors_mean && a->vectors.width == a->found.width &&
        json_object_set_new(object, "neighbors", sense_neighbors(a, sense, row)) != 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static mb_status describe(analysis *a, int64_t which, json_t *result, mb_error *error) {
    mb_line_words words = {0};
    size_t n_bytes;
    const char *name = mb_lexicon_get(&a->found.names, which, &n_bytes);
    const int64_t row = static_row(a, which);
    mb_status status = mb_line_words_count(&words, a->found.tokenizer, a->word, &a->clusters, error);
    json_t *senses = json_array();
    bool fine = status == MB_OK && senses;
    for (int sense = 0; fine && sense < a->clusters.k; sense++) {
        fine = json_array_append_new(senses, describe_sense(a, &words, sense, row)) == 0;
    }
    json_t *object =
        fine ? json_pack("{s:s%, s:I, s:o, s:O}", "word", name, n_bytes, "occurrences", (json_int_t)a->word->n, "silhouette",
                         isnan(a->clusters.silhouette) ? json_null() : json_real(a->clusters.silhouette), "senses", senses)
             : NULL;
    fine = object && (row < 0 || json_object_set_new(object, "neighbors",
                                                     nearest_words(a, a->vectors.data + row * a->vectors.width, row)) == 0);
    if (status == MB_OK && (!fine || json_array_append(result, object) != 0)) {
        status = out_of_memory(error);
    }
    json_decref(object);
    json_decref(senses);
    mb_line_words_free(&words);
    return status;
}

static mb_status analyse(analysis *a, int64_t which, json_t *result, mb_error *error) {
    a->word = &a->found.words[which];
    float *rows = center_rows(a->word, a->found.width);
    mb_status status = rows ? MB_OK : out_of_memory(error);
    a->rows = rows;
    status = status == MB_OK ? group(a, error) : status;
    status = status == MB_OK ? describe(a, which, result, error) : status;
    if (status == MB_OK && a->points) {
        status = write_points(a, which, error);
    }
    mb_clusters_free(&a->clusters);
    free(rows);
    a->rows = NULL;
    return status;
}

mb_status mb_senses(const mb_senses_options *options, const mb_job *job, json_t **result, mb_error *error) {
    analysis a = {.options = options, .job = job};
    *result = NULL;
    mb_status status = mb_sense_words_gather(options, job, &a.found, error);
    status = status == MB_OK && options->vectors ? load_vectors(&a, error) : status;
    if (status == MB_OK && options->points) {
        status = mb_writer_open(options->points, &a.points, error);
    }
    if (status == MB_OK && options->points) {
        mb_writer_printf(a.points, "word\tsense\tx\ty\ttext\n");
    }
    json_t *array = json_array();
    status = status == MB_OK && !array ? out_of_memory(error) : status;
    for (int64_t which = 0; status == MB_OK && which < a.found.names.n; which++) {
        status = analyse(&a, which, array, error);
    }
    if (status == MB_OK && a.points) {
        status = mb_writer_commit(a.points, error);
        a.points = NULL;
    }
    mb_writer_abort(a.points);
    mb_word_lookup_free(&a.lookup);
    mb_word_vectors_free(&a.vectors);
    free(a.vectors_mean);
    mb_sense_words_free(&a.found);
    if (status == MB_OK) {
        *result = array;
    } else {
        json_decref(array);
    }
    return status;
}
