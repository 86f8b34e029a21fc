#include "tasks/vector_reader.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "skipgram/word_vectors.h"
#include "tasks/text_input.h"

/* --- texts --- */

bool mb_texts_add(mb_texts *texts, const char *text, size_t n_bytes) {
    if (texts->n == texts->capacity) {
        const int64_t capacity = texts->capacity ? 2 * texts->capacity : 1024;
        size_t *ends = realloc(texts->ends, (size_t)capacity * sizeof *ends);
        if (!ends) {
            return false;
        }
        texts->ends = ends;
        texts->capacity = capacity;
    }
    if (!mb_buffer_append(&texts->bytes, text, n_bytes)) {
        return false;
    }
    texts->ends[texts->n++] = texts->bytes.n_bytes;
    return true;
}

const char *mb_texts_get(const mb_texts *texts, int64_t i, size_t *n_bytes) {
    const size_t start = i ? texts->ends[i - 1] : 0;
    *n_bytes = texts->ends[i] - start;
    return texts->bytes.data + start;
}

void mb_texts_free(mb_texts *texts) {
    mb_buffer_free(&texts->bytes);
    free(texts->ends);
    *texts = (mb_texts){0};
}

mb_status mb_texts_load(const char *path, const mb_job *job, mb_texts *texts, mb_error *error) {
    mb_text_input *input = NULL;
    mb_text_block block = {0};
    mb_status status = mb_text_input_open(path, &input, error);
    while (status == MB_OK) {
        status = mb_text_input_next(input, 4096, 1 << 20, job, &block, error);
        if (status != MB_OK || block.n == 0) {
            break;
        }
        for (size_t i = 0; status == MB_OK && i < block.n; i++) {
            if (!mb_texts_add(texts, block.lines[i].text, block.lines[i].n_bytes)) {
                status = mb_fail(error, MB_ERROR_MEMORY, "out of memory for the lines of '%s'", path);
            }
        }
    }
    mb_text_block_free(&block);
    mb_text_input_close(input);
    return status;
}

void mb_vectors_free(mb_vectors *vectors) {
    free(vectors->data);
    *vectors = (mb_vectors){0};
}

static mb_status allocate(mb_vectors *vectors, int64_t n, int64_t width, const char *path, mb_error *error) {
    size_t count;
    if (__builtin_mul_overflow((size_t)n, (size_t)width, &count) ||
        !(vectors->data = calloc(count ? count : 1, sizeof *vectors->data))) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the %lld x %lld numbers of '%s'", (long long)n,
                       (long long)width, path);
    }
    vectors->n = n;
    vectors->width = width;
    return MB_OK;
}

/* --- npy --- */

static const char NPY_MAGIC[] = "\x93NUMPY";
enum { NPY_MAGIC_BYTES = 6, NPY_MAX_HEADER = 65535 };

bool mb_npy_is(const mb_map *map) {
    return map->n_bytes >= NPY_MAGIC_BYTES && memcmp(map->data, NPY_MAGIC, NPY_MAGIC_BYTES) == 0;
}

static mb_status bad_npy(const char *path, const char *what, mb_error *error) {
    return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': %s", path, what);
}

/* The text after "'key':" in the header's Python literal; NULL when absent. */
static const char *npy_value(const char *header, const char *key) {
    const char *at = strstr(header, key);
    at = at ? strchr(at, ':') : NULL;
    return at ? at + 1 + strspn(at + 1, " ") : NULL;
}

/* Digits, at most 18 of them, at *text, which moves behind them; false when there are none, or more. */
static bool take_count(const char **text, int64_t *out) {
    const size_t n = strspn(*text, "0123456789");
    *out = 0;
    for (size_t i = 0; i < n && n <= 18; i++) {
        *out = *out * 10 + ((*text)[i] - '0');
    }
    *text += n;
    return n > 0 && n <= 18;
}

/* "(3, 4)", "(3,)" */
static bool npy_shape(const char *text, int64_t *n, int64_t *width) {
    if (*text++ != '(' || !take_count(&text, n) || *text++ != ',') {
        return false;
    }
    text += strspn(text, " ");
    if (*text == ')') {
        *width = *n;
        *n = 1;
        return true;
    }
    return take_count(&text, width) && text[strspn(text, " ,")] == ')';
}

/* "'<f4'": byte order, kind, bytes. One byte has no order: '|'. */
static bool npy_type(const char *text, mb_npy_header *out) {
    const char *size = text + 3;
    int64_t n_bytes = 0;
    if (text[0] != '\'' || (text[1] != '<' && text[1] != '|') || text[2] < 'a' || text[2] > 'z' ||
        !take_count(&size, &n_bytes) || *size != '\'' || n_bytes < 1 || n_bytes > 16) {
        return false;
    }
    out->element_bytes = (size_t)n_bytes;
    snprintf(out->type, sizeof out->type, "%.*s", (int)(size - text - 1), text + 1);
    return true;
}

mb_status mb_npy_parse(const mb_map *map, const char *path, mb_npy_header *out, mb_error *error) {
    if (!mb_npy_is(map) || map->n_bytes < 12) {
        return bad_npy(path, "it is no npy file", error);
    }
    const unsigned char *bytes = map->data;
    const size_t length_at = 8, is_2 = bytes[6] >= 2, length_bytes = is_2 ? 4 : 2;
    size_t length = bytes[length_at] + ((size_t)bytes[length_at + 1] << 8);
    length += is_2 ? ((size_t)bytes[length_at + 2] << 16) + ((size_t)bytes[length_at + 3] << 24) : 0;
    out->data_offset = length_at + length_bytes + length;
    if (length > NPY_MAX_HEADER || out->data_offset > map->n_bytes) {
        return bad_npy(path, "the npy header is cut off", error);
    }
    char *header = strndup((const char *)bytes + length_at + length_bytes, length);
    if (!header) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory reading '%s'", path);
    }
    const char *descr = npy_value(header, "'descr'"), *order = npy_value(header, "'fortran_order'");
    const char *shape = npy_value(header, "'shape'");
    const bool fine = descr && order && shape && strncmp(order, "False", 5) == 0 && npy_type(descr, out) &&
                      npy_shape(shape, &out->n, &out->width);
    free(header);
    if (!fine) {
        return bad_npy(path, "the npy array is not a C-order matrix of little-endian numbers", error);
    }
    size_t count, n_bytes;
    if (__builtin_mul_overflow((size_t)out->n, (size_t)out->width, &count) ||
        __builtin_mul_overflow(count, out->element_bytes, &n_bytes) || n_bytes != map->n_bytes - out->data_offset) {
        return bad_npy(path, "its size is not what its npy header says; is it cut off?", error);
    }
    return MB_OK;
}

static mb_status load_npy(const mb_map *map, const char *path, mb_vectors *vectors, mb_error *error) {
    mb_npy_header header;
    mb_status status = mb_npy_parse(map, path, &header, error);
    if (status == MB_OK && strcmp(header.type, "<f4") != 0 && strcmp(header.type, "<f8") != 0) {
        return mb_fail(error, MB_ERROR_FORMAT, "'%s' holds numbers of type %s; float32 or float64 are read", path, header.type);
    }
    if (status == MB_OK) {
        status = allocate(vectors, header.n, header.width, path, error);
    }
    for (int64_t i = 0; status == MB_OK && i < header.n * header.width; i++) {
        const unsigned char *at = map->data + header.data_offset + (size_t)i * header.element_bytes;
        double value64;
        if (header.element_bytes == sizeof(float)) {
            memcpy(&vectors->data[i], at, sizeof(float));
        } else {
            memcpy(&value64, at, sizeof value64);
            vectors->data[i] = (float)value64;
        }
        if (!isfinite(vectors->data[i])) {
            status = mb_fail(error, MB_ERROR_FORMAT, "'%s': row %lld has a number that is not finite", path,
                             (long long)(i / header.width) + 1);
        }
    }
    return status;
}

/* --- word2vec text --- */

/* One line "word n1 n2 ..."; the text ends with NUL. */
static mb_status parse_word_line(char *line, int64_t number, const char *path, mb_vectors *vectors, mb_texts *texts,
                                 mb_error *error) {
    char *at = strchr(line, ' ');
    if (!at || at == line) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': line %lld is not a word and numbers", path,
                       (long long)number);
    }
    if (!mb_texts_add(texts, line, (size_t)(at - line))) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the words of '%s'", path);
    }
    float *row = vectors->data + (number - 2) * vectors->width;
    int64_t n = 0;
    while (true) {
        at += strspn(at, " \r");
        if (*at == '\0') {
            break;
        }
        char *end;
        const float value = strtof(at, &end);
        if (end == at || !isfinite(value) || n == vectors->width) {
            n = -1;
            break;
        }
        row[n++] = value;
        at = end;
    }
    if (n != vectors->width) {
        return mb_fail(error, MB_ERROR_FORMAT,
                       "cannot read '%s': line %lld has not the %lld finite numbers that line 1 promises", path,
                       (long long)number, (long long)vectors->width);
    }
    return MB_OK;
}

static mb_status load_word2vec(const mb_map *map, const char *path, mb_vectors *vectors, mb_texts *texts, mb_error *error) {
    const unsigned char *feed = map->n_bytes ? memchr(map->data, '\n', map->n_bytes) : NULL;
    const size_t length = feed ? (size_t)(feed - map->data) : 0;
    char first[64] = "";
    if (length < sizeof first) {
        memcpy(first, map->data, length);
    }
    const char *rest = first;
    int64_t n = 0, width = 0;
    const bool fine = take_count(&rest, &n) && *rest++ == ' ' && take_count(&rest, &width) && rest[strspn(rest, " \r")] == '\0';
    /* A number takes at least two bytes: sizes that the file cannot hold are refused before anything is allocated. */
    if (!fine || width == 0 || (uint64_t)width > map->n_bytes / 2 || (uint64_t)n > map->n_bytes / 2 / (uint64_t)width) {
        return mb_fail(
            error, MB_ERROR_FORMAT,
            "cannot read '%s': it is neither npy nor word2vec text (whose first line is the number of words and the width)",
            path);
    }
    mb_status status = allocate(vectors, n, width, path, error);
    mb_buffer line = {0};
    size_t at = length + 1;
    int64_t number = 2;
    for (; status == MB_OK && at < map->n_bytes && number < n + 2; number++) {
        const unsigned char *end = memchr(map->data + at, '\n', map->n_bytes - at);
        const size_t n_bytes = end ? (size_t)(end - map->data) - at : map->n_bytes - at;
        mb_buffer_clear(&line);
        status = mb_buffer_append(&line, map->data + at, n_bytes)
                     ? parse_word_line(line.data, number, path, vectors, texts, error)
                     : mb_fail(error, MB_ERROR_MEMORY, "out of memory reading '%s'", path);
        at += n_bytes + 1;
    }
    mb_buffer_free(&line);
    if (status == MB_OK && (number != n + 2 || at < map->n_bytes)) {
        status = mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': it has %s than the %lld words that line 1 promises", path,
                         at < map->n_bytes ? "more" : "fewer", (long long)n);
    }
    return status;
}

/* Formats that only word vectors have: word2vec's binary, and npy with PATH.vocab beside it. */
static bool is_word_vectors(const mb_map *map, const char *path) {
    if (!mb_npy_is(map)) {
        return mb_word_vectors_are_binary(map->data, map->n_bytes);
    }
    char list_path[4096];
    return snprintf(list_path, sizeof list_path, "%s.vocab", path) < (int)sizeof list_path && mb_path_exists(list_path);
}

static mb_status load_word_vectors(const char *path, mb_vectors *vectors, mb_texts *texts, mb_error *error) {
    mb_word_vectors words;
    mb_status status = mb_word_vectors_load(path, &words, error);
    if (status != MB_OK) {
        return status;
    }
    *vectors = (mb_vectors){.data = words.data, .n = words.words.n, .width = words.width};
    words.data = NULL;
    for (int64_t i = 0; status == MB_OK && i < words.words.n; i++) {
        size_t n_bytes;
        const char *bytes = mb_lexicon_get(&words.words, i, &n_bytes);
        if (!mb_texts_add(texts, bytes, n_bytes)) {
            status = mb_fail(error, MB_ERROR_MEMORY, "out of memory for the words of '%s'", path);
        }
    }
    mb_word_vectors_free(&words);
    return status;
}

mb_status mb_vectors_load(const char *path, mb_vectors *vectors, mb_texts *texts, mb_error *error) {
    *vectors = (mb_vectors){0};
    mb_map map = {0};
    mb_status status = mb_map_open(path, &map, error);
    if (status == MB_OK && is_word_vectors(&map, path)) {
        status = load_word_vectors(path, vectors, texts, error);
    } else if (status == MB_OK) {
        status = mb_npy_is(&map) ? load_npy(&map, path, vectors, error) : load_word2vec(&map, path, vectors, texts, error);
    }
    mb_map_close(&map);
    if (status != MB_OK) {
        mb_vectors_free(vectors);
    }
    return status;
}
