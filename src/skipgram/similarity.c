#include "skipgram/similarity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "skipgram/word_lookup.h"

#define FIELD(name) offsetof(mb_similarity_options, name)
const mb_option mb_similarity_option_table[] = {
    {.name = "vectors",
     .type = MB_OPTION_TEXT,
     .offset = FIELD(vectors),
     .argument = "FILE",
     .help = "word vectors: word2vec text or binary, or npy with FILE.vocab beside it",
     .required = true},
    {.name = "pairs",
     .type = MB_OPTION_TEXT_LIST,
     .offset = FIELD(files),
     .argument = "PAIRS",
     .help = "files of word pairs with people's ratings",
     .required = true,
     .positional = true},
    {0},
};

/* --- correlations --- */

double mb_pearson(const double *x, const double *y, int64_t n) {
    double mean_x = 0, mean_y = 0, xx = 0, yy = 0, xy = 0;
    for (int64_t i = 0; i < n; i++) {
        mean_x += x[i] / (double)n;
        mean_y += y[i] / (double)n;
    }
    for (int64_t i = 0; i < n; i++) {
        xx += (x[i] - mean_x) * (x[i] - mean_x);
        yy += (y[i] - mean_y) * (y[i] - mean_y);
        xy += (x[i] - mean_x) * (y[i] - mean_y);
    }
    return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : (double)NAN;
}

typedef struct ranked {
    double value;
    int64_t index;
} ranked;

static int compare_ranked(const void *a, const void *b) {
    const double x = ((const ranked *)a)->value, y = ((const ranked *)b)->value;
    return (x > y) - (x < y);
}

static void ranks(const double *x, int64_t n, ranked *sorted, double *out) {
    for (int64_t i = 0; i < n; i++) {
        sorted[i] = (ranked){x[i], i};
    }
    qsort(sorted, (size_t)n, sizeof *sorted, compare_ranked);
    for (int64_t begin = 0, end; begin < n; begin = end) {
        for (end = begin + 1; end < n && sorted[end].value == sorted[begin].value;) {
            end++;
        }
        for (int64_t i = begin; i < end; i++) {
            out[sorted[i].index] = (double)(begin + end + 1) / 2; /* the mean of begin + 1 to end */
        }
    }
}

double mb_spearman(const double *x, const double *y, int64_t n) {
    ranked *sorted = malloc((size_t)n * sizeof *sorted + 1);
    double *rank = malloc(2 * (size_t)n * sizeof *rank + 1), result = (double)NAN;
    if (sorted && rank) {
        ranks(x, n, sorted, rank);
        ranks(y, n, sorted, rank + n);
        result = mb_pearson(rank, rank + n, n);
    }
    free(sorted);
    free(rank);
    return result;
}

/* --- files --- */

typedef struct field {
    const unsigned char *bytes;
    size_t n_bytes;
} field;

enum { MAX_FIELDS = 32 };

static bool is_space(unsigned char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

static int split(const unsigned char *line, const unsigned char *end, field *fields) {
    const size_t length = (size_t)(end - line);
    const unsigned char divider = memchr(line, '\t', length) ? '\t' : memchr(line, ',', length) ? ',' : ' ';
    int n = 0;
    while (line < end && n < MAX_FIELDS) {
        const unsigned char *stop = memchr(line, divider, (size_t)(end - line));
        stop = stop ? stop : end;
        field f = {line, (size_t)(stop - line)};
        while (f.n_bytes > 0 && is_space(f.bytes[0])) {
            f.bytes++;
            f.n_bytes--;
        }
        while (f.n_bytes > 0 && is_space(f.bytes[f.n_bytes - 1])) {
            f.n_bytes--;
        }
        if (f.n_bytes > 0 || divider != ' ') {
            fields[n++] = f;
        }
        line = stop + 1;
    }
    return n;
}

static bool parse_number(const field *f, double *out) {
    char text[64], *end;
    if (f->n_bytes == 0 || f->n_bytes >= sizeof text) {
        return false;
    }
    memcpy(text, f->bytes, f->n_bytes);
    text[f->n_bytes] = '\0';
    *out = strtod(text, &end);
    return *end == '\0' && isfinite(*out);
}

typedef struct pair {
    field word[2];
    double rating;
} pair;

/* The next pair; *line counts lines. MB_OK with *found false at the end. */
static mb_status next_pair(const char *path, const unsigned char **at, const unsigned char *end, int64_t *line, pair *out,
                           bool *found, mb_error *error) {
    *found = false;
    while (*at < end && !*found) {
        field fields[MAX_FIELDS];
        const unsigned char *stop = memchr(*at, '\n', (size_t)(end - *at));
        stop = stop ? stop : end;
        const bool is_comment = **at == '#';
        const int n = split(*at, stop, fields);
        *at = stop < end ? stop + 1 : end;
        *line += 1;
        for (int k = 2; k < n && !*found; k++) {
            *found = parse_number(&fields[k], &out->rating);
        }
        *found = *found && !is_comment;
        if (*found) {
            out->word[0] = fields[0];
            out->word[1] = fields[1];
        } else if (!is_comment && *line > 1 && n > 0 && !(n == 1 && fields[0].n_bytes == 0)) {
            return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': line %lld is not two words and a rating", path,
                           (long long)*line);
        }
    }
    return MB_OK;
}

static double cosine(const mb_word_vectors *vectors, int64_t i, int64_t j) {
    const float *x = vectors->data + i * vectors->width, *y = vectors->data + j * vectors->width;
    double sum = 0;
    for (int64_t k = 0; k < vectors->width; k++) {
        sum += (double)x[k] * (double)y[k];
    }
    return sum;
}

typedef struct ratings {
    double *people, *cosines;
    int64_t n, capacity, n_pairs;
} ratings;

static bool add_rating(ratings *r, double rating, double similarity) {
    if (r->n == r->capacity) {
        const int64_t capacity = r->capacity ? 2 * r->capacity : 1024;
        double *people = realloc(r->people, (size_t)capacity * sizeof *people);
        r->people = people ? people : r->people;
        double *cosines = realloc(r->cosines, (size_t)capacity * sizeof *cosines);
        r->cosines = cosines ? cosines : r->cosines;
        if (!people || !cosines) {
            return false;
        }
        r->capacity = capacity;
    }
    r->people[r->n] = rating;
    r->cosines[r->n++] = similarity;
    return true;
}

static mb_status read_ratings(const char *path, const mb_word_lookup *lookup, ratings *r, mb_error *error) {
    mb_map map;
    mb_status status = mb_map_open(path, &map, error);
    if (status != MB_OK) {
        return status;
    }
    const unsigned char *at = map.data, *end = map.data + map.n_bytes;
    int64_t line = 0;
    pair p;
    bool found = true;
    while (status == MB_OK) {
        status = next_pair(path, &at, end, &line, &p, &found, error);
        if (status != MB_OK || !found) {
            break;
        }
        r->n_pairs++;
        const int64_t first = mb_word_lookup_find(lookup, p.word[0].bytes, p.word[0].n_bytes);
        const int64_t second = mb_word_lookup_find(lookup, p.word[1].bytes, p.word[1].n_bytes);
        if (first >= 0 && second >= 0 && !add_rating(r, p.rating, cosine(lookup->vectors, first, second))) {
            status = mb_fail(error, MB_ERROR_MEMORY, "out of memory for the pairs of '%s'", path);
        }
    }
    mb_map_close(&map);
    return status == MB_OK && r->n_pairs == 0 ? mb_fail(error, MB_ERROR_FORMAT, "'%s' has no pairs of words", path) : status;
}

static json_t *number_or_null(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static mb_status judge_file(const char *path, const mb_word_lookup *lookup, json_t *result, mb_error *error) {
    ratings r = {0};
    mb_status status = read_ratings(path, lookup, &r, error);
    if (status == MB_OK) {
        json_t *object = json_pack("{s:s, s:I, s:I, s:I, s:o, s:o}", "file", path, "pairs", (json_int_t)r.n_pairs, "found",
                                   (json_int_t)r.n, "out_of_vocabulary", (json_int_t)(r.n_pairs - r.n), "spearman",
                                   number_or_null(mb_spearman(r.cosines, r.people, r.n)), "pearson",
                                   number_or_null(mb_pearson(r.cosines, r.people, r.n)));
        if (!object || json_array_append_new(result, object) != 0) {
            status = mb_fail(error, MB_ERROR_MEMORY, "out of memory for the result");
        }
    }
    free(r.people);
    free(r.cosines);
    return status;
}

mb_status mb_similarity(const mb_similarity_options *options, json_t **result, mb_error *error) {
    mb_word_vectors vectors;
    mb_word_lookup lookup = {0};
    *result = NULL;
    mb_status status = mb_word_vectors_load(options->vectors, &vectors, error);
    if (status != MB_OK) {
        return status;
    }
    status = mb_word_lookup_init(&lookup, &vectors, error);
    json_t *array = json_array();
    for (size_t i = 0; status == MB_OK && i < options->files.n; i++) {
        status = judge_file(options->files.items[i], &lookup, array, error);
    }
    mb_word_lookup_free(&lookup);
    mb_word_vectors_free(&vectors);
    if (status != MB_OK) {
        json_decref(array);
        return status;
    }
    *result = array;
    return MB_OK;
}
