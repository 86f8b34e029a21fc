#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "skipgram/text_words.h"
#include "skipgram/vocabulary.h"
#include "skipgram/word_vectors.h"

enum { MAX_WIDTH = 1 << 20, NUMBER_BYTES = 64 };

void mb_word_vectors_free(mb_word_vectors *vectors) {
    mb_lexicon_free(&vectors->words);
    free(vectors->data);
    *vectors = (mb_word_vectors){0};
}

typedef struct reading {
    const char *path;
    const unsigned char *at, *end;
    mb_word_vectors *out;
    int64_t n, capacity_rows;
    mb_error *error;
} reading;

static mb_status bad(const reading *r, const char *what) {
    return mb_fail(r->error, MB_ERROR_FORMAT, "cannot read '%s': %s", r->path, what);
}

static mb_status bad_row(const reading *r, int64_t row, const char *what) {
    return mb_fail(r->error, MB_ERROR_FORMAT, "cannot read '%s': word %lld %s", r->path, (long long)row + 1, what);
}

static mb_status out_of_memory(const reading *r) {
    return mb_fail(r->error, MB_ERROR_MEMORY, "out of memory for the vectors of '%s'", r->path);
}

/* Room for one more row; rows are never more than the file has bytes for. */
static mb_status next_row(reading *r, float **row) {
    const int64_t n = r->out->words.n, width = r->out->width;
    if (n + 1 > r->capacity_rows) {
        const int64_t capacity = r->capacity_rows ? 2 * r->capacity_rows : r->n > 0 && r->n < 4096 ? r->n : 4096;
        float *data = realloc(r->out->data, (size_t)capacity * (size_t)width * sizeof *data);
        if (!data) {
            return out_of_memory(r);
        }
        r->out->data = data;
        r->capacity_rows = capacity;
    }
    *row = r->out->data + n * width;
    return MB_OK;
}

/* The row written by next_row is kept unless its word is there already. */
static mb_status add_word(reading *r, const mb_text_word *word) {
    if (mb_lexicon_find(&r->out->words, word->bytes, word->n_bytes) >= 0) {
        r->out->n_duplicates++;
        return MB_OK;
    }
    return mb_lexicon_add(&r->out->words, word->bytes, word->n_bytes, 0) < 0 ? out_of_memory(r) : MB_OK;
}

/* --- the beginning of the file --- */

static bool parse_int(const mb_text_word *word, int64_t *out) {
    *out = 0;
    for (size_t i = 0; i < word->n_bytes; i++) {
        if (word->bytes[i] < '0' || word->bytes[i] > '9' || i >= 12) {
            return false;
        }
        *out = *out * 10 + (word->bytes[i] - '0');
    }
    return word->n_bytes > 0;
}

static const unsigned char *line_end(const unsigned char *at, const unsigned char *end) {
    const unsigned char *found = memchr(at, '\n', (size_t)(end - at));
    return found ? found : end;
}

/* "n width" alone on the first line: then *header. Else the width is that of the first line, as in GloVe's files. */
static mb_status read_header(reading *r, bool *header) {
    const unsigned char *end = line_end(r->at, r->end), *at = r->at;
    mb_text_word words[3];
    int64_t n_words = 0, n_fields = 0;
    while (mb_text_next_word(&at, end, end, &words[n_words < 2 ? n_words : 2])) {
        n_words += n_words < 3;
        n_fields++;
    }
    *header = n_fields == 2 && parse_int(&words[0], &r->n) && parse_int(&words[1], &r->out->width);
    if (!*header) {
        r->n = -1;
        r->out->width = n_fields - 1;
    }
    if (r->out->width < 1 || r->out->width > MAX_WIDTH) {
        return bad(r, "its first line is neither 'words width' nor a word and its numbers");
    }
    if (*header) {
        r->at = end < r->end ? end + 1 : end;
        if (r->n > (r->end - r->at) / (r->out->width + 1)) {
            return mb_fail(r->error, MB_ERROR_FORMAT,
                           "cannot read '%s': it is too short for the %lld x %lld numbers it announces", r->path,
                           (long long)r->n, (long long)r->out->width);
        }
    }
    return MB_OK;
}

static bool is_one_of(const char *set, unsigned char c) {
    return c != '\0' && strchr(set, c) != NULL;
}

/* Whether the first row is written in digits. In the bytes of floats something else turns up at once. */
static bool looks_like_text(const reading *r) {
    const unsigned char *at = r->at;
    mb_text_word word;
    if (!mb_text_next_word(&at, r->end, r->end, &word)) {
        return true;
    }
    for (int64_t k = 0; k < r->out->width && at < r->end; k++) {
        while (at < r->end && (*at == ' ' || *at == '\t')) {
            at++;
        }
        const unsigned char *begin = at;
        while (at < r->end && is_one_of("0123456789+-.eEinfaINFA", *at)) {
            at++;
        }
        if (at == begin || (at < r->end && !is_one_of(" \t\r\n", *at))) {
            return false;
        }
    }
    return true;
}

bool mb_word_vectors_are_binary(const void *bytes, size_t n_bytes) {
    mb_word_vectors vectors = {0};
    reading r = {.path = "", .at = bytes, .out = &vectors};
    r.end = r.at + n_bytes;
    bool header = false;
    return read_header(&r, &header) == MB_OK && header && !looks_like_text(&r);
}

/* --- rows --- */

static bool parse_number(const mb_text_word *word, float *out) {
    char text[NUMBER_BYTES], *end;
    if (word->n_bytes >= sizeof text) {
        return false;
    }
    memcpy(text, word->bytes, word->n_bytes);
    text[word->n_bytes] = '\0';
    *out = strtof(text, &end);
    return *end == '\0' && isfinite(*out);
}

static mb_status read_text(reading *r) {
    mb_status status = MB_OK;
    int64_t row = 0;
    for (; status == MB_OK && (r->n < 0 || row < r->n); row++) {
        mb_text_word word, number;
        if (!mb_text_next_word(&r->at, r->end, r->end, &word)) {
            break;
        }
        const unsigned char *end = line_end(r->at, r->end);
        float *numbers;
        status = next_row(r, &numbers);
        for (int64_t j = 0; status == MB_OK && j < r->out->width; j++) {
            if (!mb_text_next_word(&r->at, end, end, &number)) {
                status = bad_row(r, row, "has fewer numbers than the others");
            } else if (!parse_number(&number, &numbers[j])) {
                status = bad_row(r, row, "has something that is no finite number");
            }
        }
        if (status == MB_OK && mb_text_next_word(&r->at, end, end, &number)) {
            status = bad_row(r, row, "has more numbers than the others");
        }
        if (status == MB_OK) {
            status = add_word(r, &word);
        }
    }
    if (status == MB_OK && r->n >= 0 && row < r->n) {
        return bad_row(r, row, "is missing: the file is cut off");
    }
    return status;
}

static mb_status read_binary(reading *r) {
    const size_t n_bytes = (size_t)r->out->width * sizeof(float);
    mb_status status = MB_OK;
    for (int64_t row = 0; status == MB_OK && row < r->n; row++) {
        while (r->at < r->end && *r->at == '\n') {
            r->at++;
        }
        const unsigned char *space = memchr(r->at, ' ', (size_t)(r->end - r->at));
        if (!space || (size_t)(r->end - space) < 1 + n_bytes) {
            return bad_row(r, row, "is missing: the file is cut off");
        }
        const mb_text_word word = {.bytes = r->at, .n_bytes = (size_t)(space - r->at)};
        float *numbers;
        status = next_row(r, &numbers);
        if (status == MB_OK) {
            memcpy(numbers, space + 1, n_bytes);
            r->at = space + 1 + n_bytes;
            for (int64_t j = 0; j < r->out->width; j++) {
                if (!isfinite(numbers[j])) {
                    return bad_row(r, row, "has a number that is not finite");
                }
            }
            status = add_word(r, &word);
        }
    }
    return status;
}

/* --- npy --- */

static const unsigned char NPY_MAGIC[6] = "\x93NUMPY";

/* The shape from the header's "(n, width)"; only float32 in rows. */
static mb_status npy_header(reading *r) {
    const size_t length = r->end - r->at >= 10 ? 10 + (size_t)r->at[8] + ((size_t)r->at[9] << 8) : 0;
    char header[512];
    if (length == 0 || r->at[6] != 1 || length > (size_t)(r->end - r->at) || length - 10 >= sizeof header) {
        return bad(r, "its npy header is cut off, or not of version 1");
    }
    memcpy(header, r->at + 10, length - 10);
    header[length - 10] = '\0';
    const char *shape = strstr(header, "'shape': (");
    long long n = -1, width = 0;
    if (shape) {
        char *end;
        n = strtoll(shape + strlen("'shape': ("), &end, 10);
        width = *end == ',' ? strtoll(end + 1, &end, 10) : 0;
        width = *end == ')' ? width : 0;
    }
    if (!strstr(header, "'<f4'") || strstr(header, "True") || n < 0 || width < 1 || width > MAX_WIDTH) {
        return bad(r, "it is no npy array of float32 in rows and columns");
    }
    r->at += length;
    r->n = n;
    r->out->width = width;
    if ((uint64_t)n > (uint64_t)(r->end - r->at) / ((uint64_t)width * sizeof(float))) {
        return bad(r, "it is shorter than its header says");
    }
    return MB_OK;
}

static mb_status read_npy(reading *r) {
    char list_path[4096];
    mb_status status = npy_header(r);
    if (status != MB_OK) {
        return status;
    }
    if (snprintf(list_path, sizeof list_path, "%s.vocab", r->path) >= (int)sizeof list_path) {
        return mb_fail(r->error, MB_ERROR_USAGE, "the path '%.200s...' is too long", r->path);
    }
    status = mb_vocabulary_read_counts(list_path, &r->out->words, r->error);
    if (status == MB_OK && r->out->words.n != r->n) {
        return mb_fail(r->error, MB_ERROR_MISMATCH, "'%s' has %lld vectors but '%s' has %lld words", r->path, (long long)r->n,
                       list_path, (long long)r->out->words.n);
    }
    const size_t n_bytes = (size_t)r->n * (size_t)r->out->width * sizeof(float);
    if (status == MB_OK && !(r->out->data = malloc(n_bytes + 1))) {
        return out_of_memory(r);
    }
    if (status == MB_OK) {
        memcpy(r->out->data, r->at, n_bytes);
        for (int64_t i = 0; i < r->n * r->out->width; i++) {
            if (!isfinite(r->out->data[i])) {
                return bad_row(r, i / r->out->width, "has a number that is not finite");
            }
        }
    }
    return status;
}

mb_status mb_word_vectors_load(const char *path, mb_word_vectors *out, mb_error *error) {
    mb_map map;
    *out = (mb_word_vectors){0};
    mb_status status = mb_map_open(path, &map, error);
    if (status != MB_OK) {
        return status;
    }
    reading r = {.path = path, .at = map.data, .end = map.data + map.n_bytes, .out = out, .error = error};
    bool header = false;
    if (map.n_bytes >= sizeof NPY_MAGIC && memcmp(map.data, NPY_MAGIC, sizeof NPY_MAGIC) == 0) {
        status = read_npy(&r);
    } else {
        status = read_header(&r, &header);
        if (status == MB_OK) {
            status = header && !looks_like_text(&r) ? read_binary(&r) : read_text(&r);
        }
    }
    if (status == MB_OK && out->words.n == 0) {
        status = bad(&r, "it has no words");
    }
    mb_map_close(&map);
    if (status != MB_OK) {
        mb_word_vectors_free(out);
    }
    return status;
}
