#include "tasks/sense_lines.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tasks/text_escape.h"
#include "tasks/top_k.h"
#include "tasks/word_pieces.h"

enum { EXCERPT_BYTES = 60 }; /* on either side */

void mb_line_words_free(mb_line_words *words) {
    mb_lexicon_free(&words->words);
    free(words->counts);
    free(words->last_seen);
    *words = (mb_line_words){0};
}

static bool count_word(mb_line_words *c, int k, int sense, const mb_word_pieces *word, int64_t occurrence) {
    const int64_t id = mb_lexicon_add(&c->words, word->bytes, word->n_bytes, 1);
    if (id < 0) {
        return false;
    }
    if (id >= c->capacity) {
        const int64_t capacity = c->capacity ? 2 * c->capacity : 1024;
        int64_t *counts = realloc(c->counts, (size_t)capacity * (size_t)k * sizeof *counts);
        c->counts = counts ? counts : c->counts;
        int64_t *last_seen = realloc(c->last_seen, (size_t)capacity * sizeof *last_seen);
        c->last_seen = last_seen ? last_seen : c->last_seen;
        if (!counts || !last_seen) {
            return false;
        }
        memset(c->counts + c->capacity * k, 0, (size_t)(capacity - c->capacity) * (size_t)k * sizeof *counts);
        memset(c->last_seen + c->capacity, -1, (size_t)(capacity - c->capacity) * sizeof *last_seen);
        c->capacity = capacity;
    }
    c->counts[id * k + sense] += c->last_seen[id] != occurrence;
    c->last_seen[id] = occurrence;
    return true;
}

mb_status mb_line_words_count(mb_line_words *words, const mb_tokenizer *tokenizer, const mb_sense_word *word,
                              const mb_clusters *clusters, mb_error *error) {
    mb_encoding e = {0};
    mb_status status = MB_OK;
    *words = (mb_line_words){0};
    for (int64_t i = 0; status == MB_OK && i < word->n; i++) {
        const mb_occurrence *o = &word->occurrences[i];
        mb_word_pieces pieces = {0};
        status = mb_tokenizer_encode(tokenizer, o->line, o->n_bytes, &e, error);
        for (size_t t = 0; status == MB_OK && t < e.n_tokens; t++) {
            mb_word_pieces_add(&pieces, tokenizer, mb_tokenizer_piece(tokenizer, e.ids[t]));
            const bool ends = t + 1 == e.n_tokens || e.words[t + 1] != e.words[t];
            if (ends && pieces.is_word && !ispunct((unsigned char)pieces.bytes[0]) &&
                !count_word(words, clusters->k, clusters->of[i], &pieces, i)) {
                status = mb_fail(error, MB_ERROR_MEMORY, "out of memory for the words beside one; lower --max-occurrences");
            }
        }
    }
    mb_encoding_free(&e);
    return status;
}

/* Log-likelihood ratio of a word that `a` of A lines and b of B others have, if it is more frequent in the first (Dunning 1993,
 * "Accurate methods for the statistics of surprise and coincidence"); else 0. */
static double keyness(double a, double n_a, double b, double n_b) {
    if (a * n_b <= b * n_a) {
        return 0;
    }
    const double expected_a = n_a * (a + b) / (n_a + n_b), expected_b = n_b * (a + b) / (n_a + n_b);
    return 2 * (a * log(a / expected_a) + (b > 0 ? b * log(b / expected_b) : 0));
}

json_t *mb_line_words_typical(const mb_line_words *c, const mb_clusters *clusters, int sense, int64_t n_words) {
    const int k = clusters->k;
    const double n_sense = (double)clusters->sizes[sense], n_others = (double)clusters->n - n_sense;
    mb_top_k top = {0};
    mb_error ignored;
    json_t *array = json_array();
    if (!array || mb_top_k_init(&top, n_words, &ignored) != MB_OK) {
        json_decref(array);
        return NULL;
    }
    for (int64_t id = 0; n_others > 0 && id < c->words.n; id++) {
        int64_t total = 0;
        for (int s = 0; s < k; s++) {
            total += c->counts[id * k + s];
        }
        const int64_t here = c->counts[id * k + sense];
        const double score = keyness((double)here, n_sense, (double)(total - here), n_others);
        if (here > 1 && score > 0) {
            mb_top_k_offer(&top, score, id);
        }
    }
    mb_top_k_sort(&top);
    int failed = 0;
    for (int64_t i = 0; i < top.n; i++) {
        size_t n_bytes;
        const char *bytes = mb_lexicon_get(&c->words, top.items[i].index, &n_bytes);
        failed |= json_array_append_new(array, json_stringn(bytes, n_bytes));
    }
    mb_top_k_free(&top);
    return failed ? (json_decref(array), NULL) : array;
}

/* --- examples --- */

static bool is_inside_character(const mb_occurrence *o, size_t at) {
    return at < o->n_bytes && ((unsigned char)o->line[at] & 0xC0) == 0x80;
}

bool mb_append_excerpt(mb_buffer *out, const mb_occurrence *o) {
    size_t begin = o->start > EXCERPT_BYTES ? o->start - EXCERPT_BYTES : 0;
    size_t end = o->n_bytes - o->end > EXCERPT_BYTES ? o->end + EXCERPT_BYTES : o->n_bytes;
    while (begin > 0 && begin < o->start && (is_inside_character(o, begin) || o->line[begin - 1] != ' ')) {
        begin++;
    }
    while (end < o->n_bytes && end > o->end && (is_inside_character(o, end) || o->line[end] != ' ')) {
        end--;
    }
    return mb_buffer_append(out, o->line + begin, end - begin);
}

static json_t *excerpt(const mb_occurrence *o) {
    mb_buffer text = {0}, quoted = {0};
    json_t *json = NULL;
    if (mb_append_excerpt(&text, o) && mb_append_json_text(&quoted, text.data, text.n_bytes)) {
        (void)mb_json_parse(quoted.data, quoted.n_bytes, JSON_DECODE_ANY, &json, NULL); /* NULL is an error to the caller */
    }
    mb_buffer_free(&text);
    mb_buffer_free(&quoted);
    return json;
}

json_t *mb_sense_examples(const mb_sense_word *word, const float *rows, const mb_clusters *clusters, int sense, int64_t n) {
    const int64_t width = clusters->width;
    const float *centroid = clusters->centroids + sense * width;
    json_t *array = json_array();
    mb_top_k top = {0};
    mb_error ignored;
    if (!array || n == 0) {
        return array;
    }
    if (mb_top_k_init(&top, n, &ignored) != MB_OK) {
        json_decref(array);
        return NULL;
    }
    for (int64_t i = 0; i < word->n; i++) {
        double cosine = 0;
        for (int64_t j = 0; j < width; j++) {
            cosine += (double)centroid[j] * (double)rows[i * width + j];
        }
        if (clusters->of[i] == sense) {
            mb_top_k_offer(&top, cosine, i);
        }
    }
    mb_top_k_sort(&top);
    int failed = 0;
    for (int64_t i = 0; i < top.n; i++) {
        failed |= json_array_append_new(array, excerpt(&word->occurrences[top.items[i].index]));
    }
    mb_top_k_free(&top);
    return failed ? (json_decref(array), NULL) : array;
}
