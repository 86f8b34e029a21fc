#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "tokenizer/tokenizer_internal.h"

static size_t find_slot(const mb_vocab *vocab, const char *text, size_t n_bytes) {
    size_t slot = (size_t)mb_hash_bytes(text, n_bytes) & (vocab->n_slots - 1);
    while (vocab->slots[slot] != 0) {
        const char *other = vocab->texts[vocab->slots[slot] - 1];
        if (strncmp(other, text, n_bytes) == 0 && other[n_bytes] == '\0') {
            break;
        }
        slot = (slot + 1) & (vocab->n_slots - 1);
    }
    return slot;
}

int32_t mb_vocab_find(const mb_vocab *vocab, const char *text, size_t n_bytes) {
    if (vocab->n == 0) {
        return -1;
    }
    return (int32_t)vocab->slots[find_slot(vocab, text, n_bytes)] - 1;
}

/* Room for n pieces, and for their index twice as many places. */
bool mb_vocab_reserve(mb_vocab *vocab, size_t n) {
    if (n > vocab->capacity) {
        size_t capacity = n > 2 * vocab->capacity + 1024 ? n : 2 * vocab->capacity + 1024;
        char **texts = realloc(vocab->texts, capacity * sizeof *texts);
        if (texts == NULL) {
            return false;
        }
        vocab->texts = texts;
        vocab->capacity = capacity;
    }
    if (2 * n < vocab->n_slots) {
        return true;
    }
    size_t n_slots = vocab->n_slots == 0 ? 4096 : 2 * vocab->n_slots;
    while (2 * n >= n_slots) {
        n_slots *= 2;
    }
    uint32_t *slots = calloc(n_slots, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    free(vocab->slots);
    vocab->slots = slots;
    vocab->n_slots = n_slots;
    for (size_t id = 0; id < vocab->n; id++) {
        vocab->slots[find_slot(vocab, vocab->texts[id], strlen(vocab->texts[id]))] = (uint32_t)id + 1;
    }
    return true;
}

/* Why a text cannot be a piece; NULL: it can. */
static const char *refusal(const char *text, size_t n_bytes) {
    if (n_bytes == 0) {
        return "is empty";
    }
    for (size_t i = 0, n_read; i < n_bytes; i += n_read) {
        if (text[i] == '\n' || text[i] == '\r' || text[i] == '\0') {
            return "holds a line break or a NUL";
        }
        if (mb_utf8_decode((const unsigned char *)text + i, n_bytes - i, &n_read) == MB_REPLACEMENT &&
            (n_read != 3 || memcmp(text + i, "\xEF\xBF\xBD", 3) != 0)) {
            return "is not UTF-8";
        }
    }
    return NULL;
}

mb_status mb_vocab_add(mb_vocab *vocab, const char *text, size_t n_bytes, const char *path, size_t line, mb_error *error) {
    const char *why = refusal(text, n_bytes);
    const bool grown = why == NULL && vocab->n < INT32_MAX && mb_vocab_reserve(vocab, vocab->n + 1);
    const size_t slot = grown ? find_slot(vocab, text, n_bytes) : 0;
    const int32_t old = grown ? (int32_t)vocab->slots[slot] - 1 : -1;
    char place[32] = "";
    if (line > 0 && (why != NULL || old >= 0)) {
        snprintf(place, sizeof place, "line %zu: ", line);
    }
    if (why != NULL) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': %sthe piece with id %zu %s", path, place, vocab->n, why);
    }
    if (old >= 0) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': %sthe piece '%.*s' is there twice, as id %d and %zu", path,
                       place, (int)(n_bytes < 80 ? n_bytes : 80), text, (int)old, vocab->n);
    }
    char *copy = grown ? malloc(n_bytes + 1) : NULL;
    if (copy == NULL) {
        return mb_fail(error, MB_ERROR_MEMORY, "cannot read '%s': no memory for %zu pieces", path, vocab->n + 1);
    }
    memcpy(copy, text, n_bytes);
    copy[n_bytes] = '\0';
    vocab->slots[slot] = (uint32_t)vocab->n + 1;
    vocab->texts[vocab->n++] = copy;
    return MB_OK;
}

void mb_vocab_free(mb_vocab *vocab) {
    for (size_t i = 0; i < vocab->n; i++) {
        free(vocab->texts[i]);
    }
    free(vocab->texts);
    free(vocab->slots);
    *vocab = (mb_vocab){0};
}

mb_status mb_vocab_read_text(const char *path, mb_vocab *vocab, mb_error *error) {
    mb_map map = {0};
    mb_status status = mb_map_open(path, &map, error);
    const char *text = (const char *)map.data;
    size_t line = 1;
    for (size_t begin = 0; status == MB_OK && begin < map.n_bytes; line++) {
        const char *newline = memchr(text + begin, '\n', map.n_bytes - begin);
        size_t end = newline == NULL ? map.n_bytes : (size_t)(newline - text);
        size_t n_bytes = end - begin;
        if (n_bytes > 0 && text[end - 1] == '\r') {
            n_bytes--; /* files written on Windows */
        }
        status = mb_vocab_add(vocab, text + begin, n_bytes, path, line, error);
        begin = end + 1;
    }
    mb_map_close(&map);
    if (status == MB_OK && vocab->n == 0) {
        status = mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': it is empty, expected one piece a line", path);
    }
    return status;
}

bool mb_vocab_is_text(const char *path, const mb_vocab *vocab, size_t n_least) {
    mb_map map = {0};
    if (mb_map_open(path, &map, NULL) != MB_OK) {
        return false;
    }
    const char *text = (const char *)map.data;
    size_t begin = 0, id = 0;
    bool same = true;
    for (; same && begin < map.n_bytes; id++) {
        const size_t n_bytes = id < vocab->n ? strlen(vocab->texts[id]) : SIZE_MAX;
        same = n_bytes < map.n_bytes - begin && memcmp(text + begin, vocab->texts[id], n_bytes) == 0 &&
               text[begin + n_bytes] == '\n';
        begin += same ? n_bytes + 1 : 0;
    }
    mb_map_close(&map);
    return same && id >= n_least;
}

mb_status mb_vocab_write_text(const mb_vocab *vocab, const char *path, mb_error *error) {
    mb_writer *writer = NULL;
    mb_status status = mb_writer_open(path, &writer, error);
    if (status != MB_OK) {
        return status;
    }
    for (size_t i = 0; i < vocab->n; i++) {
        mb_writer_write(writer, vocab->texts[i], strlen(vocab->texts[i]));
        mb_writer_write(writer, "\n", 1);
    }
    return mb_writer_commit(writer, error);
}
